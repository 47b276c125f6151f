"""Asks one candidate every row: first one call at a time, which gives the latency, then many at once.

Rows come in a seeded order, so that what is asked first is like the rest.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field

import msgspec

from insource.errors import Blocked, EngineError
from insource.nouns import Example, Outcome, Prediction, Record, Request, Task, ask

Answer = Callable[[Request], Awaitable[Record]]
Progress = Callable[[str, int, int], None]
ALONE, ALONE_S, ALONE_LEAST = 100, 10.0, 5
WORK_AHEAD_MS = 2000.0
FEWEST, MOST = 4, 128
GIVE_UP = 10
GIVEN: tuple[Outcome, ...] = ("answered", "escalated")
PATIENCE_S = 600.0


@dataclass(frozen=True)
class Answered:
    """What became of one row. `prediction` is None when no engine answered: the row is then not scored.

    `place` is the row's place in the split, by which candidates are paired. `given` says that the answer left by
    itself, under the rule that serves, and `threshold` what confidence that demanded.
    """

    place: int
    example: Example
    prediction: Prediction | None
    usd: float = 0.0
    error: str = ""
    given: bool = False
    threshold: float | None = None

    @property
    def valid(self) -> bool:
        """True when there is an answer that keeps the task's contract."""
        return self.prediction is not None and self.prediction.value is not None and self.prediction.finish == "stop"


@dataclass(frozen=True)
class Run:
    """One candidate's answers in the order of the split; latencies of the calls made one at a time; the rate of all."""

    rows: tuple[Answered, ...]
    latencies_ms: tuple[float, ...]
    rows_per_s: float


async def ask_all(
    task: Task, examples: Sequence[tuple[int, Example]], answer: Answer, *, what: str, progress: Progress, seed: int = 0
) -> Run:
    """The answers to `examples`, given as (place, row). An engine's error leaves a row unanswered.

    The first call warms up and is not timed where there are more. Raises the engine's error when the first five calls,
    or ten in a row (and as many as were asked at once), or all of them failed: the candidate is then down.
    """
    asking = _Asking(task, answer, what, progress, len(examples))
    order = list(examples)
    random.Random(seed).shuffle(order)  # noqa: S311 - an order, not a secret
    began = time.perf_counter()
    latencies = []
    for index, (place, example) in enumerate(order[:ALONE]):
        if index > ALONE_LEAST and time.perf_counter() - began > ALONE_S:
            break
        latency = await asking.one(place, example)
        asking.check()
        latencies += [] if latency is None else [latency]
    rest = order[asking.done :]
    middle, alone = time.perf_counter(), asking.done
    at_once = max(FEWEST, min(MOST, round(WORK_AHEAD_MS / (_median(latencies) or 1.0))))
    await asking.together(iter(rest), min(at_once, len(rest)))
    asking.check(over=True)
    ended = time.perf_counter()
    count, seconds = (len(rest), ended - middle) if len(rest) > alone else (len(order), ended - began)
    timed = latencies[1:] or latencies
    return Run(tuple(sorted(asking.rows, key=lambda row: row.place)), tuple(timed), count / max(seconds, 1e-9))


def sample(task: Task, examples: Sequence[Example], count: int, *, seed: int = 0) -> list[tuple[int, Example]]:
    """`count` rows with their places, stratified by the first output of a `classify` task; all when there are fewer."""
    placed = list(enumerate(examples))
    if count >= len(placed):
        return placed
    chance = random.Random(seed)  # noqa: S311 - a sample, not a secret
    first = task.fields[0] if task.kind == "classify" else ""
    keyed = [(str(example.target.get(first)), chance.random(), place) for place, example in placed]
    step, start = len(placed) / count, chance.random()
    order = [place for _, _, place in sorted(keyed)]
    picked = sorted(order[min(len(order) - 1, int((i + start) * step))] for i in range(count))
    return [placed[place] for place in picked]


@dataclass
class _Asking:
    """The state of one candidate's run."""

    task: Task
    answer: Answer
    what: str
    progress: Progress
    total: int
    rows: list[Answered] = field(default_factory=list)
    failures: int = 0
    patience: int = GIVE_UP
    error: EngineError | Blocked | None = None
    began: float = field(default_factory=time.perf_counter)

    @property
    def done(self) -> int:
        return len(self.rows)

    async def one(self, place: int, example: Example) -> float | None:
        """Asks one row and notes what came; its milliseconds, None when it was not answered."""
        request = msgspec.structs.replace(ask(self.task, example.input, id=example.id), deadline=PATIENCE_S)
        started = time.perf_counter()
        latency = None
        try:
            record = await self.answer(request)
        except (EngineError, Blocked) as error:
            self.failures, self.error = self.failures + 1, error
            row = Answered(place, example, None, error=f"{error.code}: {error}")
        else:
            self.failures, latency = 0, (time.perf_counter() - started) * 1000
            demanded = record.attempts[-1].decision.threshold if record.attempts else None
            given = record.outcome in GIVEN
            row = Answered(place, example, record.answer, usd=record.usd, given=given, threshold=demanded)
        self.rows.append(row)
        rate = self.done / max(time.perf_counter() - self.began, 1e-9)
        self.progress(f"{self.what} · {rate:,.1f} rows/s", self.done, self.total)
        return latency

    async def together(self, waiting: Iterator[tuple[int, Example]], at_once: int) -> None:
        """Asks what waits, `at_once` rows at a time, until none is left or the candidate is down."""
        # A failure is quick: of calls under way at once all that fail may end before the first that is answered.
        self.patience = GIVE_UP + at_once

        async def work() -> None:
            for place, example in waiting:
                await self.one(place, example)
                if self.failures >= self.patience:
                    return

        workers = [asyncio.ensure_future(work()) for _ in range(at_once)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()

    def check(self, *, over: bool = False) -> None:
        """Raises the last error when the candidate is down; once it is `over`, when nothing was answered."""
        none_yet = self.failures == self.done and (over or self.done == ALONE_LEAST)
        if self.error is not None and (self.failures >= self.patience or none_yet):
            raise self.error


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2] if values else 0.0
