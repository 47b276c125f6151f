"""The queue of what takes all calls that wait as one batch, and the next batch when that is done. Pure.

A batch of k calls takes `first_s` + (k - 1) * `more_s` seconds (a linear time, as Inoue has it: Queueing analysis of
GPU-based inference servers with dynamic batching, Performance Evaluation 147, 2021), or what was measured of batches of
some sizes, with straight lines between. The size of a batch depends on the
one before it alone: it is the calls that arrived meanwhile, or the first that came after. That chain is solved as it
stands. A call that comes while k are worked on waits for the rest of their time, of which it sees a uniform part, and
is done with all that came in that time. Batches of one size differ as log-normal times do, with 1 / k of the squared
coefficient of variation of a call alone: k calls that differ each by itself do so in their sum. What exceeds the
largest batch is counted to it: near the most that a replica can do it is too hopeful.
"""

import math
from statistics import NormalDist
from typing import Annotated

import numpy as np
from msgspec import Meta

from insource.nouns import Noun
from insource.price.queueing import Later
from insource.stats import Floats

LARGEST = 256
STEPS, SETTLED = 5_000, 1e-10
LEAST = 1e-300
NODES = 5  # times that stand for all those of a batch
RARE = 1e-10  # a size that no batch in so many has is left out


class Batches(Noun, frozen=True, kw_only=True):
    """One replica: seconds for a call alone, and for each further call of its batch. 256 calls are one at most.

    `some` are sizes of batches, ascending, and the seconds that these were measured to take; `more_s` is for what is
    larger than all of them and counts from the first call on. These are means; `variation` is the squared coefficient
    of variation of a call alone.
    """

    first_s: Annotated[float, Meta(gt=0)]
    more_s: Annotated[float, Meta(gt=0)]
    some: tuple[tuple[int, float], ...] = ()
    variation: Annotated[float, Meta(ge=0)] = 0.0

    def took(self, calls: Floats) -> Floats:
        """Seconds for batches of so many calls; a larger one never takes less."""
        line: Floats = self.first_s + (calls - 1) * self.more_s
        if not self.some:
            return line
        last = self.first_s + (LARGEST - 1) * self.more_s
        sizes, seconds = zip((1, self.first_s), *self.some, (LARGEST, last), strict=True)
        found: Floats = np.interp(calls, sizes, np.maximum.accumulate(seconds))
        return found

    @property
    def most(self) -> float:
        """Calls a second of one replica that never rests."""
        return LARGEST / float(self.took(np.arange(1, LARGEST + 1, dtype=np.float64))[-1])

    def later(self, replicas: int, rate: float) -> Later | None:
        """As `Station` has it; each replica has its share of the calls, and a batch of its own."""
        rate = rate / replicas
        if rate >= self.most:
            return None
        took = self.took(np.arange(1, LARGEST + 1, dtype=np.float64))
        factors, weights = _factors(self.variation / np.arange(1, LARGEST + 1))
        every = took[:, None] * factors  # [batch, how long it took]
        came = _poisson((rate * every).ravel()).reshape(*every.shape, -1)  # [batch, how long, calls that came]
        share = _settled(np.einsum("bfc,f->bc", came, weights))
        alone = float(share @ came[:, :, 0] @ weights)  # the next call finds nobody at work
        often = share > RARE
        nexts, every, came = every, every[often], came[often]
        during = share[often, None] * weights * rate * every
        joined = _joined(came.reshape(-1, came.shape[-1]))
        following = joined.max(axis=0) > RARE
        joined, nexts = joined[:, following], nexts[following]
        whole = float(during.sum()) + alone

        def late(limit_s: float) -> float:
            over = nexts.ravel()[None, :] - limit_s  # of what waited for no time at all
            left = np.clip(1 + over / every.reshape(-1, 1), 0.0, 1.0)
            chance = left.reshape(-1, *nexts.shape) @ weights  # [batch and how long, the next one]
            waited = float(during.ravel() @ (joined * chance).sum(axis=1))
            return (waited + alone * _longer(limit_s / float(took[0]), self.variation)) / whole

        return late


def _factors(variations: Floats) -> tuple[Floats, Floats]:
    """Of log-normal times with a mean of 1: some for each variation, and their weights (Gauss-Hermite quadrature)."""
    spread = np.sqrt(np.log1p(variations))[:, None]
    places, weights = np.polynomial.hermite_e.hermegauss(NODES if spread.any() else 1)
    found: Floats = np.exp(spread * places - spread**2 / 2)
    return found, weights / weights.sum()


def _longer(times: float, variation: float) -> float:
    """The chance that such a time is more than `times` its mean."""
    spread = math.sqrt(math.log1p(variation))
    if not spread or times <= 0:
        return float(times < 1)
    return 1 - NormalDist().cdf(math.log(times) / spread + spread / 2)


def _poisson(means: Floats) -> Floats:
    """Chances of 0 to 256 arrivals by their mean; what is beyond is added to the last."""
    counts = np.arange(LARGEST + 1)
    logs = np.concatenate([[0.0], np.cumsum(np.log(counts[1:]))])
    powers = counts[None, :] * np.log(np.maximum(means, LEAST))[:, None]
    found: Floats = np.exp(powers - means[:, None] - logs[None, :])
    found[:, -1] += np.maximum(0.0, 1 - found.sum(axis=1))
    return found


def _settled(came: Floats) -> Floats:
    """How often a batch has each size, in the long run; none came means that the next call is a batch alone."""
    step = came[:, 1:].copy()
    step[:, 0] += came[:, 0]
    share = np.full(LARGEST, 1 / LARGEST)
    for _ in range(STEPS):
        following = share @ step
        following /= following.sum()
        if np.abs(following - share).max() < SETTLED:
            break
        share = following
    return share


def _joined(came: Floats) -> Floats:
    """How large the batch is that a call finds itself in, having come during another one: itself and the rest."""
    found: Floats = came[:, :-1].copy()
    found[:, -1] += came[:, -1]
    return found
