"""Does the watch cry wolf, and does it bark? python bench/drift.py DATA_ROOT/banking77 [--windows 2000] [--json].

Texts of BANKING77, train and test in one pool. For every window a reference of 2,000 and a window of 500 are drawn from
it, none twice, so that nothing has changed; each is held against the other with the tests of `insource watch`
(insource.stats.shifts) at the level of 1%, all features together. Words are counted as a call's are when it is answered
(insource.watch.vocabulary), against 3,000 other texts, and become features as those of records do. Then the same with
windows that were changed:

    longer          each text is a fifth longer: its first words once more at its end
    other labels    a tenth of the texts are replaced by texts of one label, another for every window
    unknown words   words are replaced by unknown ones until twice as many are unknown as in the reference
"""

import argparse
import csv
import json
import os
import platform
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np

from insource.stats import shifts, wilson
from insource.watch.vocabulary import Vocabulary
from insource.watch.window import of_terms

REFERENCE, WINDOW, VOCABULARY = 2_000, 500, 3_000
ALPHA = 0.01
Texts = list[tuple[str, str]]


def words(text: str) -> list[str]:
    """The words of a text."""
    return re.findall(r"\w+", text.lower())


def features(rows: Texts, known: Vocabulary) -> dict[str, Any]:
    """What is watched of texts: words, shares of unknown and of rare ones, label."""
    return of_terms([known.count(text) for text, _ in rows]) | {"label": [label for _, label in rows]}


def longer(rows: Texts, _: Texts, __: Vocabulary, random: Any) -> Texts:
    """A fifth longer, the odd word by chance."""
    changed = []
    for text, label in rows:
        said = words(text)
        more = len(said) * 0.2
        count = int(more) + (random.random() < more % 1)
        changed.append((f"{text} {' '.join(said[:count])}", label))
    return changed


def other_labels(rows: Texts, pool: Texts, _: Vocabulary, random: Any) -> Texts:
    """A tenth of the rows is of one label."""
    label = pool[random.integers(len(pool))][1]
    of_it = [row for row in pool if row[1] == label]
    count = len(rows) // 10
    return [*rows[count:], *[of_it[i] for i in random.integers(len(of_it), size=count)]]


def unknown_words(rows: Texts, pool: Texts, known: Vocabulary, random: Any) -> Texts:
    """As many known words as there are unknown ones, on average, become unknown."""
    counted = [known.count(text) for text, _ in pool]
    share = sum(unknown for _, unknown, _ in counted) / sum(count for count, _, _ in counted)
    flip = share / (1 - share)
    changed = []
    for text, label in rows:
        new = [f"{word}qx" if random.random() < flip and not known.count(word)[1] else word for word in words(text)]
        changed.append((" ".join(new), label))
    return changed


CHANGES = {"longer": longer, "other labels": other_labels, "unknown words": unknown_words}
NAMED = {"longer": "words", "other labels": "label", "unknown words": "unknown words"}


def tried(pool: Texts, windows: int, seed: int, change: str = "") -> dict[str, Any]:
    """So many windows: how many raise an alarm, for what, and after how many windows of a run the first one comes."""
    random = np.random.default_rng(seed)
    alarms, named, second = 0, 0, 0
    by_feature: dict[str, int] = {}
    for number in range(windows):
        order = random.permutation(len(pool))
        rest = [pool[i] for i in order[VOCABULARY:]]
        known = Vocabulary([pool[i][0] for i in order[:VOCABULARY]])
        found = []
        for place in range(2 if change else 1):
            rows = rest[REFERENCE + place * WINDOW : REFERENCE + (place + 1) * WINDOW]
            if change:
                rows = CHANGES[change](rows, rest, known, random)
            said = shifts(features(rest[:REFERENCE], known), features(rows, known), seed=number)
            found.append({shift.feature for shift in said if shift.p <= ALPHA})
        alarms += bool(found[0])
        named += NAMED.get(change, "") in found[0]
        second += any(NAMED.get(change, "") in each for each in found)
        for feature in found[0]:
            by_feature[feature] = by_feature.get(feature, 0) + 1
    document = {"windows": windows, "alarms": alarms, "share": alarms / windows, "interval": wilson(alarms, windows),
                "by_feature": by_feature}  # fmt: skip
    if change:
        document |= {"named": named / windows, "named_interval": wilson(named, windows),
                     "within_two": second / windows, "within_two_interval": wilson(second, windows)}  # fmt: skip
    return document


def main() -> None:
    """Runs it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder with train.csv and test.csv")
    parser.add_argument("--windows", type=int, default=2_000)
    parser.add_argument("--changed", type=int, default=300)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    pool: Texts = []
    for name in ("train.csv", "test.csv"):
        with (given.data / name).open(encoding="utf-8", newline="") as file:
            pool += [(row["text"], row["category"]) for row in csv.DictReader(file)]
    document: dict[str, Any] = {"bench": "drift", "texts": len(pool), "alpha": ALPHA}
    document["same"] = tried(pool, given.windows, given.seed)
    print(f"  the same: {document['same']}", file=sys.stderr)
    for number, change in enumerate(CHANGES):
        document[change] = tried(pool, given.changed, given.seed + 1 + number, change)
        print(f"  {change}: {document[change]}", file=sys.stderr)
    document["machine"] = f"{platform.machine()}, {os.cpu_count()} cores"
    print(json.dumps(document) if given.json else json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
