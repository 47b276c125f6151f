"""What callers of a task were promised, and what they got: from the records, each figure with its n and interval."""

import math
from array import array
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import numpy as np

from insource.errors import Invalid
from insource.nouns import Levels, Noun, Record
from insource.route import in_form
from insource.settings import Settings, load_levels, task_names
from insource.stats import Floats, clopper_pearson, quantile, quantile_interval
from insource.store import Store

DAYS = 30
UNANSWERED = ("failed", "interrupted")
SHARES = ("availability", "format")
QUANTILES = {"p50_ms": 0.5, "p95_ms": 0.95, "p99_ms": 0.99}


class Level(Noun, frozen=True, kw_only=True):
    """One figure with its 95% interval and the number of calls behind it; `target` is what was promised, None nothing.

    An end of the interval that so few calls say nothing about is None.
    """

    name: str
    value: float
    low: float | None
    high: float | None
    n: int
    target: float | None = None

    @property
    def kept(self) -> bool | None:
        """Whether the figure is what was promised; None where nothing was."""
        if self.target is None:
            return None
        return self.value >= self.target if self.name in SHARES else self.value <= self.target

    @property
    def sure(self) -> bool:
        """Whether the whole interval says the same as the figure."""
        end = self.low if (self.name in SHARES) == bool(self.kept) else self.high
        if self.target is None or end is None:
            return False
        return (end >= self.target if self.name in SHARES else end <= self.target) == self.kept


class Service(Noun, frozen=True, kw_only=True):
    """The levels of one task over the calls that came from `since` on. Without calls there are no levels."""

    task: str
    since: str
    calls: int
    levels: tuple[Level, ...] = ()


async def levels(settings: Settings, store: Store, *, task: str = "", since: str = "") -> list[Service]:
    """The service levels of `task`, or of every task, from `since` on (a day or a time, ISO 8601, UTC; 30 days ago).

    Raises `Missing` for an unknown task, `Invalid` for a time that is none.
    """
    promised = {name: load_levels(settings, name) for name in ([task] if task else task_names(settings))}
    since = since or (datetime.now(UTC) - timedelta(days=DAYS)).date().isoformat()
    _checked(since)
    found = {name: _Tally() for name in promised}
    after, more = 0, True
    while more:
        calls, end = await store.calls(after)
        more, after = end != after, end
        for record in (call.record for call in calls if call.record.created >= since):
            if record.task in found:
                found[record.task].add(record)
    return [
        Service(task=name, since=since, calls=tally.calls, levels=tally.levels(promised[name]))
        for name, tally in found.items()
    ]


def measured(records: Iterable[Record], promised: Levels) -> tuple[Level, ...]:
    """The levels of some records of one task. Pure."""
    tally = _Tally()
    for record in records:
        tally.add(record)
    return tally.levels(promised)


def broken(services: Iterable[Service]) -> list[tuple[Service, Level]]:
    """What was promised and not kept."""
    return [(service, level) for service in services for level in service.levels if level.kept is False]


class _Tally:
    """What is kept of the records of a task while they are read: millions of them may be."""

    def __init__(self) -> None:
        self.calls = self._whole = 0
        self._times = array("d")

    def add(self, record: Record) -> None:
        """One more call."""
        self.calls += 1
        if record.outcome not in UNANSWERED:
            self._times.append(record.latency_ms)
            self._whole += any(in_form(attempt) for attempt in record.attempts)

    def levels(self, promised: Levels) -> tuple[Level, ...]:
        """The levels, of what there is."""
        answered = len(self._times)
        if not self.calls:
            return ()
        there = _share("availability", answered, self.calls, promised.availability)
        if not answered:
            return (there,)
        times = np.sort(np.asarray(self._times))
        waits = [_wait(name, times, share, getattr(promised, name)) for name, share in QUANTILES.items()]
        return (there, _share("format", self._whole, answered, promised.format), *waits)


def _share(name: str, good: int, n: int, target: float | None) -> Level:
    low, high = clopper_pearson(good, n)
    return Level(name=name, value=good / n, low=low, high=high, n=n, target=target)


def _wait(name: str, times: Floats, share: float, target: float | None) -> Level:
    low, high = quantile_interval(times, share)
    return Level(
        name=name, value=quantile(times, share), low=_finite(low), high=_finite(high), n=len(times), target=target
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _checked(since: str) -> None:
    try:
        datetime.fromisoformat(since)
    except ValueError as error:
        raise Invalid(f"{since!r} is no day and no time", hint="--since 2026-11-01") from error
