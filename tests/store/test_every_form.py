# ruff: noqa: S608 - our own tables
"""A store of every form there ever was, with rows in it: brought to the present form, whole, and copied to a server."""

import asyncio
import contextlib
from pathlib import Path

import msgspec
import pysqlite3.dbapi2 as sqlite
import pytest
from test_postgres import calls, filled
from test_store import pending, record, release, settings

from insource.journeys.store_copy import copy_store
from insource.nouns import DRAWN, Review, StageChange
from insource.settings import StoreSettings
from insource.store import Store
from insource.store.migrations import MIGRATIONS

HERE = Path(__file__).parent
WRITTEN = {1: HERE / "form_1.sql", 3: HERE / "form_3.sql"}  # by the versions of then
# what takes each later step back: a form is the present one without them
BACK = {
    5: ("DROP TABLE trial",),
    6: (
        "DROP TABLE lease",
        "DROP INDEX pending_by_worth",
        "ALTER TABLE pending DROP COLUMN worth",
        "CREATE INDEX pending_by_task ON pending (task, settled, seq)",
    ),
    7: ("DROP TABLE opinion",),
    8: ("DROP TABLE alert",),
    9: ("DROP TABLE tightening",),
    10: ("DROP TABLE lesson",),
    11: ("DROP TABLE assessment",),
    12: ("DROP TABLE declaration",),
    13: ("DROP TABLE batch_item", "DROP TABLE batch_worker", "DROP TABLE stored_file", "DROP TABLE batch"),
    14: ("DROP TABLE replica", "DROP TABLE share"),
    15: (
        "DROP TABLE tally",
        "DROP TABLE tallied",
        "DROP INDEX pending_by_worth",
        "DROP INDEX report_by_split",
        "DROP INDEX release_by_stage",
        "DROP INDEX pending_drawn",
        "ALTER TABLE pending DROP COLUMN drawn",
        "ALTER TABLE report DROP COLUMN split",
        "CREATE INDEX pending_by_worth ON pending (task, settled, worth, seq)",
    ),
    16: (
        "DROP TABLE draw",
        "ALTER TABLE pending ADD COLUMN drawn BOOLEAN NOT NULL DEFAULT false",
        "CREATE INDEX pending_drawn ON pending (task, seq) WHERE drawn",
    ),
}
FORMS = sorted({*WRITTEN, *(number - 1 for number in BACK), MIGRATIONS[-1].number})


def test_every_step_can_be_taken_back_here():
    """Whoever adds a step adds what takes it back, so that its form is looked at below."""
    assert [step.number for step in MIGRATIONS if step.number > 4] == sorted(BACK)


def of_form(form: int, root: Path) -> None:
    """A store of that form with calls, a verdict, a release that went live, and a tenant's key."""
    file = root / ".insource" / "insource.db"
    file.parent.mkdir(exist_ok=True)
    if form in WRITTEN:
        with contextlib.closing(sqlite.connect(file)) as db:
            db.executescript(WRITTEN[form].read_text("utf-8"))
        return
    asyncio.run(lived(root))
    with contextlib.closing(sqlite.connect(file)) as db, db:
        for number in sorted(BACK, reverse=True):
            if number > form:
                for statement in BACK[number]:
                    db.execute(statement)
                db.execute("DELETE FROM migration WHERE number = ?", (number,))


async def lived(root: Path) -> None:
    where = settings(root)
    await filled(where)
    async with await Store.open(where) as store:
        await store.settle(Review(record="a0", verdict="right", reviewer="ada"))
        for name in ("d0", "d1"):
            drawn = msgspec.structs.replace(record(name), created="2026-11-01T00:00:00+00:00")
            await store.append(drawn, msgspec.structs.replace(pending(name), reason=DRAWN))
        await store.settle(Review(record="d0", verdict="wrong", reviewer="ada"))
        await store.add_release(release("1.0.0"))
        went = StageChange(release="t@1.0.0", before="candidate", after="live", who="ada", why="")
        await store.change_stage(went)
        await store.tenant_key("local")


def rows(root: Path) -> dict[str, list[tuple]]:
    """Table → its rows, those columns that every form has."""
    with contextlib.closing(sqlite.connect(root / ".insource" / "insource.db")) as db:
        names = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        kept = [name for name in names if name not in ("migration", "entry", "open_call", "spent", "sqlite_sequence")]
        return {name: sorted(db.execute(f"SELECT body FROM {name}")) for name in kept if has_body(db, name)}


def has_body(db, name: str) -> bool:
    return "body" in {column[1] for column in db.execute(f"PRAGMA table_info({name})")}


@pytest.mark.parametrize("form", FORMS)
def test_a_store_of_every_form_keeps_its_rows_and_goes_on(form, tmp_path):
    of_form(form, tmp_path)
    before = rows(tmp_path)
    assert before["record"], "there is something to lose"

    async def story():
        async with await Store.open(settings(tmp_path)) as store:
            assert (await store.verify_chain()).faults == ()
            assert await store.listings.looked_at("t@1.0.0", "", "") == ([] if form in WRITTEN else [(0.5, False)])
            assert {name: found for name, found in rows(tmp_path).items() if name in before} == before
            await calls(store, "new", 3)
            assert (await store.verify_chain()).faults == ()

    asyncio.run(story())


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_a_store_of_every_form_goes_to_a_server_whole(form, tmp_path, postgres):
    of_form(form, tmp_path)
    url = postgres.url + "?schema=w_{workspace}"

    async def story():
        asked = settings(tmp_path)
        copied = await copy_store(asked, "sqlite", url)
        assert copied.tables["record"] == len(rows(tmp_path)["record"])
        there = msgspec.structs.replace(asked, store=StoreSettings(url=url))
        async with await Store.open(there) as store:
            assert (await store.verify_chain()).faults == ()
            await calls(store, "new", 3)
            assert (await store.verify_chain()).faults == ()

    asyncio.run(story())
