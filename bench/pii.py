"""Personal data found, kind by kind, and what is missed: python bench/pii.py DATA_FOLDER [--json].

DATA_FOLDER holds pii/synth_dataset_v2.json, Presidio's synthetic set: 1,500 sentences with 2,863 labelled things. No
model for names is installed. A finding is right when a thing with its kind's label shares at least half of the
characters that either has. Intervals are 95% (Wilson). A kind whose label says more than it looks for is given with
precision alone: a date of birth is labelled as any date. `generated` are 5,000 sentences of our own: a card or an IBAN
made at random, in every second of them with one digit changed so that its check fails. `splits` are 2,000 streams of
those texts, cut in one to forty places at random, redacted, and compared with what the whole text gives.

The patterns were written with this set at hand, so these figures are for the set, not for texts we have never seen.
"""

import argparse
import json
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stdnum import iban, luhn

from insource.nouns import Finding, ScanPolicy
from insource.scan.find import table
from insource.scan.scanner import LITERAL, Scanner, Stream
from insource.stats import wilson

LABELS = {
    "email": "EMAIL_ADDRESS", "phone": "PHONE_NUMBER", "card": "CREDIT_CARD", "iban": "IBAN_CODE",
    "ip_address": "IP_ADDRESS", "national_id": "US_SSN", "document_id": "US_DRIVER_LICENSE", "url": "DOMAIN_NAME",
    "age": "AGE",
}  # fmt: skip
WITHIN = {"birth_date": "DATE_TIME"}  # kinds that are some of what a label means
CHECKED = ("card", "iban")
PRESIDIO = {  # presidio-research, notebooks 4 and 5, on the same set, counted its own way
    "default": {"precision": 0.685, "recall": 0.603}, "customised": {"precision": 0.870, "recall": 0.839},
}  # fmt: skip
GENERATED, SPLITS, SEED = 5000, 2000, 20261126
Span = tuple[int, int]


def share(right: int, n: int) -> dict[str, Any]:
    """A share with its interval and n; no value for n = 0."""
    low, high = wilson(right, n)
    return {"value": right / n if n else None, "low": low, "high": high, "n": n}


def alike(one: Span, other: Span) -> bool:
    """True when they share at least half of the characters that either has."""
    both = min(one[1], other[1]) - max(one[0], other[0])
    return 2 * both >= max(one[1], other[1]) - min(one[0], other[0])


def judged(scanner: Scanner, rows: list[dict[str, Any]]) -> tuple[Counter[str], ...]:
    """How many findings there are and are right by kind, and how many things there are and are found by label."""
    made, right, there, found = (Counter[str]() for _ in range(4))
    for row in rows:
        things = [(each["entity_type"], (each["start_position"], each["end_position"])) for each in row["spans"]]
        findings = scanner.scan(row["full_text"]).findings
        for one in findings:
            made[one.kind] += 1
            right[one.kind] += any(_is(one, label, span) for label, span in things)
        for label, span in things:
            there[label] += 1
            found[label] += any(_is(one, label, span) for one in findings)
    return made, right, there, found


def _is(one: Finding, label: str, span: Span) -> bool:
    return label == (LABELS | WITHIN).get(one.kind) and alike((one.start, one.stop), span)


def report(scanner: Scanner, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Every figure on labelled rows."""
    made, right, there, found = judged(scanner, rows)
    kinds = {
        kind: {"precision": share(right[kind], made[kind])}
        | ({"recall": share(found[LABELS[kind]], there[LABELS[kind]])} if kind in LABELS else {})
        for kind in scanner.policy.actions
        if made[kind] or kind in LABELS
    }
    missed = {label: {"n": n, "found": found[label]} for label, n in there.most_common() if found[label] < n}
    return {
        "rows": len(rows), "kinds": kinds, "missed": missed,
        "all": {"precision": share(right.total(), made.total()), "recall": share(found.total(), there.total())},
        "covered": {"recall": share(sum(found[each] for each in LABELS.values()),
                                    sum(there[each] for each in LABELS.values()))},
        "presidio": PRESIDIO,
    }  # fmt: skip


def generated(dice: random.Random) -> Iterator[dict[str, Any]]:
    """Sentences with a card or an IBAN; every second has a wrong digit, and nothing in it is to be found."""
    for number in range(GENERATED):
        make = (_card, _iban)[number // 2 % 2]
        text = make(dice)
        if number % 2:
            place = dice.randrange(5, len(text))
            text = text[:place] + str((int(text[place]) + dice.randrange(1, 10)) % 10) + text[place + 1 :]
        grouped = " ".join(text[place : place + 4] for place in range(0, len(text), 4)) if dice.random() < 0.5 else text
        before, after = dice.choice((("Please charge ", "."), ("", " was declined"), ("no. ", ", thanks"), ("(", ")")))
        label = {"entity_type": LABELS[CHECKED[number // 2 % 2]], "start_position": len(before)}
        spans = [] if number % 2 else [label | {"end_position": len(before) + len(grouped)}]
        yield {"full_text": before + grouped + after, "spans": spans}


def _card(dice: random.Random) -> str:
    start = dice.choice(("4", "51", "55", "2221", "2720", "6011", "3528", "62"))
    digits = start + "".join(dice.choice("0123456789") for _ in range(15 - len(start)))
    return digits + luhn.calc_check_digit(digits)


def _iban(dice: random.Random) -> str:
    country, length = dice.choice((("DE", 18), ("AT", 16), ("PT", 21), ("DK", 14), ("PL", 24)))
    account = "".join(dice.choice("0123456789") for _ in range(length))
    return country + iban.calc_check_digits(f"{country}00{account}") + account


def splits(scanner: Scanner, texts: list[str], dice: random.Random) -> dict[str, Any]:
    """How many of the streams went on differently from the whole text, or found something else."""
    different = cuts = 0
    for _ in range(SPLITS):
        text = " ".join(dice.sample(texts, 5))
        places = sorted(dice.choices(range(len(text) + 1), k=dice.randint(1, 40)))
        stream, said, found = Stream(scanner), "", list[Finding]()
        for start, stop in zip([0, *places], [*places, len(text)], strict=True):
            done = stream.feed(text[start:stop])
            said, found = said + done.text, [*found, *done.findings]
        last, whole = stream.close(), scanner.scan(text)
        cuts += len(places)
        different += (said + last.text, (*found, *last.findings)) != (whole.text, whole.findings)
    return {"different": different, "n": SPLITS, "cuts": cuts, "upper95": wilson(different, SPLITS)[1], "seed": SEED}


def shown(name: str, figures: dict[str, Any]) -> str:
    """One line of the table."""
    cells = [
        f"{one} {each['value']:.3f} [{each['low']:.3f}, {each['high']:.3f}] n={each['n']:,}"
        for one, each in figures.items()
        if each["value"] is not None
    ]
    return f"{name:12s} {'   '.join(cells)}"


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--json", action="store_true")
    said = parser.parse_args()
    rows = json.loads((said.data / "pii" / "synth_dataset_v2.json").read_text("utf-8"))
    scanner = Scanner(ScanPolicy(actions={kind: "note" for kind in table() if kind != LITERAL}))
    done = report(scanner, rows)
    checked = Scanner(ScanPolicy(actions=dict.fromkeys(CHECKED, "note")))
    done["generated"] = report(checked, list(generated(random.Random(SEED))))["kinds"] | {"seed": SEED}  # noqa: S311
    everything = Scanner(ScanPolicy(actions=dict.fromkeys(scanner.policy.actions, "redact")))
    texts = [row["full_text"] for row in [*rows, *generated(random.Random(SEED))]]  # noqa: S311
    done["splits"] = splits(everything, texts, random.Random(SEED))  # noqa: S311
    if said.json:
        print(json.dumps(done, indent=1))
        return
    for name, figures in [*done["kinds"].items(), ("covered", done["covered"]), ("all", done["all"])]:
        print(shown(name, figures))
    print("generated")
    for kind in CHECKED:
        print(shown(kind, done["generated"][kind]))
    print(f"cut into pieces: {done['splits']['different']} of {SPLITS:,} differ ({done['splits']['cuts']:,} cuts)")
    missed = [f"{label} {each['n'] - each['found']} of {each['n']}" for label, each in done["missed"].items()]
    print(f"missed: {', '.join(missed)}")
    for name, each in PRESIDIO.items():
        print(f"Presidio, {name}: precision {each['precision']:.3f} recall {each['recall']:.3f}")


if __name__ == "__main__":
    main()
