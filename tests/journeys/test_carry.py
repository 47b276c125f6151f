"""Calls carried from one store to another: nothing is lost, nothing is there twice, whatever is imported how often."""

import asyncio
import hashlib
import itertools
import json
import stat
import tempfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from command_line import started
from insource.errors import Conflict, Invalid, Missing
from insource.journeys.answer import input_hash
from insource.journeys.carry import give, take
from insource.nouns import Attempt, Decision, Pending, Prediction, Record, Review, to_json
from insource.settings import load_settings
from insource.store import Store
from insource.store.carried import PAGE, Taken


def workspace(root: Path):
    root.mkdir(parents=True, exist_ok=True)
    (root / "insource.toml").write_text("")
    return load_settings(root)


async def called(
    store: Store, name: str, *, waits: bool = False, tenant: str = "local", value: str = "leak", eyes: int = 1
) -> Record:
    """A call about the text `name`, kept as the gateway keeps it."""
    said = Prediction(text="", value={"category": value}, engine="defects@1.0.0", confidence=0.6)
    decision = Decision(engine="defects@1.0.0", rule="task", accepted=not waits, reason="said", threshold=0.7)
    record = Record(
        id=name, task="defects", release="defects@1.0.0", tenant=tenant,
        attempts=(Attempt(decision=decision, prediction=said),), outcome="review" if waits else "answered",
        input_hash=input_hash(await store.tenant_key(tenant), name.encode()), latency_ms=1.0,
        created="2026-11-01T00:00:00.000+00:00",
    )  # fmt: skip
    waiting = Pending(record=name, task="defects", input=name, value=said.value, created=record.created, eyes=eyes)
    await store.append(record, waiting if waits else None)
    return record


def verdict(name: str, note: str) -> Review:
    return Review(record=name, verdict="right", note=note, decided="2026-11-02T00:00:00+00:00")


async def held(store: Store) -> dict[str, tuple[bool, Review | None]]:
    """Record → whether it waits, and what was said of it. Fails on a record that is there twice."""
    records = await store.records(limit=100_000)
    reviews = {review.record: review for _, review in await store.reviews("defects")}
    waiting = [one.record for one in await store.pending(limit=100_000)]
    assert len({record.id for record in records}) == len(records)
    assert len(set(waiting)) == len(waiting)
    return {record.id: (record.id in waiting, reviews.get(record.id)) for record in records}


async def test_what_was_answered_waits_and_was_judged_there_is_so_here(tmp_path):
    async with await Store.open(workspace(tmp_path / "edge")) as edge:
        sent = [await called(edge, f"r{i}", waits=i % 2 == 0) for i in range(2 * PAGE + 7)]
        await edge.settle(verdict("r2", "by the kiosk"))
        made = await give(edge, tmp_path / "f")
        expected = await held(edge)
        key = await edge.tenant_key("local")
    assert (made.calls, made.waiting, made.reviews) == (2 * PAGE + 7, PAGE + 3, 1)
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o600
    async with await Store.open(workspace(tmp_path / "home")) as home:
        await called(home, "own", waits=True)
        first, second = await take(home, tmp_path / "f"), await take(home, tmp_path / "f")
        assert first == Taken(records=2 * PAGE + 7, pending=PAGE + 3, reviews=1)
        assert second == Taken(known=2 * PAGE + 7)
        found = await held(home)
        assert found.pop("own") == (True, None)
        assert found == expected
        settled = {waited.record: waited.input for waited, _ in await home.reviews("defects")}
        assert settled == {"r2": "r2"}
        for record in sent[:5]:
            here = await home.record(record.id)
            assert msgspec.structs.replace(here, tenant="local") == record
            assert await home.tenant_key(here.tenant) == key != await home.tenant_key("local")
            assert here.input_hash == input_hash(await home.tenant_key(here.tenant), record.id.encode())


# ------------------------------------------------------------------ whatever the order

CALLS = [f"r{i}" for i in range(4)]
NAME = st.sampled_from(CALLS)
STEP = st.one_of(
    st.tuples(st.just("answer"), NAME),
    st.tuples(st.just("ask"), NAME),
    st.tuples(st.just("judge_there"), NAME),
    st.tuples(st.just("judge_here"), NAME),
    st.tuples(st.just("write"), NAME),
    st.tuples(st.just("read"), st.integers(0, 3)),
)


class Life:
    """An edge and a home, and beside them a plain model of what home must hold."""

    def __init__(self, root: Path, edge: Store, home: Store, take_in) -> None:
        self.root, self.edge, self.home, self.take_in = root, edge, home, take_in
        self.files: list[tuple[Path, dict]] = []
        self.expected: dict[str, tuple[bool, Review | None]] = {}

    async def answer(self, name: str, *, waits: bool = False) -> None:
        if name not in await held(self.edge):
            await called(self.edge, name, waits=waits)

    async def ask(self, name: str) -> None:
        await self.answer(name, waits=True)

    async def judge_there(self, name: str) -> None:
        if (await held(self.edge)).get(name, (False,))[0]:
            await self.edge.settle(verdict(name, "there"))

    async def judge_here(self, name: str) -> None:
        if self.expected.get(name, (False,))[0]:
            await self.home.settle(verdict(name, "here"))
            self.expected[name] = (False, verdict(name, "here"))

    async def write(self, _: str) -> None:
        self.files.append((self.root / f"f{len(self.files)}", await held(self.edge)))
        await give(self.edge, self.files[-1][0])

    async def read(self, which: int) -> None:
        if not self.files:
            return
        file, inside = self.files[which % len(self.files)]
        await self.take_in(self.home, file)
        for name, (waiting, review) in inside.items():
            said = self.expected.get(name, (False, None))[1] or review
            self.expected[name] = ((waiting or review is not None) and said is None, said)
        assert await held(self.home) == self.expected


async def lived(steps, root: Path, take_in=take) -> None:
    """Lives through `steps`; after every file that home took it must hold what the model says."""
    async with await Store.open(workspace(root / "e")) as edge, await Store.open(workspace(root / "h")) as home:
        life = Life(root, edge, home, take_in)
        for what, which in steps:
            await getattr(life, what)(which)


SLOW = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


@SLOW
@given(st.lists(STEP, min_size=4, max_size=16))
def test_home_holds_each_call_once_with_the_first_verdict_it_heard(steps):
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(lived(steps, Path(folder)))


OVERLAPPING = [("ask", "r0"), ("write", ""), ("answer", "r1"), ("write", ""), ("read", 0), ("read", 1)]


async def naive(home: Store, file: Path) -> None:
    """Takes every line as new, as a log that is appended to would."""
    for number in itertools.count():
        if not any(record.id.endswith(f"#{number}") for record in await home.records(limit=1000)):
            break
    for line in file.read_text().splitlines()[1:-1]:
        call = json.loads(line)
        name = f"{call['record']['id']}#{number}" if number else call["record"]["id"]
        record = msgspec.convert(call["record"] | {"id": name}, Record)
        await home.append(record)


def test_the_property_catches_an_import_that_doubles_and_one_that_loses(tmp_path):
    """The control: the same model says no to an import that adds every line, and to one that skips a file."""
    with pytest.raises(AssertionError):
        asyncio.run(lived(OVERLAPPING, tmp_path / "double", naive))

    async def lose(home: Store, file: Path) -> None:
        if not await home.records():
            await take(home, file)

    with pytest.raises(AssertionError):
        asyncio.run(lived(OVERLAPPING, tmp_path / "lose", lose))
    asyncio.run(lived(OVERLAPPING, tmp_path / "right"))


async def test_what_people_said_differently_is_named_and_stands_as_it_was_said_here(tmp_path):
    async with (
        await Store.open(workspace(tmp_path / "e")) as edge,
        await Store.open(workspace(tmp_path / "h")) as home,
    ):
        await called(edge, "r0", waits=True)
        await give(edge, tmp_path / "before")
        await take(home, tmp_path / "before")
        await edge.settle(verdict("r0", "there"))
        await home.settle(verdict("r0", "here"))
        await give(edge, tmp_path / "after")
        found = await take(home, tmp_path / "after")
        assert found == Taken(known=1, differ=("r0",))
        assert (await held(home))["r0"] == (False, verdict("r0", "here"))


# ------------------------------------------------------------------ whose calls


async def test_a_store_knows_its_own_calls_again(tmp_path):
    async with await Store.open(workspace(tmp_path / "e")) as edge:
        await called(edge, "r0")
        await give(edge, tmp_path / "f")
        assert await take(edge, tmp_path / "f") == Taken(known=1)
        assert [record.tenant for record in await edge.records()] == ["local"]


async def test_two_edges_stay_apart_and_a_way_round_changes_no_name(tmp_path):
    names = {}
    async with await Store.open(workspace(tmp_path / "home")) as home:
        for place in ("a", "b"):
            async with await Store.open(workspace(tmp_path / place)) as edge:
                await called(edge, f"{place}0")
                await give(edge, tmp_path / f"{place}.f")
            await take(home, tmp_path / f"{place}.f")
            names[place] = (await home.record(f"{place}0")).tenant
        assert len(set(names.values())) == 2
        assert all(name.startswith("local~") for name in names.values())
        await give(home, tmp_path / "all.f")
        async with await Store.open(workspace(tmp_path / "other")) as other:
            assert (await take(other, tmp_path / "all.f")).records == 2
            assert {(await other.record(f"{p}0")).tenant for p in names} == set(names.values())
            assert (await take(other, tmp_path / "a.f")) == Taken(known=1)


# ------------------------------------------------------------------ files that are not what was written


def lines(file: Path) -> list[bytes]:
    return file.read_bytes().splitlines(keepends=True)


def resealed(found: list[bytes]) -> bytes:
    """The lines with a last one that counts and seals them: only the content is wrong."""
    last = json.loads(found[-1]) | {"calls": len(found) - 2, "sha256": hashlib.sha256(b"".join(found[:-1])).hexdigest()}
    return b"".join(found[:-1]) + json.dumps(last).encode() + b"\n"


def swapped(found: list[bytes], at: int, **changes) -> list[bytes]:
    call = json.loads(found[at])
    for key, value in changes.items():
        part, _, field = key.partition("__")
        call[part] = call[part] | {field: value} if field else value
    return [*found[:at], json.dumps(call).encode() + b"\n", *found[at + 1 :]]


def gone(kind: str, name: str) -> dict:
    return {"at": "2026-11-02T00:00:00+00:00", "kind": kind, "body": to_json(verdict(name, "x")).decode()}


BAD = {
    "cut in the middle of a line": lambda f: b"".join(f)[:-40],
    "without its last line": lambda f: b"".join(f[:-1]),
    "without a line": lambda f: b"".join([f[0], *f[2:]]),
    "with a line twice": lambda f: b"".join([f[0], f[1], *f[1:]]),
    "with a byte changed": lambda f: b"".join(f).replace(b"0.6", b"0.7", 1),
    "empty": lambda f: b"",
    "another form": lambda f: resealed([b'{"form":3}\n', *f[1:]]),
    "no call": lambda f: resealed([f[0], b'{"record":1}\n', *f[1:]]),
    "another text under a record": lambda f: resealed(swapped(f, 1, pending__input="something else")),
    "a review of another record": lambda f: resealed(swapped(f, 1, review__record="r1")),
    "a word on another record": lambda f: resealed(swapped(f, 1, opinions=[{"record": "r1", "verdict": "right"}])),
    "what was taken back of another": lambda f: resealed(swapped(f, 1, withdrawn=[gone("review", "r1")])),
    "something else taken back": lambda f: resealed(swapped(f, 1, withdrawn=[gone("stage", "r0")])),
    "a text that waits for another": lambda f: resealed(swapped(f, 1, pending__record="r1")),
    "a tenant without key": lambda f: resealed(swapped(f, 1, record__tenant="elsewhere")),
}


@pytest.mark.parametrize("change", BAD.values(), ids=BAD)
async def test_a_file_that_is_not_as_it_was_written_is_refused_whole(change, tmp_path):
    async with await Store.open(workspace(tmp_path / "e")) as edge:
        await called(edge, "r0", waits=True)
        await edge.settle(verdict("r0", "there"))
        await called(edge, "r1", waits=True)
        await give(edge, tmp_path / "f")
    (tmp_path / "bad").write_bytes(change(lines(tmp_path / "f")))
    (tmp_path / "control").write_bytes(resealed(lines(tmp_path / "f")))
    async with await Store.open(workspace(tmp_path / "h")) as home:
        with pytest.raises(Invalid):
            await take(home, tmp_path / "bad")
        assert not await home.records()
        assert (await take(home, tmp_path / "control")).records == 2


async def test_a_record_that_says_something_else_than_ours_is_refused(tmp_path):
    async with await Store.open(workspace(tmp_path / "e")) as edge:
        await called(edge, "r0")
        await called(edge, "r1")
        await give(edge, tmp_path / "f")
    other = resealed(swapped(lines(tmp_path / "f"), 1, record__outcome="escalated"))
    (tmp_path / "other").write_bytes(other)
    async with await Store.open(workspace(tmp_path / "h")) as home:
        await take(home, tmp_path / "f")
        with pytest.raises(Conflict, match="r0 is here already and says something else"):
            await take(home, tmp_path / "other")


async def test_a_file_that_is_there_is_not_written_over_and_none_is_missing(tmp_path):
    async with await Store.open(workspace(tmp_path / "e")) as edge:
        (tmp_path / "f").write_text("mine")
        with pytest.raises(Conflict, match="exists already"):
            await give(edge, tmp_path / "f")
        with pytest.raises(Missing):
            await take(edge, tmp_path / "none")
        (tmp_path / "rows.csv").write_text("report,category\nleaks,leak\n")
        with pytest.raises(Invalid, match="no file of insource store export"):
            await take(edge, tmp_path / "rows.csv")
        with pytest.raises(Missing, match=r"there is no folder .*nodir"):
            await give(edge, tmp_path / "nodir" / "f")
        with pytest.raises(Missing, match=r"there is no folder .*nodir"):
            await edge.backup(tmp_path / "nodir" / "f.tar")
        (tmp_path / "g.part").write_text("mine")
        await give(edge, tmp_path / "g")
    assert (tmp_path / "f").read_text() == (tmp_path / "g.part").read_text() == "mine"
    assert not list(tmp_path.glob(".insource-*"))


# ------------------------------------------------------------------ as typed


def typed(home: Path, *words: str):
    process = started(home, *words)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return json.loads(out)


def test_the_verbs_carry_the_queue_home(tmp_path):
    for place in ("kiosk", "home"):
        workspace(tmp_path / place)

    async def fill():
        async with await Store.open(load_settings(tmp_path / "kiosk")) as store:
            await called(store, "r0", waits=True)

    asyncio.run(fill())
    file = str(tmp_path / "kiosk.jsonl")
    made = typed(tmp_path / "kiosk", "store", "export", file, "--json")
    assert made == {"file": file, "calls": 1, "waiting": 1, "reviews": 0}
    said = [typed(tmp_path / "home", "store", "import", file, "--json") for _ in range(2)]
    assert [(one["records"], one["pending"], one["known"]) for one in said] == [(1, 1, 0), (0, 0, 1)]
