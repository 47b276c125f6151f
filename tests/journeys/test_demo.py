"""The demo: who wins is decided by the gate's rule, and no run touches another."""

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from insource.errors import StoreError
from insource.journeys.demo import Gated, choose
from insource.journeys.demo_place import FILES, TASK, fresh, lay_out, write_reports
from insource.journeys.demo_reports import defect_reports, labels
from insource.nouns import Candidate, Check, Failures, Gate, Latency, Pair, Release, Report, Score
from insource.settings import load_settings, load_task

SPECIALIST, LINEAR = "defects@1.0.0", "defects@1.1.0"


def gated(name: str, *, passed: bool = True, difference: tuple[float, float, float] = (0.05, 0.01, 0.09)) -> Gated:
    task, _, version = name.partition("@")
    release = Release(
        task=task,
        version=version,
        engine="torch",
        base="b",
        dataset="d",
        recipe="r",
        artefact="a",
        folder="f",
    )
    score = Score(metric="accuracy", value=0.5, low=0.4, high=0.6, n=300)
    candidate = Candidate(
        candidate=name,
        kind="specialist",
        scores=(score,),
        latency_ms=Latency(p50=1, p95=1, p99=1),
        usd_per_1k=None,
        failures=Failures(n=300, invalid=0, upper95=0.01),
    )
    value, low, high = difference
    pair = Pair(a=name, b="baseline", metric="accuracy", difference=value, low=low, high=high, p=0.01, n=300)
    return Gated(
        release=release,
        gate=Gate(
            release=name, artefact="a", report="r", checks=(Check(name="c", demanded="", found="", passed=passed),)
        ),
        report=Report(task=task, dataset="d", split="test", candidates=(candidate,), pairs=(pair,)),
    )


def test_the_two_are_compared_in_whatever_order_the_report_names_them() -> None:
    one = gated(SPECIALIST, difference=(-0.02, -0.06, 0.02))
    (pair,) = one.report.pairs
    turned = replace(pair, a=pair.b, b=pair.a, difference=0.02, low=-0.02, high=0.06)
    one = replace(one, report=replace(one.report, pairs=(turned,)))
    chosen, why = choose(one, gated(LINEAR))
    assert chosen is not None
    assert chosen.release.name == LINEAR
    assert "ties with it, -2.0 points (-6.0 to +2.0, n 300)" in why


def test_a_specialist_that_is_better_beyond_chance_is_released() -> None:
    chosen, why = choose(gated(SPECIALIST), gated(LINEAR))
    assert chosen is not None
    assert chosen.release.name == SPECIALIST
    assert "+5.0 points (+1.0 to +9.0, n 300)" in why


def test_a_tie_goes_to_the_baseline_and_says_so() -> None:
    chosen, why = choose(gated(SPECIALIST, difference=(0.02, -0.02, 0.06)), gated(LINEAR))
    assert chosen is not None
    assert chosen.release.name == LINEAR
    assert why.startswith("it is the baseline, which is cheaper to run; defects@1.0.0 ties with it, +2.0")


def test_a_baseline_that_wins_is_released_and_named() -> None:
    chosen, why = choose(gated(SPECIALIST, difference=(-0.05, -0.09, -0.01)), gated(LINEAR))
    assert chosen is not None
    assert chosen.release.name == LINEAR
    assert why.startswith("it is the baseline, and defects@1.0.0 is worse, -5.0")


def test_what_the_gate_refuses_is_not_released_however_good() -> None:
    chosen, why = choose(gated(SPECIALIST, passed=False), gated(LINEAR))
    assert chosen is not None
    assert (chosen.release.name, SPECIALIST in why) == (LINEAR, True)
    chosen, why = choose(gated(SPECIALIST), gated(LINEAR, passed=False))
    assert chosen is not None
    assert (chosen.release.name, LINEAR in why) == (SPECIALIST, True)
    assert choose(gated(SPECIALIST, passed=False), gated(LINEAR, passed=False))[0] is None


def test_every_run_has_a_folder_of_its_own(tmp_path: Path) -> None:
    first, second = fresh(tmp_path / "demo"), fresh(tmp_path / "demo")
    assert (first.name, second.name) == ("run-1", "run-2")


def test_a_folder_that_cannot_be_made_is_a_store_error_with_a_hint(tmp_path: Path) -> None:
    (tmp_path / "demo").write_text("a file", "utf-8")
    with pytest.raises(StoreError) as raised:
        fresh(tmp_path / "demo")
    assert "--dir" in raised.value.hint


def test_the_workspace_is_one_that_the_verbs_can_read(tmp_path: Path) -> None:
    lay_out(tmp_path, 50)
    task = load_task(load_settings(tmp_path), TASK)
    assert [list(output.labels) for output in task.outputs] == [
        labels(name) for name in ("category", "cause", "urgency")
    ]
    assert task.acceptance
    assert task.risk.otherwise == ("review",)
    assert all((tmp_path / name).is_file() for name in FILES)


def test_the_reports_are_written_as_they_were_made(tmp_path: Path) -> None:
    write_reports(tmp_path / "reports.csv", 60)
    with (tmp_path / "reports.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["report"] for row in rows] == [report.report for report in defect_reports(60)]
    assert list(rows[0]) == ["report", "category", "cause", "urgency"]


def insource(*words: str) -> Any:
    done = subprocess.run([sys.executable, "-m", "insource", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done


def test_the_verb_writes_only_the_reports_when_asked(tmp_path: Path) -> None:
    file = tmp_path / "reports.csv"
    said = json.loads(insource("demo", "--reports", str(file), "--rows", "200", "--json").stdout)
    assert said == {"file": str(file), "rows": 200}
    assert file.read_text("utf-8").count("\n") == 201


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_whole_loop_runs_with_real_weights(tmp_path: Path) -> None:
    done = insource("demo", "--dir", str(tmp_path), "--rows", "400", "--json")
    told = json.loads(done.stdout)
    assert told["workspace"] == str(tmp_path / "run-1")
    assert len(told["gates"]) == 2
    assert [step["number"] for step in told["steps"]][:7] == list(range(1, 8))
    for page in (told["report"], told["untuned"]):
        assert "<html" in Path(page).read_text("utf-8")
    if told["released"]:
        assert told["calls"]
        assert {call["decision"] for call in told["calls"]} <= {"answered", "review"}
    assert f"[8/{8}]" in done.stderr or not told["released"]
