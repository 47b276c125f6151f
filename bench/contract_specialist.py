"""The promise of a specialist's confidence: python bench/contract_specialist.py DATA_ROOT [--draws 1000] [--json].

What bench/contract.py asks of the linear engine, asked of two specialists that bench/specialist.py trained on a GPU and
whose answers it kept, row by row, in bench/evidence/ (with the card, the versions and the digests of the data, which
must be those of the data given here). On BANKING77 the linear engine answers the same rows, for a comparison in pairs.

Beyond the resampled promises: the threshold that each release itself carries, fitted on the rows held out of its
training, applied to the test rows. And for CLINC150 its 1,000 test questions for no label: by each score the threshold
is the highest that leaves the in-scope accuracy of the validation rows certainly (95%) at or above that of the
published one; which score is shown is decided on the 100 validation questions for no label, never on the test ones.
Then the product's own rule, which knows no question for no label: `[risk] out_of_scope = 0.04` on the energy.
"""

import argparse
import asyncio
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np

from contract import RISKS, ROWS, Floats, Pairs, answered, banking77, cut, promises
from insource.engines.artefact import file_digest
from insource.engines.linear import Linear
from insource.nouns import Example, Output, Task
from insource.route.terms import Scope
from insource.stats import (
    bootstrap,
    coverage_at_risk,
    paired_bootstrap,
    risk_coverage,
    threshold_for_risk,
    wilson,
)

EVIDENCE = Path(__file__).parent / "evidence"
SETS = ("banking77", "clinc150")
SCORES = ("confidence", "energy", "lead")
PUBLISHED = {"in_scope": 0.962, "recall": 0.523}  # Larson et al. 2019 (arXiv:1909.02027), BERT with a threshold
ASKED = 0.02
ALARMS = 0.04  # of the questions that have a label, as in bench/contract.py
MADE = ("base", "base_digest", "artefact", "recipe", "card", "torch", "transformers", "python", "date", "minutes")


def kept(name: str, root: Path) -> dict[str, Any]:
    """What was measured. Ends the program where it was measured on other data than is given here."""
    found: dict[str, Any] = json.loads((EVIDENCE / f"specialist_{name}.json").read_text("utf-8"))
    for file, digest in found["data"].items():
        if file_digest(root / name / file) != digest:
            sys.exit(f"{root / name / file} is not the file that the specialist was measured on")
    return found


def of(found: dict[str, Any], split: str) -> tuple[Floats, Floats]:
    """The confidence of each answer of a split, and whether it is right."""
    said = found["splits"][split]
    return np.array(said["confidence"]), np.array([one == "1" for one in said["right"]])


def share(hits: Floats) -> dict[str, Any]:
    """A share with its interval."""
    count, n = int(hits.sum()), len(hits)
    low, high = wilson(count, n)
    return {"value": count / n, "low": low, "high": high, "n": n}


def promised(found: dict[str, Any], draws: int) -> dict[str, Any]:
    """The promises, the coverage and the curve of one specialist on its test rows."""
    sure, right = of(found, "test")
    coverage = {}
    for risk in RISKS:
        statistic = coverage_at_risk(sure, right, risk)
        low, high = bootstrap(statistic, len(sure), kind="basic")
        coverage[str(risk)] = {
            "value": float(statistic(np.ones((1, len(sure))))[0]),
            "low": low,
            "high": min(1.0, high),
        }
    return {
        "n": len(sure), "accuracy": share(right), "coverage": coverage, "cut": cut(sure, right),
        "promises": [promises(sure, right, risk, draws) for risk in RISKS],
        "released": released(found),
        "curve": [[p.coverage, p.risk, p.threshold] for p in risk_coverage(sure, right)[:: max(1, len(sure) // 100)]],
        **{key: found[key] for key in MADE},
    }  # fmt: skip


def released(found: dict[str, Any]) -> dict[str, Any]:
    """The threshold that the release carries, on the rows of the test."""
    sure, right = of(found, "test")
    threshold, _, _ = threshold_for_risk(*of(found, "dev"), ASKED)
    if threshold is None:
        return {"threshold": None, "labels": found["splits"]["dev"]["n"]}
    given = sure >= threshold
    return {"threshold": threshold, "labels": found["splits"]["dev"]["n"], "covered": share(given),
            "wrong": share(~right[given])}  # fmt: skip


async def linear(rows: dict[str, Pairs]) -> tuple[Floats, Floats]:
    """The linear engine on the same test rows."""
    labels = tuple(sorted({label for _, label in rows["train"]}))
    task = Task(name="banking77", kind="classify", outputs=(Output(name="label", labels=labels),))
    train, dev = (
        [
            Example(id=f"{split}{i}", task=task.name, input=text, target={"label": label}, split=split)
            for i, (text, label) in enumerate(rows[split])
        ]
        for split in ("train", "dev")
    )
    engine = Linear.fit(task, train, dev, name="linear", progress=lambda *_: None)
    said = await answered(engine, task, rows["test"])
    await engine.close()
    return said


def beside(found: dict[str, Any], theirs: tuple[Floats, Floats]) -> dict[str, Any]:
    """How much more the specialist answers at an error of 2% than the linear engine does, of the same rows."""
    pair = paired_bootstrap(
        coverage_at_risk(*of(found, "test"), ASKED), coverage_at_risk(*theirs, ASKED), len(theirs[0])
    )
    alone = float(coverage_at_risk(*theirs, ASKED)(np.ones((1, len(theirs[0]))))[0])
    return {"linear": alone, "difference": pair.value, "low": pair.low, "high": pair.high, "n": len(theirs[0])}


def strange(found: dict[str, Any], score: str) -> dict[str, Any]:
    """Questions for no label below the threshold of a score, and what that does to those that have one."""
    values = {split: np.array(found["splits"][split][score]) for split in ("dev", "test", "none_dev", "none")}
    _, dev_right = of(found, "dev")
    _, right = of(found, "test")
    order = np.argsort(values["dev"], kind="stable")
    still = dev_right.sum() - np.concatenate([[0], np.cumsum(dev_right[order])[:-1]])  # right ones at or above each
    fine = [k for k, count in enumerate(still) if wilson(int(count), len(dev_right))[0] >= PUBLISHED["in_scope"]]
    bar = float(values["dev"][order][fine[-1]]) if fine else -np.inf
    return {
        "threshold": bar, "dev_seen": share(values["none_dev"] < bar),
        "dev_in_scope": share(dev_right & (values["dev"] >= bar)),
        "seen": share(values["none"] < bar), "alarms": share(values["test"] < bar),
        "in_scope": share(right & (values["test"] >= bar)),
    }  # fmt: skip


def as_released(found: dict[str, Any]) -> dict[str, Any]:
    """The same by the rule of the product: `[risk] out_of_scope` on the novelty that a specialist gives."""
    novelty = {split: -np.array(found["splits"][split]["energy"]) for split in ("dev", "test", "none")}
    scope = Scope(held_out=tuple(sorted(novelty["dev"].tolist())), alarms=ALARMS)
    told = {
        split: np.array([scope.as_strange(one) <= scope.limit for one in novelty[split]]) for split in ("test", "none")
    }
    _, right = of(found, "test")
    return {"allowed": ALARMS, "held_out": len(scope.held_out), "seen": share(told["none"]),
            "alarms": share(told["test"]), "in_scope": share(right & ~told["test"])}  # fmt: skip


def main() -> None:
    """Runs it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder of data sets")
    parser.add_argument("--draws", type=int, default=1_000)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    evidence = {name: kept(name, given.data) for name in SETS}
    sets = {name: promised(found, given.draws) for name, found in evidence.items()}
    sets["banking77"]["beside"] = beside(evidence["banking77"], asyncio.run(linear(banking77(given.data))))
    none = {score: strange(evidence["clinc150"], score) for score in SCORES}
    chosen = max(SCORES, key=lambda score: none[score]["dev_seen"]["value"])
    first = evidence["banking77"]
    document = {
        "bench": "contract_specialist", "engine": "specialist", "rows": ROWS, "sets": sets,
        "none": {"published": PUBLISHED, "scores": none, "chosen": chosen,
                 "released": as_released(evidence["clinc150"])},
        "measured_on": f"one {first['card']}, torch {first['torch']}, Python {first['python']}", "date": first["date"],
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }  # fmt: skip
    print(json.dumps(document) if given.json else json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
