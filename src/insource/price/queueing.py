"""How many replicas a rate of calls needs, and how long calls then take. Pure.

Calls arrive at random (Poisson) and are taken in order of arrival. `Lanes` is the queue M/G/c of what works on several
calls side by side: a server with a batch that never ends, a hosted API under a limit. `price.batches` is the queue of
what takes all that waits at once, as the engines of this process do.

In M/G/c a call waits with the probability of Erlang (1917, "Erlang C"); the mean wait is that of M/M/c times (1 + the
squared coefficient of variation of the service time) / 2, the approximation of Allen and Cunneen (A. O. Allen,
Probability, Statistics, and Queueing Theory, 1990), exact for one lane (Pollaczek and Khinchine) and for exponential
service. What waits is taken to wait an exponential time. Service times are log-normal with the mean and variation.
"""

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Annotated, Protocol

from msgspec import Meta

from insource.nouns import Noun

POINTS = 400
MOST = 10_000
P95 = 0.95
HALVINGS, ALIKE = 45, 1e-8
ASSUMED = "calls arrive at random; whichever replica is free first takes the next one"
Later = Callable[[float], float]  # seconds → the chance that a call takes longer


class Station(Protocol):
    """What serves calls: one replica of it can do `most` a second."""

    @property
    def most(self) -> float:
        """Calls a second of one replica that never rests."""
        ...

    def later(self, replicas: int, rate: float) -> Later | None:
        """How calls are late at `rate` calls a second in all; None where the queue grows without an end."""
        ...


class Lanes(Noun, frozen=True, kw_only=True):
    """One replica works on `lanes` calls side by side, each in `mean_s` seconds on average.

    `variation` is the squared coefficient of variation of these times: 0 where all are alike, 1 where they are
    exponential.
    """

    mean_s: Annotated[float, Meta(gt=0)]
    variation: Annotated[float, Meta(ge=0)] = 1.0
    lanes: Annotated[int, Meta(ge=1)] = 1

    @property
    def most(self) -> float:
        """Calls a second of one replica that never rests."""
        return self.lanes / self.mean_s

    def wait_s(self, replicas: int, rate: float) -> float:
        """The mean wait of all calls in seconds; the rate is below what the replicas can do."""
        lanes, load = self.lanes * replicas, rate * self.mean_s
        return erlang_c(lanes, load) * self.mean_s / (lanes - load) * (1 + self.variation) / 2

    def later(self, replicas: int, rate: float) -> Later | None:
        """As `Station` has it; all lanes of all replicas are one queue."""
        lanes, load = self.lanes * replicas, rate * self.mean_s
        if load >= lanes:
            return None
        waits, times = erlang_c(lanes, load), _times(self.mean_s, self.variation)
        each = self.wait_s(replicas, rate) / waits if waits else 0.0  # the mean wait of those that wait

        def later(limit_s: float) -> float:
            left = [limit_s - time for time in times]
            late = [1.0 if rest < 0 else waits * math.exp(-rest / each) if each else 0.0 for rest in left]
            return sum(late) / len(late)

        return later


class Queue(Noun, frozen=True, kw_only=True):
    """How it goes at `rate` calls a second: `busy` is the share of what the replicas can do, latencies are whole."""

    rate: float
    replicas: int
    busy: float
    p50_ms: float
    p95_ms: float
    p99_ms: float


def queue(station: Station, replicas: int, rate: float) -> Queue | None:
    """The queue at `rate` calls a second; None where it grows without an end."""
    late = station.later(replicas, rate)
    if late is None:
        return None
    p50, p95, p99 = (_percentile(late, share, 1 / station.most) * 1e3 for share in (0.5, P95, 0.99))
    busy = rate / (station.most * replicas)
    return Queue(rate=rate, replicas=replicas, busy=busy, p50_ms=p50, p95_ms=p95, p99_ms=p99)


def replicas_for(station: Station, rate: float, target_ms: float) -> Queue | None:
    """The fewest replicas whose 95th percentile is at most `target_ms`; None where more than 10,000 would not do."""
    low, high = max(1, math.floor(rate / station.most)), MOST
    if not _holds(station, high, rate, target_ms):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if _holds(station, middle, rate, target_ms) else (middle + 1, high)
    return queue(station, low, rate)


def highest_rate(station: Station, replicas: int, target_ms: float) -> float:
    """Calls a second up to which the 95th percentile is at most `target_ms`; 0 where no call alone is that quick."""
    low, high = 0.0, station.most * replicas
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if _holds(station, replicas, middle, target_ms) else (low, middle)
    return low if low > 1e-9 * station.most else 0.0


def erlang_c(lanes: int, load: float) -> float:
    """The chance that a call finds all lanes taken, at a load of 0 to `lanes` Erlangs; by the recursion of Erlang B."""
    blocked = 1.0
    for lane in range(1, lanes + 1):
        blocked = load * blocked / (lane + load * blocked)
    return blocked / (1 - load / lanes * (1 - blocked))


def _holds(station: Station, replicas: int, rate: float, target_ms: float) -> bool:
    """Whether at most 5% of the calls take longer."""
    late = station.later(replicas, rate)
    return late is not None and late(target_ms / 1e3) <= 1 - P95


def _times(mean_s: float, variation: float) -> list[float]:
    """Service times that are equally likely: the log-normal distribution, cut into slices of the same weight."""
    spread = math.sqrt(math.log1p(variation))
    if not spread:
        return [mean_s]
    middle = math.log(mean_s) - spread**2 / 2
    normal = NormalDist()
    return [math.exp(middle + spread * normal.inv_cdf((i + 0.5) / POINTS)) for i in range(POINTS)]


def _percentile(late: Later, share: float, first_s: float) -> float:
    low, high = 0.0, first_s
    while late(high) > 1 - share:
        low, high = high, high * 2
    while high - low > ALIKE * high:
        middle = (low + high) / 2
        low, high = (low, middle) if late(middle) <= 1 - share else (middle, high)
    return high
