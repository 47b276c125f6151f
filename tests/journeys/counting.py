"""An engine that counts how often it is asked, and the path to it."""

import asyncio

from insource.journeys.again import Answers
from insource.journeys.answer import Path, Tier
from insource.nouns import Message, Output, Prediction, Record, Request, Risk, Task, Usage
from insource.nouns.sections import CacheSettings

LABELS = Output(name="label", labels=("a", "b"))
TASK = Task(name="t", kind="classify", outputs=(LABELS,), risk=Risk(threshold=0.85))
USAGE = Usage(input_tokens=10, output_tokens=4)


class Counting:
    """An engine that counts how often it is asked. `says` may be an error, or wait for `gate`."""

    def __init__(self, name="one", *, gate: asyncio.Event | None = None, says=None, **more) -> None:
        self.name, self.asked, self.gate, self.says = name, 0, gate, says
        self.more = {"text": "a", "usage": USAGE} | more

    async def complete(self, request: Request) -> Prediction:
        self.asked += 1
        if self.gate is not None:
            await self.gate.wait()
        if isinstance(self.says, Exception):
            raise self.says
        value = {"label": "a"} if request.task else None
        given = {"value": value, "confidence": 0.9 if request.task else None} | self.more
        return Prediction(engine=self.name, latency_ms=5.0, **given)

    async def close(self) -> None:
        """Nothing is held."""


class Kept:
    def __init__(self):
        self.rows: list[Record] = []

    async def __call__(self, record, pending):
        self.rows.append(record)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


async def key(tenant: str) -> bytes:
    return b"key of " + tenant.encode()


def answers(clock=None, **more) -> Answers:
    return Answers(CacheSettings(**more), clock or Clock())


def path(*engines, answers: Answers | None, task: Task | None = TASK, scope="s", prices=(1.0, 1.0)) -> Path:
    tiers = tuple(Tier(e, f"t@{i}.0.0" if task else None, prices) for i, e in enumerate(engines, 1))
    threshold = 0.85 if task else None
    return Path(task=task, tiers=tiers, threshold=threshold, key=key, scope=scope, answers=answers)


def request(id="r1", text="hello", **more) -> Request:
    return Request(id=id, messages=(Message(role="user", content=text),), deadline=5.0, **more)
