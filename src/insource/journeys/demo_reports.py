"""Defect reports for the demo: seeded, made of what people on a shop floor write (`demo_words.toml`).

The same `rows` and `seed` give the same reports on every machine. They are written to be like real ones, hard in the
ways real ones are hard, and were not adjusted to how any model did on them:

* A report says what was seen (always), often what was found (a hint at the cause, in 70% of the reports) and often how
  it presses (in 70%). Where a hint is missing the cause can only be guessed from what was seen, whose
  causes are weighed in the word file, so no reader can be right about all of them.
* A hint points elsewhere in 5% of the reports that have one; people take the wrong thing for the cause.
* How it presses is what the author felt; in 8% that has nothing to do with the dispatcher's urgency.
* About a sixth of the reports are ambiguous: their phrases fit several categories ("leaking"), and the label is drawn
  from those. A person who knows the plant would hesitate too.
* `WRONG` (2%) of the labels of each column were filed wrongly, at random, in all rows: nobody knows which.
* `RESENT` (2%) of the reports are sent again with small changes; the same defect, the same labels.
* `UNFINISHED` (3 in 1,000) lack a label or the text, as forms do.

Authors have habits (casing, typing errors, abbreviations, dropped words, German or Spanish words) that they keep.
"""

import random
import tomllib
from collections.abc import Callable, Mapping, Sequence
from importlib import resources

from insource.nouns import JsonObject, Noun

WRONG = 0.02
RESENT = 0.02
UNFINISHED = 0.003
HINT, PRESS = 0.7, 0.7
MISLED, FELT = 0.05, 0.08
LONG = 0.06
FIELDS = ("category", "cause", "urgency")
URGENCIES = ("low", "medium", "high")
DROPPED = {"the", "a", "is", "at", "on", "it", "to", "in", "of", "and"}


class DefectReport(Noun, frozen=True, kw_only=True):
    """One row of the demo's file; its field names are the columns."""

    report: str
    category: str
    cause: str
    urgency: str


class Author(Noun, frozen=True, kw_only=True):
    """Somebody who writes reports: their habits, each a share from 0 to 1 of the places where it could show."""

    casing: str
    typos: float
    shortened: float
    dropped: float
    foreign: float
    language: str
    greets: float


def defect_reports(rows: int, *, seed: int = 0) -> list[DefectReport]:
    """`rows` reports, in the order they came in; fewer rows are the beginning of more."""
    rng = random.Random(f"insource demo {seed}")  # noqa: S311 - a made-up plant, not a secret
    words = load_words()
    authors = [_author(rng) for _ in range(24)]
    made: list[DefectReport] = []
    while len(made) < rows:
        if len(made) > 20 and rng.random() < RESENT:
            made.append(_resent(rng, rng.choice(made[-20:])))
        else:
            made.append(_report(rng, words, rng.choice(authors)))
    forms = random.Random(f"insource demo forms {seed}")  # noqa: S311 - as above
    return [_unfinished(forms, report) if forms.random() < UNFINISHED else report for report in made]


def labels(field: str) -> list[str]:
    """The closed set of labels of one column: category, cause or urgency."""
    found: list[str] = load_words()["label"][field]
    return found


def load_words() -> JsonObject:
    """The word file, as it stands."""
    return tomllib.loads(resources.files("insource.journeys").joinpath("demo_words.toml").read_text("utf-8"))


def ambiguous(words: JsonObject) -> float:
    """The share of reports whose phrases fit more than one category."""
    return sum(len(group["is"]) > 1 for group in words["group"]) / len(words["group"])


def _report(rng: random.Random, words: JsonObject, author: Author) -> DefectReport:
    group = rng.choice(words["group"])
    category, cause = _weighed(rng, group["is"]), _weighed(rng, group["why"])
    urgency = _weighed(rng, dict(zip(URGENCIES, group["urgent"], strict=True)))
    text = _styled(rng, words, author, _said(rng, words, group, cause, urgency))
    filed = [_misfiled(rng, words, *pair) for pair in zip(FIELDS, (category, cause, urgency), strict=True)]
    return DefectReport(report=text, category=filed[0], cause=filed[1], urgency=filed[2])


def _said(rng: random.Random, words: JsonObject, group: JsonObject, cause: str, urgency: str) -> list[str]:
    """The pieces of one report, in order, before anyone's habits."""
    pieces = [rng.choice(group["say"])]
    if rng.random() < HINT:
        found = rng.choice(words["label"]["cause"]) if rng.random() < MISLED else cause
        pieces.append(rng.choice(words["hint"][found]))
    if rng.random() < PRESS:
        felt = rng.choice(URGENCIES) if rng.random() < FELT else urgency
        pieces.append(rng.choice(words["press"][felt]))
    if rng.random() < LONG:
        pieces.insert(rng.randint(1, len(pieces)), rng.choice(words["around"]["long"]))
    if "{m}" not in pieces[0] and rng.random() < 0.8:
        pieces[0] = rng.choice(("{m} ", "{m}: ", "{m}, ", "at {m} ")) + pieces[0]
    elif rng.random() < 0.5:
        pieces[0] += rng.choice((" on {m}", " {m}", " ({m})"))
    if rng.random() < 0.15:
        pieces.append("{p}")
    return [_filled(rng, words, piece) for piece in pieces]


def _filled(rng: random.Random, words: JsonObject, piece: str) -> str:
    values: dict[str, Callable[[], str]] = {
        "{m}": lambda: rng.choice(words["machines"]),
        "{p}": lambda: rng.choice(words["parts"]),
        "{n}": lambda: str(rng.randint(2, 9)),
        "{big}": lambda: str(rng.choice((4, 7, 12, 31, 70, 108)) * rng.choice((10, 100, 5)) + rng.randint(0, 9)),
    }
    for slot, value in values.items():
        while slot in piece:
            piece = piece.replace(slot, value(), 1)
    return piece


def _styled(rng: random.Random, words: JsonObject, author: Author, pieces: list[str]) -> str:
    """The pieces as `author` types them."""
    if rng.random() < author.greets:
        pieces = [rng.choice(words["around"]["open"]), *pieces]
    if rng.random() < author.greets:
        pieces = [*pieces, rng.choice(words["around"]["close"])]
    pieces = [_filled(rng, words, _reworded(rng, words["same"]["words"], piece)) for piece in pieces]
    text = rng.choice((" ", ", ", ". ", " - ", ". ")).join(pieces)
    typed = [_typed(rng, words, author, word) for word in text.split()]
    text = " ".join(word for word in typed if word)
    return {"lower": text.lower(), "upper": text.upper(), "first": text[:1].upper() + text[1:]}.get(author.casing, text)


def _reworded(rng: random.Random, same: Sequence[Sequence[str]], piece: str) -> str:
    padded = f" {piece} "
    for line in same:
        for word in line:
            if f" {word} " in padded and rng.random() < 0.4:
                padded = padded.replace(f" {word} ", f" {rng.choice(line)} ")
                break
    return padded.strip()


def _typed(rng: random.Random, words: JsonObject, author: Author, word: str) -> str:
    """One word as typed: dropped, translated, shortened or with a slip of the finger."""
    bare = word.strip(".,:!?()").lower()
    if bare in DROPPED and rng.random() < author.dropped:
        return ""
    for table, share in ((words.get(author.language, {}), author.foreign), (words["short"], author.shortened)):
        if bare in table and rng.random() < share:
            return word.lower().replace(bare, table[bare])
    return _slip(rng, word) if len(word) > 3 and word.isalpha() and rng.random() < author.typos else word


def _slip(rng: random.Random, word: str) -> str:
    at = rng.randrange(1, len(word) - 1)
    kind = rng.randrange(4)
    if kind == 0:
        return word[:at] + word[at + 1 :]
    if kind == 1:
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    if kind == 2:
        return word[:at] + word[at] + word[at:]
    return word[:at] + rng.choice("aeinrstlo") + word[at + 1 :]


def _author(rng: random.Random) -> Author:
    language = rng.choices(("", "german", "spanish"), (14, 6, 4))[0]
    return Author(
        casing=rng.choices(("as is", "lower", "first", "upper"), (4, 8, 8, 2))[0],
        typos=rng.choice((0.0, 0.01, 0.03, 0.08)),
        shortened=rng.choice((0.0, 0.3, 0.8)),
        dropped=rng.choice((0.0, 0.2, 0.7)),
        foreign=rng.choice((0.2, 0.5)) if language else 0.0,
        language=language,
        greets=rng.choice((0.0, 0.1, 0.4)),
    )


def _weighed(rng: random.Random, weights: Mapping[str, int]) -> str:
    return rng.choices(list(weights), list(weights.values()))[0]


def _misfiled(rng: random.Random, words: JsonObject, field: str, label: str) -> str:
    if rng.random() >= WRONG:
        return label
    return str(rng.choice([other for other in words["label"][field] if other != label]))


def _resent(rng: random.Random, report: DefectReport) -> DefectReport:
    """The same report once more: a word more, or a slip in one."""
    parts = report.report.split()
    at = rng.randrange(len(parts))
    if rng.random() < 0.5 and len(parts[at]) > 3:
        parts[at] = _slip(rng, parts[at])
    else:
        parts.append(rng.choice(("again", "!!", "2nd", "still the same", "?")))
    return DefectReport(report=" ".join(parts), category=report.category, cause=report.cause, urgency=report.urgency)


def _unfinished(rng: random.Random, report: DefectReport) -> DefectReport:
    empty = rng.choice(("report", "category", "cause"))
    kept = {field: getattr(report, field) for field in ("report", *FIELDS)}
    return DefectReport(**(kept | {empty: ""}))
