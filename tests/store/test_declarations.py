"""What people declare stays word by word, and the audit chain vouches for it."""

from test_store import record, settings

from behind import behind
from insource.nouns import Declaration
from insource.store import Store

SAID = [
    Declaration(task="t", field="purpose", value=value, by="A", created=f"2026-11-2{day}T00:00:00.000+00:00")
    for day, value in enumerate(("to sort", "to sort and file", ""))
]


def written(root, *statements: str) -> None:
    with behind(root) as db:
        for statement in statements:
            db.execute(statement)


async def test_every_word_stays_when_records_go_and_a_change_of_one_is_found(tmp_path):
    async with await Store.open(settings(tmp_path)) as store:
        for said in SAID:
            await store.declarations.add(said)
        await store.declarations.add(Declaration(task="u", field="purpose", value="x", by="A", created=SAID[0].created))
        for i in range(12):
            await store.append(record(f"r{i:02}"))
        assert (await store.prune("", 2)).records == 10
        assert (await store.verify_chain()).faults == ()
        assert await store.declarations.all("t") == SAID
    written(tmp_path, "UPDATE declaration SET body = replace(body, 'to sort and file', 'to watch people')")
    async with await Store.open(settings(tmp_path)) as store:
        (fault,) = (await store.verify_chain()).faults
        assert (fault.kind, fault.what) == ("declaration", "the row was changed")
    written(tmp_path, "DELETE FROM declaration WHERE seq = 2")
    async with await Store.open(settings(tmp_path)) as store:
        assert [fault.what for fault in (await store.verify_chain()).faults] == ["the row is gone"]


async def test_one_that_was_put_in_beside_the_chain_or_moved_to_another_task_is_found(tmp_path):
    async with await Store.open(settings(tmp_path)) as store:
        await store.declarations.add(SAID[0])
    written(tmp_path, "UPDATE declaration SET task = 'u'")
    async with await Store.open(settings(tmp_path)) as store:
        (fault,) = (await store.verify_chain()).faults
        assert fault.what == "the row was changed: its task is not its body's"
    written(tmp_path, "INSERT INTO declaration (task, body) SELECT task, body FROM declaration")
    async with await Store.open(settings(tmp_path)) as store:
        assert "the row was put in beside the chain" in [one.what for one in (await store.verify_chain()).faults]


async def test_a_store_from_before_gets_the_table_and_keeps_its_chain(tmp_path):
    async with await Store.open(settings(tmp_path)) as store:
        await store.append(record("a"))
    written(
        tmp_path,
        "DROP TABLE declaration",
        "DELETE FROM migration WHERE number >= (SELECT number FROM migration WHERE name = 'declarations')",
    )
    async with await Store.open(settings(tmp_path)) as store:
        assert (await store.verify_chain()).faults == ()
        await store.declarations.add(SAID[0])
        assert await store.declarations.all("t") == [SAID[0]]
