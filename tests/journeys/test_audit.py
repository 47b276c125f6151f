"""The audit as its users have it: checkpoints from a running gateway, what was spent, a file that proves itself."""

import asyncio
import hashlib
import json

import msgspec
import pytest
from click.testing import CliRunner

from behind import behind
from insource.cli.main import main
from insource.errors import Conflict, Invalid, StoreError
from insource.journeys import audit
from insource.journeys.answer import Path, Tier, answer
from insource.nouns import Attempt, Decision, Output, Prediction, Task, Usage, ask, to_json
from insource.settings import AuditSettings, Settings
from insource.store import Store, checkpoints
from insource.store.links import SPAN
from insource.store.verified import Head

TASK = Task(name="t", kind="classify", outputs=(Output(name="label", labels=("a", "b")),))


class Fixed:
    """An engine that says one thing, sure or not; `seen` is what was on record when it was asked."""

    def __init__(self, name, confidence, store=None):
        self.name, self.confidence, self.store, self.seen = name, confidence, store, []

    async def complete(self, request):
        if self.store is not None:
            self.seen.append((request.id, await self.store.open_calls()))
        usage = Usage(input_tokens=100, output_tokens=10)
        return Prediction(text="a", value={"label": "a"}, engine=self.name, confidence=self.confidence, usage=usage)

    async def close(self):
        pass


def settings(root, **more) -> Settings:
    (root / "insource.toml").touch()
    return Settings(root=root, cache=root, **more)


async def called(store, count, *, sure=0.9, start=0):
    tiers = (
        Tier(Fixed("own", sure), release="t@1.0.0", usd_per_million=(1.0, 0.0)),
        Tier(Fixed("help", 0.99), usd_per_million=(10.0, 100.0)),
    )
    path = Path(task=TASK, tiers=tiers, threshold=0.8, key=store.tenant_key, intend=store.intend)
    for number in range(start, start + count):
        await answer(ask(TASK, f"text {number}", id=f"c{number}"), path, store.append)


def test_a_call_is_noted_before_an_engine_is_asked(tmp_path):
    async def story():
        async with await Store.open(settings(tmp_path)) as store:
            engine = Fixed("own", 0.9, store)
            path = Path(task=TASK, tiers=(Tier(engine),), key=store.tenant_key, intend=store.intend)
            await answer(ask(TASK, "text", id="one"), path, store.append)
            assert engine.seen == [("one", 1)]
            assert await store.open_calls() == 0

    asyncio.run(story())


def test_what_cannot_be_noted_is_not_asked_for(tmp_path):
    async def story():
        engine = Fixed("own", 0.9)
        engine.complete = None  # asking it would be a TypeError

        async def full(_):
            raise StoreError("the disk is full")

        with pytest.raises(StoreError):
            await answer(ask(TASK, "x", id="1"), Path(task=TASK, tiers=(Tier(engine),), intend=full), audit.export)

    asyncio.run(story())


def test_a_gateway_that_answered_nothing_yet_is_whole(tmp_path):
    """There is nothing to sign. A version before this one signed that; it speaks of the beginning of the chain."""

    async def story():
        where = settings(tmp_path)
        async with await Store.open(where) as store:
            assert await audit.checkpoint(where, store) is None
            assert (await audit.verify(where, store)).checkpoints == 0
            before = checkpoints.sign(where.state, Head(), "2026-11-01T00:00:00+00:00")
            checkpoints.write(before, audit.checkpoint_file(where))
            found = await audit.verify(where, store)
            assert (found.faults, found.entries, found.checkpoints) == ((), 0, 1)
            await called(store, 2)
            assert not (await audit.verify(where, store)).faults

    asyncio.run(story())


def test_checkpoints_are_written_where_something_was_recorded_and_compared(tmp_path):
    far = tmp_path / "far" / "checkpoints.jsonl"
    where = settings(tmp_path, audit=AuditSettings(checkpoints=str(far)))

    async def story():
        async with await Store.open(where) as store:
            await called(store, 3)
            made = await audit.checkpoint(where, store)
            assert made is not None
            assert made.seq % SPAN == 6
            assert await audit.checkpoint(where, store) is None, "nothing was recorded since"
            await called(store, 1, start=3)
            assert (await audit.checkpoint(where, store)).seq % SPAN == 8
            found = await audit.verify(where, store)
            assert (found.whole, found.checkpoints, found.rows) == (True, 2, 4)
            lines = far.read_text().splitlines()
            far.write_text("\n".join([lines[0].replace(made.hash[:8], "00000000"), lines[1]]))
            assert [fault.what for fault in (await audit.verify(where, store)).faults] == [
                "the checkpoint is not signed with this key"
            ]
            far.write_text("\n".join(lines))

        (tmp_path / ".insource" / "insource.db").unlink()
        for name in ("insource.db-wal", "insource.db-shm"):
            (tmp_path / ".insource" / name).unlink(missing_ok=True)
        async with await Store.open(where) as store:
            await called(store, 3)
            what = [fault.what for fault in (await audit.verify(where, store)).faults]
            assert what == [
                "the chain was made anew: the entry of this checkpoint is another",
                "the chain was cut off: the entry of this checkpoint is gone",
            ]

    asyncio.run(story())


def test_who_removes_more_than_is_old_is_found(tmp_path):
    where = settings(tmp_path)

    async def story():
        async with await Store.open(where) as store:
            await called(store, 5)
            await audit.checkpoint(where, store)
            await called(store, 5, start=5)
            assert await audit.prune(where, store) == 0
            assert (await audit.verify(where, store)).whole
            await store.prune("2999-01-01", 1)
            (fault,) = (await audit.verify(where, store)).faults
            assert "nothing signed says that it was old" in fault.what
            await audit.checkpoint(where, store)
            assert (await audit.verify(where, store)).whole

    asyncio.run(story())


def test_usage_counts_a_call_once_and_by_engine_every_attempt(tmp_path):
    async def story():
        async with await Store.open(settings(tmp_path)) as store:
            await called(store, 3)
            await called(store, 2, sure=0.1, start=3)
            (task,) = await audit.usage(store, by="task")
            assert (task.name, task.calls, task.input_tokens, task.output_tokens) == ("t", 5, 700, 70)
            assert task.usd == pytest.approx(5 * 100e-6 + 2 * (1000e-6 + 1000e-6))
            engines = {one.name: one for one in await audit.usage(store, by="engine")}
            assert {name: one.calls for name, one in engines.items()} == {"own": 5, "help": 2}
            assert engines["help"].usd == pytest.approx(2 * 2000e-6)
            assert sum(one.usd for one in engines.values()) == pytest.approx(task.usd)
            assert await audit.usage(store, by="task", since="2999-01-01") == []
            with pytest.raises(Invalid, match="no day"):
                await audit.usage(store, by="task", since="yesterday")
            with pytest.raises(Invalid, match="colour"):
                await audit.usage(store, by="colour")

    asyncio.run(story())


def test_an_export_proves_itself_and_holds_no_text(tmp_path):
    out = tmp_path / "export.jsonl"

    async def story():
        async with await Store.open(settings(tmp_path)) as store:
            await called(store, 4)
            assert await audit.export(store, out) == 8
            with pytest.raises(Conflict):
                await audit.export(store, out)
            return (await store.chain_head()).hash

    head = asyncio.run(story())
    before = "0" * 64
    for line in out.read_text().splitlines():
        entry = json.loads(line)
        if "row" in entry:
            assert hashlib.sha256(entry["row"].encode()).hexdigest() == entry["body"]
        words = [before, entry["seq"], entry["kind"], entry["about"], entry["body"]]
        before = hashlib.sha256(json.dumps(words, separators=(",", ":"), ensure_ascii=False).encode()).hexdigest()
        assert before == entry["hash"]
    assert before == head
    assert "text 1" not in out.read_text()


def test_the_verb_says_so_and_ends_with_one_when_something_was_changed(tmp_path):
    async def story():
        async with await Store.open(settings(tmp_path)) as store:
            await called(store, 2)

    asyncio.run(story())
    verb = ["-C", str(tmp_path), "audit"]
    run = CliRunner().invoke
    assert run(main, [*verb, "checkpoint", "--json"]).exit_code == 0
    good = run(main, [*verb, "verify", "--json"])
    assert (good.exit_code, json.loads(good.stdout)["faults"]) == (0, [])
    key = run(main, [*verb, "key"]).stdout.strip()
    assert run(main, [*verb, "verify", "--key", key]).exit_code == 0
    assert run(main, [*verb, "verify", "--key", "short"]).exit_code == 2

    with behind(tmp_path) as db:
        db.execute("DELETE FROM record WHERE id = 'c1'")
    bad = run(main, [*verb, "verify", "--json"])
    assert bad.exit_code == 1
    assert [fault["what"] for fault in json.loads(bad.stdout)["faults"]] == [
        "the row is gone",
        "the call was begun, and its record is gone",
    ]
    assert "c1" in run(main, [*verb, "verify"]).output


def test_an_old_attempt_without_a_price_is_read(tmp_path):
    decision = Decision(engine="e", rule="task", accepted=True, reason="")
    old = msgspec.json.decode(to_json(Attempt(decision=decision)))
    old.pop("usd")
    assert msgspec.convert(old, type=Attempt).usd == 0.0
