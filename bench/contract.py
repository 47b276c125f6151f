"""Does the promise hold? python bench/contract.py DATA_ROOT [--draws 1000] [--json].

BANKING77 and CLINC150, each by the linear engine, which is fitted on its train rows and calibrated on rows held out of
them. The test rows, with their confidences, are a world of which everything is known: from it 1,000 calibration sets of
1,000 rows are drawn with replacement, a threshold is fitted to each (insource.stats.threshold_for_risk, 95%) for an
error of 2, 5 and 10%, and the error above that threshold in the whole world is held against what was promised.
The control takes the lowest threshold at which the error of the calibration rows is small enough, as is often done.

Then, on the test rows: the share that is answered as the error allowed grows; how many wrong answers are kept back at a
confidence of 85%, and what share must go to people until 78% of them are. For CLINC150 also its 1,000 questions that
are for no label: how many of them, and of its test questions, come out of a call as out of scope, where 4% false alarms
are allowed; and the same by confidence alone, below what keeps as many of the rows held out back.
"""

import argparse
import asyncio
import csv
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np

from insource.engines.base import Engine
from insource.engines.linear import Linear
from insource.journeys.answer import Path as AnswerPath
from insource.journeys.answer import Tier, answer, discard
from insource.nouns import Example, Output, Task, ask
from insource.route import Scope, Terms
from insource.stats import coverage_at_risk, risk_coverage, threshold_for_risk, wilson

RISKS, ROWS = (0.02, 0.05, 0.10), 1_000
CONFIDENCE, CUT, ALARMS = 0.85, 0.78, 0.04
Pairs = list[tuple[str, str]]
Floats = np.ndarray[Any, Any]


def banking77(root: Path) -> dict[str, Pairs]:
    """Train, held out and test rows; a tenth of train is held out."""
    found: dict[str, Pairs] = {}
    for name in ("train", "test"):
        with (root / "banking77" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            found[name] = [(row["text"], row["category"]) for row in csv.DictReader(file)]
    rows = found.pop("train")
    return found | {"train": [r for i, r in enumerate(rows) if i % 10], "dev": rows[::10], "none": []}


def clinc150(root: Path) -> dict[str, Pairs]:
    """Its own splits of the 150 labels, and its test questions for none of them."""
    said = json.loads((root / "clinc150" / "data_full.json").read_text("utf-8"))
    names = {"train": "train", "dev": "val", "test": "test", "none": "oos_test"}
    return {name: [(text, label) for text, label in said[of]] for name, of in names.items()}


async def answered(engine: Engine, task: Task, rows: Pairs) -> tuple[Floats, Floats]:
    """The confidence of each answer, and whether it is right."""
    said = [await engine.complete(ask(task, text, id=str(i))) for i, (text, _) in enumerate(rows)]
    sure = np.array([one.confidence or 0.0 for one in said])
    right = np.array([(one.value or {}).get("label") == label for one, (_, label) in zip(said, rows, strict=True)])
    return sure, right


def promises(sure: Floats, right: Floats, risk: float, draws: int) -> dict[str, Any]:
    """How often a promised error is exceeded in the whole world, and by the control."""
    random = np.random.default_rng(9)
    order = np.argsort(-sure)
    ordered, wrong = sure[order], np.cumsum(~right[order])

    def error_above(threshold: float) -> float:
        n = int(np.searchsorted(-ordered, -threshold, side="right"))
        return float(wrong[n - 1]) / n if n else 0.0

    exceeded = made = naive = 0
    coverage = []
    for _ in range(draws):
        drawn = random.integers(len(sure), size=ROWS)
        threshold, share, _ = threshold_for_risk(sure[drawn], right[drawn], risk)
        made += threshold is not None
        exceeded += threshold is not None and error_above(threshold) > risk
        coverage.append(share)
        fine = [p.threshold for p in risk_coverage(sure[drawn], right[drawn]) if p.risk <= risk]
        naive += bool(fine) and error_above(min(fine)) > risk
    low, high = wilson(exceeded, draws)
    return {"risk": risk, "draws": draws, "made": made, "exceeded": exceeded, "share": exceeded / draws, "low": low,
            "high": high, "naive": naive / draws, "coverage": float(np.mean(coverage))}  # fmt: skip


def cut(sure: Floats, right: Floats) -> dict[str, Any]:
    """Wrong answers kept back at 85% confidence, and the share that must go to people to keep 78% of them back."""
    wrong = ~right
    back = sure < CONFIDENCE
    order = np.argsort(sure, kind="stable")
    kept = np.cumsum(wrong[order]) / max(1, wrong.sum())
    needed = int(np.searchsorted(kept, CUT)) + 1
    low, high = wilson(int((wrong & back).sum()), int(wrong.sum()))
    return {"wrong": int(wrong.sum()), "cut": float((wrong & back).sum() / max(1, wrong.sum())), "low": low,
            "high": high, "reviewed": float(back.mean()), "reviewed_for_78": needed / len(sure)}  # fmt: skip


async def beyond(engine: Engine, task: Task, rows: dict[str, Pairs]) -> dict[str, Floats]:
    """Of the questions for no label and of those of the test, which a call says are out of scope."""
    held = [await engine.complete(ask(task, text, id="held")) for text, _ in rows["dev"]]
    scope = Scope(held_out=tuple(sorted(float(one.novelty) for one in held)), alarms=ALARMS)  # type: ignore[arg-type]
    path = AnswerPath(task=task, tiers=(Tier(engine, terms=Terms(scope=scope)),))

    async def out(text: str) -> bool:
        return (await answer(ask(task, text, id="asked"), path, discard)).outcome == "out_of_scope"

    return {split: np.array([await out(text) for text, _ in rows[split]]) for split in ("none", "test")}


def spotted(strange: Floats, known: Floats) -> dict[str, Any]:
    """The share kept back of questions for no label, and of the others."""
    seen, alarms = int(strange.sum()), int(known.sum())
    return {"n": len(strange), "seen": seen / len(strange), "interval": wilson(seen, len(strange)),
            "false_alarms": alarms / len(known), "false_interval": wilson(alarms, len(known))}  # fmt: skip


async def measured(name: str, rows: dict[str, Pairs], draws: int) -> dict[str, Any]:
    """One data set."""
    labels = tuple(sorted({label for _, label in rows["train"]}))
    task = Task(name=name, kind="classify", outputs=(Output(name="label", labels=labels),))

    def examples(split: str) -> list[Example]:
        return [Example(id=f"{split}{i}", task=name, input=text, target={"label": label}, split=split)
                for i, (text, label) in enumerate(rows[split])]  # fmt: skip

    engine = Linear.fit(task, examples("train"), examples("dev"), name="linear", progress=lambda *_: None)
    sure, right = await answered(engine, task, rows["test"])
    held, _ = await answered(engine, task, rows["dev"])
    ones = np.ones((1, len(sure)))
    found: dict[str, Any] = {
        "n": len(sure), "accuracy": float(right.mean()),
        "promises": [promises(sure, right, risk, draws) for risk in RISKS],
        "coverage": {str(risk): float(coverage_at_risk(sure, right, risk)(ones)[0]) for risk in RISKS},
        "curve": [[p.coverage, p.risk, p.threshold] for p in risk_coverage(sure, right)[:: max(1, len(sure) // 100)]],
        "cut": cut(sure, right),
    }  # fmt: skip
    if rows["none"]:
        strange, _ = await answered(engine, task, rows["none"])
        bar = float(np.quantile(held, ALARMS))
        outside = await beyond(engine, task, rows)
        found["none"] = spotted(outside["none"], outside["test"])
        found["none"]["by_confidence"] = spotted(strange < bar, sure < bar)
    await engine.close()
    print(f"  {name}: { ({k: v for k, v in found.items() if k != 'curve'}) }", file=sys.stderr)
    return found


def main() -> None:
    """Runs it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder of data sets")
    parser.add_argument("--draws", type=int, default=1_000)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    sets = {"banking77": banking77(given.data), "clinc150": clinc150(given.data)}
    found = {name: asyncio.run(measured(name, rows, given.draws)) for name, rows in sets.items()}
    document = {"bench": "contract", "engine": "linear", "rows": ROWS, "sets": found,
                "machine": f"{platform.machine()}, {os.cpu_count()} cores"}  # fmt: skip
    print(json.dumps(document) if given.json else json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
