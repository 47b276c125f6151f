"""The gate on a real artefact: a linear release trained, measured and answered through the served path."""

import asyncio
import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from copied_workspace import copied
from insource.cli.main import main
from insource.engines.artefact import file_digests, read_manifest, write_manifest
from insource.errors import Invalid, Refused
from insource.journeys.gate import gate
from insource.journeys.promote import promote
from insource.journeys.serve import open_path
from insource.journeys.train import train
from insource.nouns import Gate, Release
from insource.settings import Settings, load_task
from insource.store import Store

sys.path.insert(0, str(Path(__file__).parent))
from release_parts import keep_rows, rows, workspace

NAMES = ["artefact", "task", "unseen rows", "served = trained", "as sure as trained", "accuracy", "baseline",
         "well-formed", "latency", "slices", "failed before", "adversarial", "confidently wrong", "hostile form",
         "safety"]  # fmt: skip


async def trained(settings, *, shuffled: bool = False, seed: int = 0) -> Release:
    """A linear candidate on generated rows."""
    task = load_task(settings, "defects")
    async with await Store.open(settings) as store:
        await keep_rows(store, rows(600, seed=seed, shuffled=shuffled))
        return await train(task, settings, store, base="linear")


@pytest.fixture(scope="module")
def passed(tmp_path_factory) -> Path:
    """A workspace whose release went through the gate; tests work on copies of it."""
    root = tmp_path_factory.mktemp("passed")
    settings = workspace(root)
    assert asyncio.run(asked(settings, asyncio.run(trained(settings)))).passed
    return root


@pytest.fixture
def settings(passed: Path, tmp_path: Path) -> Settings:
    copied(passed, tmp_path / "copy")
    return workspace(tmp_path / "copy")


async def first(settings) -> Release:
    async with await Store.open(settings) as store:
        return await store.release("defects", "1.0.0")


async def asked(settings, release: Release) -> Gate:
    async with await Store.open(settings) as store:
        return await gate(load_task(settings, "defects"), release, settings, store)


def found(answer: Gate, name: str):
    return next(check for check in answer.checks if check.name == name)


def insource(settings, *words: str):
    return CliRunner().invoke(main, ["-C", str(settings.root), *words], catch_exceptions=False)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


async def test_a_good_release_passes_every_check_and_the_report_is_kept(settings):
    release = await first(settings)
    async with await Store.open(settings) as store:
        (answer,) = await store.gates(release.name)
    assert [check.name for check in answer.checks] == NAMES
    assert answer.passed, [check for check in answer.checks if not check.passed]
    assert answer.artefact == release.artefact
    assert found(answer, "served = trained").found.startswith("100.00%")
    assert found(answer, "baseline").detail["remark"] == "this release is the baseline"
    assert found(answer, "accuracy").detail["n"] == 120
    async with await Store.open(settings) as store:
        report = await store.report(answer.report)
        assert {candidate.candidate for candidate in report.candidates} == {"baseline", "defects@1.0.0"}
        assert await store.records("defects") == [], "a gate leaves no calls behind"


async def test_labels_dealt_out_at_random_do_not_get_through(tmp_path):
    settings = workspace(tmp_path, "accuracy = 0.2")
    bad = await trained(settings, shuffled=True)
    async with await Store.open(settings) as store:
        await keep_rows(store, rows(600))
    answer = await asked(settings, bad)
    assert not answer.passed
    assert found(answer, "accuracy").passed, "a low demand alone would have let it through"
    check = found(answer, "baseline")
    assert not check.passed
    assert "worse" in check.detail["remark"]
    async with await Store.open(settings) as store:
        with pytest.raises(Refused, match="baseline"):
            await promote(bad, settings, store)


async def test_a_flipped_byte_is_found_by_the_gate_and_serving_refuses_to_load_it(settings):
    release = await first(settings)
    async with await Store.open(settings) as store:
        await promote(release, settings, store)
    folder = settings.state / release.folder
    weights = max(folder.rglob("*.safetensors"), key=lambda path: path.stat().st_size)
    flip(weights)
    second = await asked(settings, release)
    assert [check.name for check in second.checks] == ["artefact"], "what is damaged is not loaded"
    assert f"{weights.relative_to(folder)} was changed" in second.checks[0].found
    async with await Store.open(settings) as store:
        with pytest.raises(Refused):
            await open_path("defects", settings, store)


async def registered(settings: Settings, release: Release, artefact: str) -> Release:
    """The same files as another release, of which that artefact is known."""
    made = replace(release, version="1.1.0", artefact=artefact)
    async with await Store.open(settings) as store:
        await store.add_release(made)
    return made


async def test_answers_that_differ_from_the_trainers_stop_the_gate(settings):

    release = await first(settings)
    folder = settings.state / release.folder
    lines = [json.loads(line) for line in (folder / "trainer.jsonl").read_text().splitlines()]
    for line in lines[:2]:
        line["value"] = {"category": "leak" if line["value"]["category"] != "leak" else "heat"}
    (folder / "trainer.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    manifest = replace(read_manifest(folder), files=file_digests(folder))
    answer = await asked(settings, await registered(settings, release, write_manifest(folder, manifest)))
    check = found(answer, "served = trained")
    assert not check.passed
    assert check.detail == {"share": 118 / 120, "same": 118, "n": 120, "rows": 120}


async def test_the_same_labels_with_other_confidences_stop_the_gate(settings):
    """As where an adapter was merged twice: the labels stay, what is promised of the confidence does not."""
    release = await first(settings)
    folder = settings.state / release.folder
    lines = [json.loads(line) for line in (folder / "trainer.jsonl").read_text().splitlines()]
    for line in lines:
        line["confidence"] = line["confidence"] / 2
    (folder / "trainer.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    manifest = replace(read_manifest(folder), files=file_digests(folder))
    answer = await asked(settings, await registered(settings, release, write_manifest(folder, manifest)))
    assert [check.name for check in answer.checks if not check.passed] == ["as sure as trained"]
    assert found(answer, "as sure as trained").detail["n"] == 120


async def test_rows_it_was_trained_on_are_no_test(settings):
    release = await first(settings)
    async with await Store.open(settings) as store:
        leaked = [replace(row, split="test" if row.split == "train" else "train") for row in rows(600)]
        await keep_rows(store, leaked)
    check = found(await asked(settings, release), "unseen rows")
    assert not check.passed
    assert check.detail["leaked"] == 360


async def test_an_unknown_demand_stops_before_anything_is_measured(settings):
    release = await first(settings)
    workspace(settings.root, "acuracy = 0.8")
    with pytest.raises(Invalid, match="did you mean accuracy"):
        await asked(settings, release)
    async with await Store.open(settings) as store:
        assert len(await store.reports("defects")) == 1, "the one of the gate before"
        assert len(await store.gates(release.name)) == 1


def test_the_whole_way_at_the_terminal(tmp_path):
    settings = workspace(tmp_path)
    asyncio.run(trained(settings))
    assert insource(settings, "release", "promote", "defects").exit_code == 2, "no gate yet"
    done = insource(settings, "release", "gate", "defects")
    assert done.exit_code == 0, done.output
    assert "defects@1.0.0: the gate says ✓ yes, 11 of 11 checks hold, 4 do not apply" in done.stdout
    assert "next: insource release promote defects@1.0.0" in done.stdout
    done = insource(settings, "release", "promote", "defects", "--why", "first", "--json")
    change = json.loads(done.stdout)
    assert (change["after"], change["why"], bool(change["who"])) == ("live", "first", True)
    assert change["evidence"]
    assert "live" in insource(settings, "release", "list", "defects").stdout
    shown = json.loads(insource(settings, "release", "show", "defects@1.0.0", "--json").stdout)
    assert shown["gate"]["passed"] is True
    assert shown["changes"][0]["release"] == "defects@1.0.0"
    assert insource(settings, "release", "verify", "defects").exit_code == 0
    assert insource(settings, "release", "rollback", "defects").exit_code == 2


def test_a_gate_that_says_no_ends_with_1_and_one_document(tmp_path):
    settings = workspace(tmp_path, "accuracy = 1.0\np50_ms = 0.000001")
    asyncio.run(trained(settings, shuffled=True))
    done = insource(settings, "release", "gate", "defects", "--json")
    assert done.exit_code == 1
    document = json.loads(done.stdout)
    assert document["passed"] is False
    assert "said no to defects@1.0.0" in done.stderr
    done = insource(settings, "release", "gate", "defects")
    assert done.exit_code == 1
    assert "✗ accuracy" in done.stdout
    assert "≥ 1" in done.stdout
    assert "✗ p50_ms" in done.stdout
    assert "hint:" in done.stderr
    assert insource(settings, "release", "promote", "defects").exit_code == 1


def test_verify_names_each_file_and_ends_with_1(settings):
    release = asyncio.run(first(settings))
    folder = settings.state / release.folder
    flip(folder / "trainer.jsonl")
    (folder / "notes.txt").write_text("hello")
    done = insource(settings, "release", "verify", release.name, "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["faults"] == ["trainer.jsonl was changed", "notes.txt was added"]
    done = insource(settings, "release", "verify", release.name)
    assert done.exit_code == 1
    assert "✗ trainer.jsonl was changed" in done.stdout
    assert insource(settings, "release", "gate", "defects").exit_code == 1
    assert insource(settings, "release", "promote", "defects").exit_code == 1
