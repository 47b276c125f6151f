"""An open-loop load: calls arrive when they are due, whether or not the ones before them were answered.

A loop that waits for each answer before it sends the next asks less of a slow server, and leaves out the waits that
callers of their own would have had ("coordinated omission", G. Tene, How NOT to Measure Latency, 2013; open against
closed: Schroeder et al., NSDI 2006). Here arrivals are a Poisson process drawn in advance, and every latency counts
from the moment at which its call was due: waiting in a queue, the generator's own included, shows in it.
"""

import asyncio
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np

from insource.nouns import Noun
from insource.stats import quantile

Progress = Callable[[str, int, int], None]
MOST_WAITING = 20_000
PATIENCE_S = 10.0
LONGEST_S = 120.0  # that a call may take
GOOD = 0.95  # of the calls in time: below that a rate is too much
SLACK_S = 0.05  # that a machine may be away for other reasons
WARM_UP, DOUBLINGS, HALVINGS = 10, 14, 2


@dataclass(frozen=True)
class Reply:
    """How a call went. `first_at` is when its first token came, by `time.perf_counter`; `error` the code of a failure.

    `tokens` are those of the answer.
    """

    first_at: float | None = None
    tokens: int = 0
    error: str = ""


Send = Callable[[str], Awaitable[Reply]]


class Times(Noun, frozen=True, kw_only=True):
    """Milliseconds at the percentiles, of `n` calls."""

    p50: float
    p95: float
    p99: float
    n: int


class Step(Noun, frozen=True, kw_only=True):
    """One rate, held for some seconds.

    `calls` were due, `failed` of them by code (`unfinished` when the patience ended, `not_sent` with too many under
    way). `total_ms` runs from when a call was due to its end, `first_ms` to its first token; `token_ms` is the time
    from one token to the next. Unfinished calls count in `total_ms` with the time they had waited. `goodput` is the
    share of all calls that were answered within the target. `late_ms` is how late the generator sent, at p99.
    `kept_up` is False where calls were answered more slowly than they came (`keeps_up`).
    """

    rate: float
    seconds: float
    calls: int
    answered: int
    failed: dict[str, int]
    answered_per_s: float
    goodput: float
    total_ms: Times | None
    first_ms: Times | None
    token_ms: Times | None
    late_ms: float
    kept_up: bool = True

    @property
    def held(self) -> bool:
        """Whether the rate was borne: calls were in time, and no queue grew that a longer step would have shown."""
        return self.goodput >= GOOD and self.kept_up

    @property
    def in_time(self) -> str:
        """The share in time in words; of a rate at which a queue grew it says that too."""
        return f"{self.goodput:.1%}" + (", but behind" if self.answered and not self.kept_up else "")


class Load(Noun, frozen=True, kw_only=True):
    """What came of it. `held` is the highest rate that was held with 95% of the calls in time, None when none was.

    In time is within `target_ms`, which `target_of` says. Without a `url` it was measured in one process.
    """

    task: str
    candidate: str
    url: str
    split: str
    seed: int
    target_ms: float
    target_of: str
    steps: tuple[Step, ...]
    held: float | None
    code: str = ""
    machine: str = ""
    created: str = ""

    @property
    def summary(self) -> str:
        """The load in a line."""
        step = self.steps[0]
        if self.held is not None:
            return f"{self.candidate} holds {self.held:g} calls a second with {GOOD:.0%} of the calls in time"
        if len(self.steps) > 1:
            return f"{self.candidate} holds no rate with {GOOD:.0%} of the calls in time, not {step.rate:g} a second"
        behind = ", but answered more slowly than they came" if step.answered and not step.kept_up else ""
        said = f"{step.goodput:.1%} of {step.calls:,} calls in time{behind}"
        return f"{self.candidate} at {step.rate:g} calls a second: {said}"


@dataclass(frozen=True)
class Pace:
    """`seconds` a rate is held, the latency that is good enough in milliseconds, and the seed of the arrivals."""

    seconds: float
    target_ms: float
    seed: int = 0
    patience_s: float = PATIENCE_S


def arrivals(rate: float, seconds: float, seed: int) -> list[float]:
    """When calls are due, in seconds from the start: a Poisson process of `rate` a second; one call at least."""
    random = np.random.default_rng(seed)
    found: list[float] = []
    at = 0.0
    while at < seconds:
        for gap in random.exponential(1 / rate, size=max(16, int(rate * seconds))).tolist():
            at += gap
            if at >= seconds:
                break
            found.append(at)
    return found or [0.0]


def keeps_up(calls: Sequence[tuple[float, float]], rate: float) -> bool:
    """Whether `calls`, as (due, answered) in seconds, were answered about as fast as they came.

    In a short step a queue may grow all the time and every wait still be within the target. So the moment when 95% are
    answered is held against one clerk's who takes 1 / `rate` a call, for the same arrivals: what chance alone bunches
    together he waits for, too. Besides that, the calls have the time that one usually takes in the first half.
    """
    if not calls:
        return False
    ordered = sorted(calls)
    last = math.ceil(GOOD * len(ordered)) - 1
    free = began = ordered[0][0]
    for due, _ in ordered[: last + 1]:
        free = max(free, due) + 1 / rate
    answered = sorted(done for _, done in ordered)[last]
    usual = quantile(sorted(done - due for due, done in ordered[: (len(ordered) + 1) // 2]), 0.5)
    return GOOD * (answered - began) <= free - began + usual + SLACK_S


async def hold(send: Send, inputs: Sequence[str], rate: float, pace: Pace, progress: Progress) -> Step:
    """Sends `rate` calls a second, the inputs in turn, and waits for what is under way, `patience_s` at most."""
    due = arrivals(rate, pace.seconds, pace.seed)
    run = _Run(send, perf_counter())
    what = f"{rate:,.4g} calls/s"
    for number, at in enumerate(due):
        await asyncio.sleep(max(0.0, run.began + at - perf_counter()))
        run.start(inputs[number % len(inputs)], run.began + at)
        progress(f"{what} · {len(run.running):,} under way", number + 1, len(due))
    await run.finish(pace.patience_s)
    return run.step(rate, pace)


async def saturate(
    send: Send, inputs: Sequence[str], pace: Pace, progress: Progress
) -> tuple[list[Step], float | None]:
    """Doubles the rate until it is not held with 95% of the calls in time, then narrows down.

    Returns the steps by rate, and the highest rate that held, as all below it did; None when none did.
    """
    began = perf_counter()
    for number in range(WARM_UP):
        progress("one call after another", number, WARM_UP)
        await send(inputs[number % len(inputs)])
    rate = _round(0.5 * WARM_UP / max(perf_counter() - began, 1e-4))
    steps = [await hold(send, inputs, rate, pace, progress)]
    up = steps[0].held
    for _ in range(DOUBLINGS):
        if steps[-1].held != up:
            break
        rate = _round(rate * 2 if up else rate / 2)
        steps.append(await hold(send, inputs, rate, pace, progress))
    for _ in range(HALVINGS):
        held = [step.rate for step in steps if step.held]
        lost = [step.rate for step in steps if not step.held]
        if not held or not lost or max(held) > min(lost):
            break
        steps.append(await hold(send, inputs, _round(math.sqrt(max(held) * min(lost))), pace, progress))
    steps.sort(key=lambda step: step.rate)
    least = min((step.rate for step in steps if not step.held), default=math.inf)
    return steps, max((step.rate for step in steps if step.rate < least), default=None)


@dataclass
class _Run:
    """The calls of one step."""

    send: Send
    began: float
    running: dict[asyncio.Task[None], float] = field(default_factory=dict)
    total: list[float] = field(default_factory=list)
    calls: list[tuple[float, float]] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    token: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    failed: Counter[str] = field(default_factory=Counter)
    waited: list[float] = field(default_factory=list)
    ended: float = 0.0
    fault: BaseException | None = None

    def start(self, text: str, due: float) -> None:
        """Sends a call."""
        self.late.append(perf_counter() - due)
        if len(self.running) >= MOST_WAITING:
            self.failed["not_sent"] += 1
            return
        task = asyncio.create_task(self._one(text, due))
        self.running[task] = due
        task.add_done_callback(self._done)

    async def finish(self, patience_s: float) -> None:
        """Waits for what is under way, and gives up on what is not done by then."""
        left = dict(self.running)
        if left:
            await asyncio.wait(left, timeout=patience_s)
        self.ended = perf_counter()
        for task, due in left.items():
            if task.cancel():
                self.failed["unfinished"] += 1
                self.waited.append(self.ended - due)
        await asyncio.gather(*left, return_exceptions=True)
        if self.fault is not None:
            raise self.fault

    def step(self, rate: float, pace: Pace) -> Step:
        """What came of it."""
        good = sum(seconds * 1000 <= pace.target_ms for seconds in self.total)
        calls = len(self.late)
        return Step(
            rate=rate,
            seconds=pace.seconds,
            calls=calls,
            answered=len(self.total),
            failed=dict(self.failed),
            answered_per_s=len(self.total) / max(self.ended - self.began, 1e-9),
            goodput=good / calls,
            total_ms=_times([*self.total, *self.waited]),
            first_ms=_times(self.first),
            token_ms=_times(self.token),
            late_ms=quantile(sorted(self.late), 0.99) * 1000,
            kept_up=keeps_up(self.calls, rate),
        )

    def _done(self, task: asyncio.Task[None]) -> None:
        self.running.pop(task, None)
        if not task.cancelled():
            self.fault = self.fault or task.exception()

    async def _one(self, text: str, due: float) -> None:
        reply = await self.send(text)
        now = perf_counter()
        if reply.error:
            self.failed[reply.error] += 1
            return
        self.total.append(now - due)
        self.calls.append((due, now))
        if reply.first_at is not None:
            self.first.append(reply.first_at - due)
            if reply.tokens > 1:
                self.token.append((now - reply.first_at) / (reply.tokens - 1))


def _times(seconds: list[float]) -> Times | None:
    if not seconds:
        return None
    ordered = sorted(seconds)
    p50, p95, p99 = (round(quantile(ordered, share) * 1000, 3) for share in (0.5, 0.95, 0.99))
    return Times(p50=p50, p95=p95, p99=p99, n=len(ordered))


def _round(rate: float) -> float:
    """Two digits are enough for a rate."""
    return float(f"{rate:.2g}")
