import json
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from measure_rows import LABELS, TASK, answered, run

from insource.errors import Denied, EngineDown, Invalid
from insource.measure import About, Contender, Run, measure
from insource.measure.report import assemble
from insource.measure.words import called
from insource.nouns import Report, digest, from_json, to_json

GOLDEN = Path(__file__).parent / "golden_report.json"
ABOUT = About(dataset="d" * 64, split="test", code="insource 0.0.0", machine="a machine", notes=("A note.",))
KINDS = {"baseline": "baseline", "tuned": "specialist", "shots": "few-shot"}


def made(runs, failed=None, task=TASK):
    contenders = [Contender(name, KINDS.get(name, "remote"), None) for name in runs]
    return assemble(task, contenders, runs, failed or {}, ABOUT)


def first(runs):
    return made(runs).summary[0]


def rounded(value):
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return {key: rounded(item) for key, item in value.items()} if isinstance(value, dict) else value


def test_the_first_line_names_the_better_candidate_with_the_difference() -> None:
    line = first({"baseline": run(0.7, 400, 1), "tuned": run(0.93, 400, 2)})
    assert line.startswith("tuned wins: 9")
    assert "the linear baseline is 2" in line
    assert "points behind" in line


def test_a_log_costs_the_mean_of_the_calls_whose_cost_it_says() -> None:
    rows = run(0.9, 100, 1)
    some = replace(rows, rows=tuple(replace(row, usd=0.002 if i < 60 else 0.0) for i, row in enumerate(rows.rows)))
    for kind, wanted in (("log", 2.0), ("remote", 1.2)):
        found = assemble(TASK, [Contender("x", kind, None, priced=True)], {"x": some}, {}, ABOUT)
        assert found.candidates[0].usd_per_1k == pytest.approx(wanted)


def test_the_first_line_says_so_when_the_baseline_is_better() -> None:
    assert first({"baseline": run(0.93, 400, 2), "tuned": run(0.7, 400, 1)}).startswith("The linear baseline wins: 9")


def test_a_tie_with_the_baseline_is_won_by_the_baseline_even_if_it_is_behind() -> None:
    runs = {"baseline": run(0.90, 300, 1), "tuned": run(0.92, 300, 2)}
    report = made(runs)
    assert report.candidates[1].score("accuracy").value > report.candidates[0].score("accuracy").value
    assert report.summary[0].startswith("The linear baseline is not beaten:")
    assert "tuned ties with it" in report.summary[0]


def test_without_a_baseline_a_tie_is_called_one() -> None:
    assert "leads" in first({"tuned": run(0.91, 300, 1), "shots": run(0.90, 300, 2)})
    assert "ties with it" in first({"tuned": run(0.91, 300, 1), "shots": run(0.90, 300, 2)})


def test_a_good_score_on_a_few_lucky_rows_does_not_win() -> None:
    few = Run(tuple(answered(i, {"kind": LABELS[i % 3]}, confidence=0.9) for i in range(12)), (5.0,), 1.0)
    report = made({"baseline": run(0.9, 400, 1), "shots": few})
    assert report.candidates[1].score("accuracy").value == 1
    assert report.summary[0].startswith("The linear baseline is not beaten:")


def test_what_was_demanded_is_met_or_not_per_candidate() -> None:
    report = made({"baseline": run(0.7, 300, 1), "tuned": run(0.95, 300, 2)})
    met = {c.candidate: [line["met"] for line in c.details["acceptance"]] for c in report.candidates}
    assert met == {"baseline": [False, True], "tuned": [True, True]}
    assert "Every demand of [acceptance] is met by tuned." in report.summary
    assert "Missed: baseline (accuracy)." in report.summary


def test_a_demand_on_one_output_or_on_what_was_not_measured_is_decided_too() -> None:
    task = msgspec.structs.replace(TASK, acceptance={"kind.accuracy": 0.5, "kind.macro_f1": 0.5, "ece": 0.5, "f1": 0.1})
    lines = made({"tuned": run(0.9, 300)}, task=task).candidates[0].details["acceptance"]
    assert [line["met"] for line in lines] == [True, True, True, False]
    assert lines[-1]["found"] == "not measured"
    assert [called(line["name"]) for line in lines] == ["kind accuracy", "kind macro-F1", "calibration error", "F1"]


def test_no_failure_in_n_is_reported_with_its_bound() -> None:
    failures = made({"tuned": run(0.9, 300)}).candidates[0].failures
    assert (failures.n, failures.invalid) == (300, 0)
    assert failures.upper95 == pytest.approx(1 - 0.05 ** (1 / 300))


def test_confusions_are_counted_with_examples_and_rows_that_differ_are_shown() -> None:
    rows = [answered(i, {"kind": "noise"}, {"kind": "leak"}, text=f"drips {i}") for i in range(5)]
    rows += [answered(i, None, {"kind": "crack"}) for i in range(5, 8)]
    report = made({"tuned": Run(tuple(rows), (1.0,), 1.0), "baseline": run(1.0, 8)})
    confusions = report.candidates[0].details["confusions"]
    assert confusions[0] == {
        "output": "kind", "target": "leak", "answer": "noise", "n": 5, "of": 5, "examples": ["drips 0", "drips 1"],
    }  # fmt: skip
    assert (confusions[1]["answer"], confusions[1]["n"]) == (None, 3)
    assert {"tuned", "baseline"} == set(report.rows[0]["answers"])
    assert any(answer["value"] == "" for row in report.rows for answer in row["answers"].values())


def test_the_id_is_the_digest_of_the_content() -> None:
    report = made({"tuned": run(0.9)})
    assert report.id == digest(msgspec.structs.replace(report, id=""))
    assert report.id != made({"tuned": run(0.8)}).id
    assert from_json(to_json(report), Report) == report


def test_the_json_is_the_golden_one() -> None:
    """To renew after a wanted change: delete the file and run again; then read the difference."""
    report = made({"baseline": run(0.8, 60, 1), "tuned": run(0.95, 60, 2)}, {"cloud": "it is away"})
    report = msgspec.structs.replace(report, id="", created="")
    found = rounded(json.loads(to_json(report)))
    if not GOLDEN.exists():
        GOLDEN.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    assert found == json.loads(GOLDEN.read_text("utf-8"))


def test_the_json_has_the_keys_others_build_on() -> None:
    found = json.loads(to_json(made({"baseline": run(0.8, 60, 1), "tuned": run(0.95, 60, 2)})))
    assert {"task", "dataset", "split", "candidates", "pairs"} <= set(found)
    candidate, pair = found["candidates"][0], found["pairs"][0]
    assert {"candidate", "kind", "scores", "latency_ms", "usd_per_1k", "failures"} <= set(candidate)
    assert set(candidate["scores"][0]) == {"metric", "slice", "value", "low", "high", "n"}
    assert set(candidate["latency_ms"]) == {"p50", "p95", "p99"}
    assert set(candidate["failures"]) == {"n", "invalid", "upper95"}
    assert {"a", "b", "metric", "difference", "low", "high", "p"} <= set(pair)


def closed(error):
    def open_():
        raise error

    return open_


def quiet(what, done, total):
    pass


async def test_nothing_to_measure_and_nobody_who_can_be_measured_are_errors() -> None:
    rows = [row.example for row in run(0.9).rows]
    away = Contender("away", "remote", closed(EngineDown("it is away")))
    with pytest.raises(Invalid, match="no rows"):
        await measure(TASK, [], [away], ABOUT, progress=quiet)
    with pytest.raises(Invalid, match="no candidates"):
        await measure(TASK, rows, [], ABOUT, progress=quiet)
    forbidden = Contender("forbidden", "remote", closed(Denied("the text stays here")))
    missing = Contender("missing", "zero-shot", closed(ModuleNotFoundError("no torch", name="torch")))
    with pytest.raises(
        EngineDown, match="away: it is away; forbidden: the text stays here; missing: a package is missing: torch"
    ):
        await measure(TASK, rows, [away, forbidden, missing], ABOUT, progress=quiet)
