"""Stages on a real store: who may go live, who comes back, and that every change is on record."""

import asyncio
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec.structs import replace

from insource.engines.artefact import read_manifest, write_manifest
from insource.engines.models import resolve
from insource.errors import Conflict, InsourceError, Invalid, Refused
from insource.journeys.promote import promote, rollback, verify
from insource.nouns import Check, Gate, Release, Rollout, StageChange
from insource.release.register import next_version
from insource.release.stages import MOVES, TRIAL, at, former, has_passed, line_of_live, next_stop, stage_called, stops
from insource.settings import load_task
from insource.store import Store

sys.path.insert(0, str(Path(__file__).parent))
from release_parts import stub, workspace


def gated(release: Release, *, passed: bool = True, artefact: str = "") -> Gate:
    check = Check(name="accuracy", demanded="≥ 0.8", found="0.9", passed=passed)
    return Gate(release=release.name, artefact=artefact or release.artefact, checks=(check,), report="report")


async def registered(settings, task, store, version: str, *, gate: bool = True) -> Release:
    release = stub(settings, task, version)
    await store.add_release(release)
    if gate:
        await store.save_gate(gated(release))
    return release


async def test_promoting_without_a_gate_is_a_conflict(settings, task):
    async with await Store.open(settings) as store:
        release = await registered(settings, task, store, "1.0.0", gate=False)
        with pytest.raises(Conflict, match="has not been through the gate") as caught:
            await promote(release, settings, store)
        assert caught.value.hint == "insource release gate defects@1.0.0"
        assert await store.live("defects") is None
        assert await store.stage_changes("defects") == []


async def test_a_gate_that_said_no_or_looked_at_another_artefact_lets_nothing_through(settings, task):
    async with await Store.open(settings) as store:
        release = await registered(settings, task, store, "1.0.0")
        await store.save_gate(gated(release, passed=False))
        with pytest.raises(Refused, match=r"said no to defects@1\.0\.0: accuracy"):
            await promote(release, settings, store)
        await store.save_gate(gated(release, artefact="b" * 64))
        with pytest.raises(Refused, match="another artefact"):
            await promote(release, settings, store)
        assert await store.live("defects") is None


async def test_a_flipped_byte_after_the_gate_stops_promotion_and_rollback_and_verify_names_the_file(settings, task):
    async with await Store.open(settings) as store:
        first = await registered(settings, task, store, "1.0.0")
        second = await registered(settings, task, store, "1.1.0")
        await promote(first, settings, store)
        assert (await verify(first, settings)).whole
        (settings.state / first.folder / "weights.json").write_text('"1.0.1"')
        (settings.state / second.folder / "weights.json").write_text('"1.1.1"')
        with pytest.raises(Refused, match=r"weights\.json was changed"):
            await promote(second, settings, store)
        assert (await store.live("defects")).name == first.name
        assert (await verify(first, settings)).faults == ("weights.json was changed",)


async def test_damage_of_any_kind_is_told_and_not_raised(settings, task):
    async with await Store.open(settings) as store:
        release = await registered(settings, task, store, "1.0.0")
    folder = settings.state / release.folder
    manifest = (folder / "manifest.json").read_bytes()
    (folder / "manifest.json").write_bytes(manifest.replace(b"classify", b"generate"))
    assert (await verify(release, settings)).faults == ("manifest.json is not the one that was released",)
    (folder / "manifest.json").write_bytes(manifest[:40])
    assert "not a valid Manifest" in (await verify(release, settings)).faults[0]
    (folder / "manifest.json").unlink()
    assert "no finished artefact" in (await verify(release, settings)).faults[0]
    (folder / "manifest.json").write_bytes(manifest)
    (folder / "run.py").write_text("")
    assert "not a data file" in (await verify(release, settings)).faults[0]


async def test_verify_compares_the_base_model_where_it_is_at_hand(settings, task, tmp_path):
    import numpy as np
    from safetensors.numpy import save_file

    base = tmp_path / "base"
    base.mkdir()
    save_file({"weight": np.zeros((2, 2), np.float32)}, base / "model.safetensors")
    (base / "config.json").write_text('{"model_type": "llama"}')
    (base / "tokenizer.json").write_text("{}")
    local = resolve(f"file:{base}", settings.cache, progress=lambda *_: None)
    release = stub(settings, task, "1.0.0")
    folder = settings.state / release.folder

    def made_from(spec: str, digest: str) -> Release:
        manifest = replace(read_manifest(folder), base=spec, base_digest=digest)
        return replace(release, artefact=write_manifest(folder, manifest))

    found = await verify(made_from(local.name, local.sha256), settings)
    assert found.whole
    assert "as it was" in found.base
    found = await verify(made_from(local.name, "f" * 64), settings)
    assert not found.whole
    assert local.sha256 in found.faults[0]
    found = await verify(made_from("file:/nowhere/at/all", "f" * 64), settings)
    assert found.whole, "a release answers without its base"
    assert "as it was" not in found.base


async def test_rollback_restores_the_former_and_a_second_one_goes_further_back(settings, task):
    async with await Store.open(settings) as store:
        names = ["1.0.0", "1.1.0", "1.2.0"]
        for version in names:
            await promote(await registered(settings, task, store, version), settings, store, why="better")
        change = await rollback("defects", settings, store, why="urgency is wrong")
        assert (change.release, change.why) == ("defects@1.1.0", "urgency is wrong")
        assert [r.stage for r in await store.releases("defects")] == ["retired", "live", "retired"]
        await rollback("defects", settings, store)
        assert (await store.live("defects")).version == "1.0.0"
        with pytest.raises(Conflict, match="no release to roll back to"):
            await rollback("defects", settings, store)
        assert (await store.live("defects")).version == "1.0.0"


async def test_rollback_of_a_version_that_is_not_live_is_a_conflict(settings, task):
    async with await Store.open(settings) as store:
        for version in ("1.0.0", "1.1.0"):
            await promote(await registered(settings, task, store, version), settings, store)
        with pytest.raises(Conflict, match=r"defects@1\.0\.0 is not live: defects@1\.1\.0 is"):
            await rollback("defects", settings, store, version="1.0.0")


async def test_two_who_promote_at_once_never_leave_two_live(settings, task):
    async with await Store.open(settings) as mine, await Store.open(settings) as theirs:
        first = await registered(settings, task, mine, "1.0.0")
        second = await registered(settings, task, mine, "1.1.0")
        done = await asyncio.gather(
            promote(first, settings, mine), promote(second, settings, theirs), return_exceptions=True
        )
        assert all(not isinstance(d, Exception) or isinstance(d, Conflict) for d in done), done
        stages = [release.stage for release in await mine.releases("defects")]
        assert stages.count("live") == 1


@pytest.mark.parametrize("name", ["production", "", "Live"])
def test_what_is_no_stage_names_those_that_are(name):
    with pytest.raises(Invalid) as caught:
        stage_called(name)
    assert caught.value.hint == "stages: candidate, staging, shadow, canary, live, retired"


def test_the_way_of_a_release_is_what_the_policy_lays_out():
    policy = Rollout(canary=(100, 1, 10))
    made = Release(task="t", version="1.0.0", engine="linear", base="", dataset="", recipe="", artefact="", folder="")
    way = ["candidate"]
    while (stop := next_stop(made, policy)) is not None:
        way.append(stop.words)
        made = replace(made, stage=stop.stage, share=stop.share)
    assert way == ["candidate", "staging", "shadow", "canary 1%", "canary 10%", "canary 100%", "live"]
    assert [stop.words for stop in stops(policy)] == way


def test_who_answered_when_is_told_from_the_changes():
    moves = [("a", "candidate", "live", 0), ("b", "candidate", "shadow", 0), ("b", "shadow", "canary", 10),
             ("b", "canary", "live", 0), ("a", "live", "retired", 0)]  # fmt: skip
    changes = [
        replace(change(name, before, after, "r"), share=share, created=f"2026-11-0{day}T12:00:00.000+00:00")
        for day, (name, before, after, share) in enumerate(moves[:4], 1)
    ]

    def told(day):
        return {name: stop.words for name, stop in at(changes, f"2026-11-0{day}T13:00:00").items()}

    assert at(changes, "2026-10-31T00:00:00+00:00") == {}
    assert [told(day) for day in (1, 2, 3, 4)] == [
        {"a": "live"}, {"a": "live", "b": "shadow"}, {"a": "live", "b": "canary 10%"}, {"b": "live"}]  # fmt: skip
    with pytest.raises(Invalid, match="is no time"):
        at(changes, "noon")


def change(release: str, before: str, after: str, evidence: str = "") -> StageChange:
    return StageChange(release=release, before=before, after=after, who="me", why="", evidence=evidence)


def test_what_was_retired_by_hand_is_not_what_rollback_returns_to():
    changes = [change("a", "candidate", "live", "r"), change("b", "candidate", "live", "r"),
               change("b", "live", "retired"), change("c", "candidate", "live", "r")]  # fmt: skip
    assert line_of_live(changes) == ["a", "c"]
    assert former(changes, "c") == "a"
    assert former(changes[:3], None) == "a"


def test_promoting_an_old_release_again_is_a_promotion_not_a_rollback():
    changes = [change("a", "candidate", "live", "r"), change("b", "candidate", "live", "r"),
               change("a", "retired", "live", "r2")]  # fmt: skip
    assert former(changes, "a") == "b"


class Stages(RuleBasedStateMachine):
    """Any order of training, gating, promoting, retiring and rolling back, against a model of three lines."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.loop = asyncio.new_event_loop()
        self.settings = workspace(Path(self.folder.name))
        self.task = load_task(self.settings, "defects")
        self.store = self.loop.run_until_complete(Store.open(self.settings))
        self.stages: dict[str, str] = {}
        self.history: list[str] = []
        self.changes = 0

    def do(self, work):
        return self.loop.run_until_complete(work)

    def releases(self) -> list[Release]:
        return self.do(self.store.releases("defects"))

    def one(self, pick: int) -> Release:
        found = self.releases()
        return found[pick % len(found)]

    @rule()
    def train(self) -> None:
        release = stub(self.settings, self.task, next_version(self.releases()))
        self.do(self.store.add_release(release))
        self.stages[release.name] = "candidate"

    @precondition(lambda self: self.stages)
    @rule(
        pick=st.integers(0, 9),
        passed=st.sampled_from([True, True, True, False]),
        other=st.sampled_from(["", "", "c" * 64]),
    )
    def gate(self, pick: int, passed: bool, other: str) -> None:
        self.do(self.store.save_gate(gated(self.one(pick), passed=passed, artefact=other)))

    @precondition(lambda self: self.stages)
    @rule(pick=st.integers(0, 9))
    def promote(self, pick: int) -> None:
        release = self.one(pick)
        allowed = release.stage != "live" and has_passed(release, self.do(self.store.gates(release.name)))
        if not allowed:
            with pytest.raises((Conflict, Refused)):
                self.do(promote(release, self.settings, self.store))
            return
        self.do(promote(release, self.settings, self.store))
        self.went_live(release.name)
        self.history.append(release.name)

    @precondition(lambda self: self.stages)
    @rule(pick=st.integers(0, 9), to=st.sampled_from(["retired", "candidate", "staging", "shadow", "canary"]))
    def move(self, pick: int, to: str) -> None:
        release = self.one(pick)
        passed = has_passed(release, self.do(self.store.gates(release.name)))
        alone = all(stage not in TRIAL or name == release.name for name, stage in self.stages.items())
        tried = alone and "live" in self.stages.values()
        free = to in ("retired", "candidate") or (passed and (to == "staging" or tried))
        there = to in MOVES[release.stage] and (release.stage != "canary" or to != "canary" or release.share < 100)
        if not (free and there):
            with pytest.raises(InsourceError):
                self.do(promote(release, self.settings, self.store, to=to))
            return
        change = self.do(promote(release, self.settings, self.store, to=to))
        assert (change.share > release.share * (release.stage == to)) == (to == "canary")
        if release.stage == "live":
            self.history.pop()
        self.stages[release.name] = to
        self.changes += 1

    @precondition(lambda self: self.stages)
    @rule()
    def rollback(self) -> None:
        live = "live" in self.stages.values()
        canary = next((name for name, stage in self.stages.items() if stage == "canary"), "")
        if canary:
            assert self.do(rollback("defects", self.settings, self.store, why="drill")).release == canary
            self.stages[canary] = "retired"
            self.changes += 1
            return
        former = self.history[-2:-1] if live else self.history[-1:]
        if not former:
            with pytest.raises(Conflict):
                self.do(rollback("defects", self.settings, self.store))
            return
        self.do(rollback("defects", self.settings, self.store, why="drill"))
        assert self.do(self.store.live("defects")).name == former[0]
        if live:
            self.history.pop()
        self.went_live(former[0])

    def went_live(self, name: str) -> None:
        self.stages = {n: "retired" if s == "live" else s for n, s in self.stages.items()} | {name: "live"}
        self.changes += 1

    @invariant()
    def the_store_and_its_record_of_changes_tell_the_same(self) -> None:
        found = {release.name: release.stage for release in self.releases()}
        assert found == self.stages
        assert list(found.values()).count("live") <= 1
        assert sum(stage in TRIAL for stage in found.values()) <= 1
        changes = self.do(self.store.stage_changes("defects"))
        assert len(changes) == self.changes
        assert all(change.who for change in changes)
        assert self.replayed(changes) == found

    def replayed(self, changes: list[StageChange]) -> dict[str, str]:
        told = dict.fromkeys(self.stages, "candidate")
        for change in changes:
            assert told[change.release] == change.before
            if change.after == "live":
                told = {name: "retired" if stage == "live" else stage for name, stage in told.items()}
            told[change.release] = change.after
        return told

    def teardown(self) -> None:
        self.do(self.store.close())
        self.loop.close()
        self.folder.cleanup()


Stages.TestCase.settings = hypothesis_settings(max_examples=15, stateful_step_count=25, deadline=None)
TestStages = Stages.TestCase
