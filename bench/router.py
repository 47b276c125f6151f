"""Does the router route? python bench/router.py DATA_ROOT [--json].

tasks: CLINC150's ten domains stand for ten tasks, with its own train, validation and test rows; its 1,000 out-of-scope
questions are for none of them and are seen by nothing before the end. Then the same with the data set's 100 + 100
out-of-scope train and validation rows as the owner's file of unknown texts. How long a decision takes is measured on
the test rows and on RouterArena's prompts, one at a time, in one thread: in seconds of the processor, and on the clock
of a machine that does other things as well.

sizes: for each prompt of which it is known whether a small and a large model answered it right, a linear model of the
router's own terms predicts both from the prompt alone, in 5 folds; the prompts with the largest predicted gain go to
the large one. Quality is the mean of what is right as the share of calls to the large model goes from 0 to 1, and the
area under it is compared with sending the same share at random (the mean of both models), on the same prompts: 95%
intervals by bootstrap over prompts, the predictions held. The oracle knows who is right. On GSM8K the large model costs
17 to 50 times the small one a token; on RouterArena the better one is also the cheaper, so nothing is saved there.
"""

import argparse
import csv
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from insource.engines.hashed import BITS, matrix
from insource.engines.router import NO_TASK, STRENGTH, Router, Text
from insource.stats import bootstrap, wilson

FOLDS = 5
MAX_ERROR = 0.1
Statistic = Any


def clinc(folder: Path) -> dict[str, list[Text]]:
    """The splits of CLINC150 with the domain of each intent as task, and those that are out of scope."""
    data = json.loads((folder / "data_full.json").read_text("utf-8"))
    domains = json.loads((folder / "domains.json").read_text("utf-8"))
    of = {intent.replace(" ", "_"): domain for domain, intents in domains.items() for intent in intents}
    return {
        split: [Text(text, NO_TASK if intent == "oos" else of[intent]) for text, intent in rows]
        for split, rows in data.items()
    }


def share(which: list[bool]) -> dict[str, float]:
    """A share with its interval and n."""
    low, high = wilson(sum(which), len(which))
    return {"value": sum(which) / len(which), "low": low, "high": high, "n": len(which)}


def tasks(splits: dict[str, list[Text]], long: list[str], *, shown: bool) -> dict[str, Any]:
    """What a router of the ten domains does with test rows, with what is for none of them, and how fast."""
    unknown = (splits["oos_train"], splits["oos_val"]) if shown else ([], [])
    began = time.thread_time()
    router = Router.fit([*splits["train"], *unknown[0]], [*splits["val"], *unknown[1]], max_error=MAX_ERROR)
    fitted = time.thread_time() - began
    first = [(row.task, *router.rank(row.text)[0]) for row in splits["test"]]
    strange = [router.rank(row.text)[0][1] for row in splits["oos_test"]]
    threshold = router.card.threshold
    told = [task == said for task, said, chance in first if chance >= threshold]
    return {
        "unknown_texts_shown": shown,
        "fit_cpu_s": fitted,
        "card": {"threshold": threshold, "promise": router.card.promise, "fooled": router.card.fooled},
        "right_at_all": share([task == said for task, said, _ in first]),
        "told": share([chance >= threshold for _, _, chance in first]),
        "told_right": share(told),
        "unknown_refused": share([chance < threshold for chance in strange]),
        "auroc": auroc([chance for _, _, chance in first], strange),
        "decision": {
            "clinc150": speed(router, [row.text for row in splits["test"]]),
            "routerarena": speed(router, long),
        },
    }


def auroc(known: list[float], strange: list[float]) -> float:
    """How often a text for a task is surer than one for none; ties count half."""
    order = np.sort(strange)
    below, upto = np.searchsorted(order, known, "left"), np.searchsorted(order, known, "right")
    return float(np.mean((below + upto) / 2) / len(strange))


def speed(router: Router, texts: list[str]) -> dict[str, float]:
    """Milliseconds of one decision: of the processor, and on the clock."""
    cpu, wall = [], []
    for text in texts:
        before = time.perf_counter(), time.thread_time()
        router.rank(text)
        wall.append(time.perf_counter() - before[0])
        cpu.append(time.thread_time() - before[1])
    found = {"n": len(texts), "characters": float(np.mean([len(text) for text in texts]))}
    for name, took in (("cpu", cpu), ("wall", wall)):
        found |= {f"{name}_p{q}_ms": float(np.quantile(took, q / 100)) * 1000 for q in (50, 99)}
    return found


def gsm8k(folder: Path) -> tuple[list[str], Any, Any]:
    """Prompts, and whether Mixtral 8x7B and GPT-4-1106 were right."""
    with (folder / "gsm8k_responses.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = "mistralai/Mixtral-8x7B-Instruct-v0.1", "gpt-4-1106-preview"
    small, large = (np.array([row[name] == "True" for row in rows], float) for name in names)
    return [row["prompt"] for row in rows], small, large


def routerarena(folder: Path) -> tuple[list[str], Any, Any]:
    """Prompts, and the scores of Claude 3 Haiku and Gemini 2.0 Flash."""
    sides = []
    for name in ("claude-3-haiku-20240307", "gemini-2.0-flash-001"):
        lines = (folder / f"{name}.jsonl").read_text("utf-8").splitlines()
        sides.append({row["global_index"]: row for row in map(json.loads, lines)})
    keys = sorted(sides[0])
    small, large = (np.array([side[key]["evaluation_result"]["score"] for key in keys], float) for side in sides)
    return [sides[0][key]["question"] for key in keys], small, large


def gains(texts: list[str], small: Any, large: Any) -> Any:
    """The predicted gain of the large model on each prompt, by models that saw the other folds only."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import normalize

    rows = matrix(texts)
    fold = np.random.default_rng(0).permutation(len(texts)) % FOLDS
    found = np.zeros(len(texts))
    for k in range(FOLDS):
        train, test = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
        seen = np.bincount(rows[train].indices, minlength=1 << BITS)
        idf = np.log((1 + len(train)) / (1 + seen)) + 1
        weighted = rows.copy()
        weighted.data = weighted.data * idf[weighted.indices]
        weighted = normalize(weighted)
        chances = []
        for right in (small, large):
            machine = LogisticRegression(C=STRENGTH, solver="liblinear", random_state=0)
            machine.fit(weighted[train], right[train] >= 0.5)
            chances.append(machine.predict_proba(weighted[test])[:, 1])
        found[test] = chances[1] - chances[0]
    return found


def area(order: Any, small: Any, large: Any) -> Statistic:
    """The mean quality over shares of calls to the large model, prompts in `order`, as a statistic of row weights."""

    def statistic(weights: Any) -> Any:
        drawn = weights[:, order]
        total = drawn.sum(axis=1, keepdims=True)
        gained = np.cumsum(drawn * (large - small)[order], axis=1) - drawn * (large - small)[order] / 2
        return (drawn * small[order]).sum(axis=1) / total[:, 0] + (drawn * gained).sum(axis=1) / total[:, 0] ** 2

    return statistic


def lead(order: Any, small: Any, large: Any) -> Statistic:
    """The area's lead over random, which is the mean of both models."""
    whole = area(order, small, large)

    def statistic(weights: Any) -> Any:
        return whole(weights) - (weights * (small + large) / 2).sum(axis=1) / weights.sum(axis=1)

    return statistic


def needed(order: Any, small: Any, large: Any, goal: float) -> float:
    """The share of calls to the large model from which on the quality is at least `goal`."""
    quality = np.concatenate([[small.mean()], (small.sum() + np.cumsum((large - small)[order])) / len(order)])
    return int(np.argmax(quality >= goal)) / len(order)


def sizes(texts: list[str], small: Any, large: Any) -> dict[str, Any]:
    """Areas and leads on one set of prompts."""
    began = time.thread_time()
    order = np.argsort(-gains(texts, small, large), kind="stable")
    took = time.thread_time() - began
    oracle = np.argsort(-(large - small), kind="stable")
    ones = np.ones((1, len(texts)))
    goal = small.mean() + 0.8 * (large.mean() - small.mean())
    low, high = bootstrap(lead(order, small, large), len(texts))
    own_low, own_high = bootstrap(area(order, small, large), len(texts))
    gap = float(large.mean() - small.mean())
    ahead = float(lead(order, small, large)(ones)[0])
    return {
        "n": len(texts),
        "always_small": float(small.mean()),
        "always_large": float(large.mean()),
        "random": float((small.mean() + large.mean()) / 2),
        "router": {"value": float(area(order, small, large)(ones)[0]), "low": own_low, "high": own_high},
        "lead": {"value": ahead, "low": low, "high": high},
        "gap_recovered": ahead / gap + 0.5,
        "oracle": float(area(oracle, small, large)(ones)[0]),
        "oracle_best": float(np.maximum(small, large).mean()),
        "calls_for_80_percent_of_the_gap": {"router": needed(order, small, large, goal), "random": 0.8},
        "cpu_s": took,
    }


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    began = time.monotonic()
    splits = clinc(given.data / "clinc150")
    sets = {
        "gsm8k": gsm8k(given.data / "routing" / "gsm8k"),
        "routerarena": routerarena(given.data / "routing" / "routerarena"),
    }
    document = {
        "tasks": [tasks(splits, sets["routerarena"][0], shown=shown) for shown in (False, True)],
        "sizes": {name: sizes(*found) for name, found in sets.items()},
    }
    document["seconds"] = time.monotonic() - began
    json.dump(document, sys.stdout, indent=None if given.json else 1)
    print()


if __name__ == "__main__":
    main()
