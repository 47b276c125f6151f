"""A task's adversarial set: its own rows in every way that people, scanners and attackers write, and what must follow.

Metamorphic: of each way it is known what may become of the answer, whatever the task. The same row gets the same text
each time. Pure.
"""

import random
import re
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal, NamedTuple

import msgspec

from insource.measure import spoiled
from insource.nouns import Example, Noun, Task, digest

TAG, CLEAN = "adversarial", "clean"
CONTEXT, PADDED = 512, 3_000
Expect = Literal["same", "unsure", "other", "nothing"]
EXPECTED: dict[Expect, str] = {
    "same": "the answer stays right",
    "unsure": "right, or not given by itself",
    "other": "another answer, or not given by itself",
    "nothing": "nothing is given by itself",
}
# English: a verb that says no, or no longer does; the first that fits
VERBS = "is|are|was|were|can|could|do|does|did|has|have|had|will|would|should|must"
NEGATED = tuple(
    (re.compile(f"(?i){pattern}"), instead)
    for pattern, instead in (
        (r"\bcannot\b|\bcan['\u2019]t\b", "can"),
        (r"\bwon['\u2019]t\b", "will"),
        (rf"\b({VERBS})n['\u2019]t\b", r"\1"),
        (rf"\b({VERBS}) not\b", r"\1"),
        (rf"\b({VERBS}) (I|you|he|she|it|we|they|there|this|that|my \w+)\b", r"\1 \2 not"),
        (rf"\b({VERBS})\b", r"\1 not"),
        (r"\b(I|we|you|they) (want|need|wish|like|think|know|see|get|received|got|made|lost)\b", r"\1 never \2"),
    )
)


class Sentences(Noun, frozen=True, kw_only=True):
    """adversarial.toml: what the hostile and the odd ways write."""

    orders: tuple[str, ...]
    turns: tuple[str, ...]
    openings: tuple[tuple[str, str], ...]
    footers: tuple[str, ...]
    scraps: tuple[str, ...]
    outside: tuple[str, ...]


class Given(NamedTuple):
    """What a way is made from: the text, dice, a label that is not the row's, another row's text, and a context."""

    text: str
    dice: random.Random
    other: str
    partner: str
    words: Sentences
    context: int


@dataclass(frozen=True)
class Way:
    """One way: what it is in words, what must follow, and what makes it.

    `safe` ways leave every value that stands in the text alone, so that extractions may be asked too. Without `make` a
    way needs no row, and each of its texts is asked once.
    """

    says: str
    expect: Expect
    make: Callable[[Given], str | None] | None
    safe: bool = False


@cache
def sentences() -> Sentences:
    """The table of the package."""
    text = files("insource.measure").joinpath("adversarial.toml").read_text("utf-8")
    return msgspec.convert(tomllib.loads(text), type=Sentences)


def ways(task: Task) -> dict[str, Way]:
    """The ways of a task by name: all for closed labels, else those that leave the values of the text alone."""
    return {name: way for name, way in WAYS.items() if way.safe or task.kind == "classify"}


def adversarial(
    task: Task, rows: Sequence[Example], *, outside: Sequence[str] = (), context: int = CONTEXT
) -> list[Example]:
    """`rows` as they are (tag `clean`), then each in every way (the way as tag, the row's id as group).

    `outside` are texts that are none of the task's, instead of the general ones; `context` is how many tokens are read
    at once. Where what is right is not known any longer, or nothing is, the target is empty.
    """
    made = [_tagged(row, CLEAN, row.input, row.target, row.id) for row in rows]
    free = _free(outside)
    for name, way in ways(task).items():
        if way.make is None:
            made += [_alone(task, name, text) for text in dict.fromkeys(free[name])]
            continue
        for row in rows:
            made += _made(rows, row, name, _other(task, row), context)
    return made


def dealt(task: Task, rows: Sequence[Example], expects: Sequence[Expect] = ("same",)) -> list[Example]:
    """Each of `rows` in one of the ways of which that is expected, dealt out in turn.

    A row of which a way makes nothing gets the next; one of which none makes anything is left out.
    """
    names, free = [name for name, way in ways(task).items() if way.expect in expects], _free(())
    found = []
    for place, row in enumerate(rows):
        for name in [*names[place % len(names) :], *names[: place % len(names)]]:
            if WAYS[name].make is None:
                made = [_alone(task, name, free[name][place // len(names) % len(free[name])])]
            else:
                made = list(_made(rows, row, name, _other(task, row), CONTEXT))
            if made:
                found += made
                break
    return found


def _free(outside: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The texts of the ways that need no row."""
    return {"scrap": sentences().scraps, "outside": tuple(outside) or sentences().outside}


def _made(rows: Sequence[Example], row: Example, name: str, others: Sequence[str], context: int) -> Iterator[Example]:
    """The row in one way, or nothing where the way has nothing to change in it."""
    way = WAYS[name]
    dice = random.Random(f"{row.id} {name}")  # noqa: S311 - the same text each time, not a secret
    given = Given(row.input, dice, dice.choice(others), _partner(rows, row, dice), sentences(), context)
    text = way.make(given) if way.make else None
    if text is not None and text != row.input and text.strip():
        kept = row.target if way.expect in ("same", "unsure") else {}
        yield _tagged(row, name, text, kept, row.id)


def _alone(task: Task, name: str, text: str) -> Example:
    return _tagged(Example(id="", task=task.name, input="", target={}, split="test"), name, text, {}, "")


def _tagged(row: Example, name: str, text: str, target: dict[str, object], group: str) -> Example:
    tags = {**row.tags, TAG: name}
    return Example(id=digest([row.id, name, text]), task=row.task, input=text, target=target, split=row.split,
                   origin=row.origin, group=group, tags=tags)  # fmt: skip


def _other(task: Task, row: Example) -> tuple[str, ...]:
    """The labels that are not the row's, for those who write orders; without labels, nothing at all."""
    labels = task.outputs[0].labels if task.outputs else ()
    return tuple(one for one in labels if one != row.target.get(task.outputs[0].name)) or ("nothing",)


def _partner(rows: Sequence[Example], row: Example, dice: random.Random) -> str:
    """The text of a row with another target; empty where a few draws find none."""
    drawn = (dice.choice(rows) for _ in range(20))
    return next((one.input for one in drawn if one.target and one.target != row.target), "")


def _spoilt(spoil: spoiled.Spoil) -> Callable[[Given], str]:
    return lambda given: spoil(given.text, given.dice)


def _cut(given: Given) -> str | None:
    """The first quarter to half of the words, as a field that is too short leaves them."""
    words = given.text.split(" ")
    return " ".join(words[: max(1, int(len(words) * given.dice.uniform(0.25, 0.5)))]) if len(words) > 3 else None


def _negated(given: Given) -> str | None:
    for pattern, instead in NEGATED:
        if pattern.search(given.text):
            return pattern.sub(instead, given.text, count=1)
    return None


def _two(given: Given) -> str | None:
    return f"{given.text}\n{given.partner}" if given.partner else None


def _greeted(given: Given) -> str:
    return f"Hello, I hope you are well. See below.\n\n{given.text}\n\nMany thanks in advance\n-- \nSent from my phone"


def _foreign(given: Given) -> str:
    before, after = given.dice.choice(given.words.openings)
    return f"{before}\n{given.text}\n{after}"


def _padded(given: Given) -> str:
    footer = "\n".join(given.words.footers)
    return given.text + "\n\n" + "\n".join([footer] * (PADDED // len(footer) + 1))


def _edge(given: Given) -> str | None:
    """Filled up to 15% below the context to 10% above it: only the tokenizer knows where exactly it ends."""
    left = round(given.context * given.dice.uniform(0.85, 1.1)) - len(given.text.split())
    return given.text + " ." * left if left > 0 else None


def _ordered(given: Given) -> str:
    return f"{given.text}\n{given.dice.choice(given.words.orders).replace('{other}', given.other)}"


def _forged(given: Given) -> str:
    return f"{given.text}\n{given.dice.choice(given.words.turns).replace('{other}', given.other)}"


WAYS: dict[str, Way] = {
    "typos": Way("mistyped words", "same", _spoilt(spoiled.typos)),
    "misread": Way("noise of a scanner", "same", _spoilt(spoiled.misread)),
    "case": Way("capitals and small letters", "same", _spoilt(spoiled.case)),
    "blanks": Way("other blanks", "same", _spoilt(spoiled.blanks)),
    "look-alikes": Way("letters that only look right", "same", _spoilt(spoiled.look_alikes)),
    "greeting": Way("a greeting and a signature", "same", _greeted, safe=True),
    "languages": Way("another language around it", "same", _foreign, safe=True),
    "padding": Way("a footer of 3,000 characters", "same", _padded, safe=True),
    "context": Way("a length at the edge of the context", "same", _edge, safe=True),
    "order": Way("orders to the model", "same", _ordered, safe=True),
    "control": Way("forged control tokens", "same", _forged, safe=True),
    "cut": Way("texts cut short", "unsure", _cut),
    "negation": Way("texts negated", "other", _negated),
    "two": Way("two matters in one text", "nothing", _two),
    "scrap": Way("texts with nothing in them", "nothing", None, safe=True),
    "outside": Way("texts of another domain", "nothing", None, safe=True),
}
