r"""The scripted engine: answers written down beforehand, for tests, demonstrations and rehearsing failures.

Rules are tried in order and the first that matches the input answers. As JSON lines, one rule a line:

    {"match": "refund", "value": {"intent": "refund"}, "confidence": 0.97}
    {"match": "/order \\d+/", "text": "status", "confidence": 0.6, "delay_s": 0.2}
    {"match": "*", "error": "busy"}

It knows nothing of any model; what it says is checked against the task exactly as a model's words are.
"""

import asyncio
import re
import time
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from insource.decode.check import parse, render
from insource.errors import EngineBusy, EngineDown, EngineError, EngineSlow, Invalid, Missing, OutputInvalid
from insource.nouns import Finish, JsonObject, Noun, Prediction, Request, Task, Usage, from_json, to_json

Fault = Literal["", "busy", "down", "slow", "invalid", "refusal", "length"]
Share = Annotated[float, Meta(ge=0.0, le=1.0)]
RAISED = {"busy": EngineBusy, "down": EngineDown, "slow": EngineSlow}
FINISHED: dict[str, Finish] = {"invalid": "invalid", "refusal": "refusal", "length": "length"}


class Rule(Noun, frozen=True, kw_only=True):
    """One line of a script: when it applies and what is said.

    `match` is a piece of the input, a regular expression between slashes ("/ab+c/"), or "*" for any input.
    `text` is what the engine says; `value` alone is written as the task's own form (the bare label, else JSON).
    `error` busy, down and slow raise; invalid, refusal and length answer with that finish and no value.
    `delay_s` passes first; longer than the request's deadline it ends in `EngineSlow`. `times` above 0 uses the
    rule up after that many answers. `fields` and `alternatives` are given on as they are.
    """

    match: str = "*"
    text: str | None = None
    value: JsonObject | None = None
    confidence: Share | None = None
    delay_s: Annotated[float, Meta(ge=0.0)] = 0.0
    error: Fault = ""
    times: Annotated[int, Meta(ge=0)] = 0
    fields: dict[str, Share] = {}
    alternatives: dict[str, tuple[tuple[str, Share], ...]] = {}

    def applies(self, text: str) -> bool:
        """True when the rule answers this input."""
        if self.match == "*":
            return True
        if len(self.match) > 2 and self.match[0] == self.match[-1] == "/":
            return re.search(self.match[1:-1], text) is not None
        return self.match in text


class Scripted:
    """An engine that answers from `rules`. Raises `Invalid` on a rule whose regular expression does not compile."""

    def __init__(self, name: str, rules: Sequence[Rule]) -> None:
        self.name = name
        self._rules = tuple(rules)
        self._left = [rule.times or -1 for rule in self._rules]
        self._closed = False
        for number, rule in enumerate(self._rules, 1):
            _check_pattern(rule, f"rule {number} of {name}")

    @classmethod
    def load(cls, name: str, path: Path) -> "Scripted":
        """The script in the JSON lines file at `path`; blank lines are skipped.

        Raises `Missing` when it cannot be read, `Invalid` naming every faulty line and its fault.
        """
        try:
            lines = path.read_text("utf-8-sig").splitlines()
        except OSError as error:
            raise Missing(f"the script {path} of engine {name} cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise Invalid(f"{path}: not UTF-8 text (byte {error.start})", hint="save the file as UTF-8") from error
        rules, problems = [], []
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                rules.append(from_json(line, Rule))
                _check_pattern(rules[-1], "the rule")
            except Invalid as error:
                problems.append(f"{path}:{number}: {error}")
        if problems or not rules:
            said = "\n".join(problems) or f"{path}: no rule in it"
            raise Invalid(said, hint='one rule a line, for example {"match": "*", "text": "yes"}', at=str(path))
        return cls(name, rules)

    async def complete(self, request: Request) -> Prediction:
        """What the first matching rule says. Raises `EngineError` when no rule matches, `EngineDown` once closed."""
        started = time.perf_counter()
        rule = self._rule(request)
        await asyncio.sleep(min(rule.delay_s, request.deadline))
        if self._closed:
            raise EngineDown(f"{self.name} is closed")
        if rule.delay_s > request.deadline:
            raise EngineSlow(f"{self.name} did not answer within {request.deadline:g} s")
        if rule.error in RAISED:
            raise RAISED[rule.error](f"{self.name} is {rule.error}, as its script says")
        return self._prediction(rule, request, (time.perf_counter() - started) * 1000)

    async def stream(self, request: Request) -> AsyncGenerator[str | Prediction]:
        """The same answer word by word, then the whole Prediction."""
        prediction = await self.complete(request)
        for piece in re.findall(r"\s*\S+\s*$|\s*\S+|\s+", prediction.text):
            yield piece
        yield prediction

    async def close(self) -> None:
        """Ends the engine: later calls, and those still waiting out a delay, get `EngineDown`."""
        self._closed = True

    def _rule(self, request: Request) -> Rule:
        if self._closed:
            raise EngineDown(f"{self.name} is closed")
        for index, rule in enumerate(self._rules):
            if self._left[index] and rule.applies(request.input):
                self._left[index] -= 1
                return rule
        raise EngineError(f"no rule of {self.name} matches this input", hint='a last rule with "match": "*" takes all')

    def _prediction(self, rule: Rule, request: Request, latency_ms: float) -> Prediction:
        text = rule.text if rule.text is not None else _written(rule.value, request.task)
        finish = FINISHED.get(rule.error, "stop")
        value = None
        if request.task is not None and finish == "stop":
            try:
                value = parse(request.task, text)
            except OutputInvalid:
                finish = "invalid"
        sure = finish == "stop"
        return Prediction(
            text=text,
            value=value,
            engine=self.name,
            confidence=rule.confidence if sure else None,
            fields=rule.fields if sure else {},
            alternatives=rule.alternatives if sure else {},
            usage=Usage(input_tokens=len(request.input.split()), output_tokens=len(text.split())),
            latency_ms=latency_ms,
            finish=finish,
        )


def _written(value: JsonObject | None, task: Task | None) -> str:
    """`value` as a model would say it: in the task's own form where it has the task's fields, else as JSON."""
    if value is None:
        return ""
    if task is not None and set(task.fields) <= set(value):
        return render(task, value)
    return to_json(value).decode()


def _check_pattern(rule: Rule, where: str) -> None:
    try:
        rule.applies("")
    except re.error as error:
        raise Invalid(f"{where}: match {rule.match!r} is no regular expression: {error}") from error
