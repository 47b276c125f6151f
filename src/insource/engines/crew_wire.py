"""What goes to a machine of a crew and what comes back: JSON of our nouns, which names no class and runs no code."""

from collections.abc import Sequence
from functools import lru_cache

import msgspec

from insource.errors import (
    Conflict,
    EngineBusy,
    EngineDown,
    EngineError,
    EngineSlow,
    InsourceError,
    Invalid,
    Missing,
    OutputInvalid,
    Refused,
    StoreError,
)
from insource.nouns import JsonValue, Noun, Prediction, Request, Task, from_json, to_json

KNOWN = (
    Conflict, EngineBusy, EngineDown, EngineError, EngineSlow, Invalid, Missing, OutputInvalid, Refused, StoreError,
)  # fmt: skip
BY_CODE: dict[str, type[InsourceError]] = {kind.code: kind for kind in KNOWN}


class Fault(Noun, frozen=True, kw_only=True):
    """One of our errors, by its code."""

    code: str
    message: str
    hint: str = ""

    @property
    def error(self) -> InsourceError:
        """The error itself, to be raised."""
        return BY_CODE.get(self.code, EngineError)(self.message, hint=self.hint)


class Answer(Noun, frozen=True, kw_only=True):
    """What came of one request: a prediction or a fault."""

    prediction: Prediction | None = None
    fault: Fault | None = None


class Batch(Noun, frozen=True, kw_only=True):
    """Requests, each without its task; of request i that is `tasks[of[i]]`, and none where `of[i]` is below 0."""

    tasks: tuple[msgspec.Raw, ...]
    of: tuple[int, ...]
    requests: tuple[Request, ...]


def fault_of(error: BaseException) -> Fault:
    """The error as it is told elsewhere. Of one that is not ours only the kind: its words may quote a text."""
    if isinstance(error, InsourceError):
        return Fault(code=error.code, message=str(error), hint=error.hint)
    return Fault(code=EngineDown.code, message=f"the engine failed: {type(error).__name__}")


def batch_of(requests: Sequence[Request]) -> bytes:
    """The requests as they are sent: a task that several have is in it once."""
    tasks: dict[int, tuple[int, Task]] = {}
    of = []
    for request in requests:
        task = request.task
        of.append(-1 if task is None else tasks.setdefault(id(task), (len(tasks), task))[0])
    raw = tuple(msgspec.Raw(to_json(task)) for _, task in tasks.values())
    bare = tuple(msgspec.structs.replace(request, task=None) for request in requests)
    try:
        return to_json(Batch(tasks=raw, of=tuple(of), requests=bare))
    except UnicodeEncodeError:
        plain = tuple(msgspec.convert(_plain(msgspec.to_builtins(request)), Request) for request in bare)
        return to_json(Batch(tasks=raw, of=tuple(of), requests=plain))


def _plain(value: JsonValue) -> JsonValue:
    """Lone surrogates cannot be written to JSON: they become question marks, as the engines have them here."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, dict):
        return {_plain(key): _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def requests_of(batch: bytes) -> list[Request]:
    """The requests of a batch. A task that came before is the same object: engines know it again."""
    said = from_json(batch, Batch)
    tasks = [_task(bytes(raw)) for raw in said.tasks]
    pairs = zip(said.requests, said.of, strict=True)
    return [msgspec.structs.replace(request, task=tasks[at] if at >= 0 else None) for request, at in pairs]


def answers_of(said: bytes, count: int) -> list[Answer]:
    """The answers to a batch of so many requests; what is no such list is a fault of each."""
    try:
        answers = from_json(said, list[Answer])
    except Invalid:
        answers = []
    if len(answers) == count:
        return answers
    fault = fault_of(EngineDown(f"the machine gave {len(answers)} answers to {count} requests"))
    return [Answer(fault=fault)] * count


@lru_cache(maxsize=16)
def _task(raw: bytes) -> Task:
    return from_json(raw, Task)
