"""Calls of a model to Examples: the answer is the label until a person says otherwise, and stays known as its word.

What the model answered is kept beside the rows, with what it took and cost, so that others can be compared with it on
the same questions (`journeys/incumbent.py`).
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import msgspec

from insource.collect.calls import Call, Word
from insource.collect.columns import Mapping
from insource.collect.forms import FORMS
from insource.collect.intake import Intake
from insource.collect.lines import fingerprint
from insource.collect.private import Private
from insource.collect.read import Raw, Stray
from insource.collect.rejects import Rejects
from insource.collect.take import Progress, Taken
from insource.errors import Invalid, ScanFailed
from insource.nouns import Example, JsonObject, JsonValue, Noun, Origin, Task, digest

STRIDE = 500
SHOWN = 160


class Fact(Noun, frozen=True, kw_only=True):
    """What the model so far said to one input, and what that took: its word, not the truth.

    `input` is the SHA-256 of the text. `answer` is None where it is no answer the task knows. `word` is what somebody
    said of it, `person` that it was a person. Tokens and USD are None where the log does not say.
    """

    input: str
    answer: JsonObject | None = None
    engine: str = ""
    created: str = ""
    latency_ms: float | None = None
    input_tokens: int | None = None
    cached_tokens: int | None = None
    output_tokens: int | None = None
    usd: float | None = None
    word: Word = ""
    person: bool = False


class Answered(Noun, frozen=True, kw_only=True):
    """What the logs gave: rows by file, rows whose target does not fit, and what the model so far said."""

    taken: tuple[Taken, ...]
    strays: tuple[Stray, ...]
    facts: tuple[Fact, ...]


def take_calls(
    task: Task, calls: Sequence[Call], files: Sequence[tuple[Path, str]], parts: tuple[Rejects, Private],
    *, split: str = "", progress: Progress = lambda *_: None,
) -> Answered:  # fmt: skip
    """The calls of `files` (path, form) as rows, all in one `split` where it is said.

    `parts` are where useless calls go, and what is replaced in every text before it goes anywhere.
    """
    rejects, private = parts
    intake = Intake(task, Mapping(input="input", whole="target"), split)
    forms = {path.name: form for path, form in files}
    rows: dict[str, list[Example]] = defaultdict(list)
    strays, facts = [], []
    aside: dict[str, Counter[str]] = defaultdict(Counter)
    for count, call in enumerate(calls):
        if count % STRIDE == 0:
            progress("reading calls", count, len(calls))
        made = _Made(intake, private, call, of_a_model=FORMS[forms[call.file]].of_a_model)
        rows[call.file] += [made.row] if made.row else []
        facts += [made.fact] if made.fact else []
        strays += [made.stray] if made.stray else []
        if made.fault:
            aside[call.file][made.fault.partition(":")[0]] += 1
            rejects.add(call.file, Raw(call.line, {}, made.fault, made.shown), made.fault)
    progress("reading calls", len(calls), len(calls))
    read = {path.name: sum(call.file == path.name for call in calls) for path, _ in files}
    taken = tuple(
        Taken(
            file=path.name,
            sha256=fingerprint(path)[0],
            read=read[path.name],
            rejected=aside[path.name].total(),
            columns={"form": form},
            split=split,
            rows=tuple(rows[path.name]),
            reasons=dict(sorted(aside[path.name].items())),
        )
        for path, form in files
    )
    return Answered(taken=taken, strays=tuple(strays), facts=tuple(facts))


class _Made:
    """What becomes of one call: a row, a stray or a fault, and the fact beside it."""

    row: Example | None = None
    fact: Fact | None = None
    stray: Stray | None = None
    fault: str = ""
    shown: str = ""

    def __init__(self, intake: Intake, private: Private, call: Call, *, of_a_model: bool) -> None:
        self.fault = call.fault
        try:
            text, answer = private.text(call.input), private.value(call.answer)
            right = private.value(call.corrected) if call.word == "wrong" else answer
        except ScanFailed as error:
            self.fault = f"not scanned: {error}"
            return
        self.shown = text[:SHOWN]
        said = _taken(intake, text, answer)
        if of_a_model and text.strip() and (answer not in (None, "") or not call.fault):
            self.fact = _fact(call, text, said.target if isinstance(said, Example) else None)
        if self.fault:
            return
        label = said if right is answer else _taken(intake, text, right)
        origin = _origin(call, of_a_model)
        if isinstance(label, Example):
            self.row = msgspec.structs.replace(label, origin=origin)
        else:
            at, split = (call.file, call.line), intake.split
            self.stray = Stray(
                file=at[0], line=at[1], input=text, target=right, origin=origin, reason=label, split=split
            )


def _taken(intake: Intake, text: str, target: JsonValue) -> Example | str:
    """The row, or why it is none."""
    try:
        return intake.take({"input": text, "target": target})
    except Invalid as error:
        return str(error)


def _origin(call: Call, of_a_model: bool) -> Origin:
    if call.person and call.word:
        return "human"
    return "teacher" if of_a_model else "import"


def _fact(call: Call, text: str, answer: JsonObject | None) -> Fact:
    kept = {name: getattr(call, name) for name in Fact.__struct_fields__ if name in Call.__struct_fields__}
    kept |= {"input": digest(text.encode("utf-8", "surrogatepass")), "answer": answer}
    return Fact(engine=call.model, **kept)
