"""The queue of what takes all calls that wait as one batch, and the next batch when that is done. Pure.

A batch of k calls takes `first_s` + (k - 1) * `more_s` seconds (a linear time, as Inoue has it: Queueing analysis of
GPU-based inference servers with dynamic batching, Performance Evaluation 147, 2021), or what was measured of batches of
some sizes, with straight lines between. The size of a batch depends on the
one before it alone: it is the calls that arrived meanwhile, or the first that came after. That chain is solved as it
stands. A call that comes while k are worked on waits for the rest of their time, of which it sees a uniform part, and
is done with all that came in that time. Batches of one size all take the same time here, and what exceeds the largest
batch is counted to it: near the most that a replica can do it is too hopeful.
"""

from typing import Annotated

import numpy as np
from msgspec import Meta

from insource.nouns import Noun
from insource.price.queueing import Later
from insource.stats import Floats

LARGEST = 256
STEPS, SETTLED = 5_000, 1e-10
LEAST = 1e-300


class Batches(Noun, frozen=True, kw_only=True):
    """One replica: seconds for a call alone, and for each further call of its batch. 256 calls are one at most.

    `some` are sizes of batches, ascending, and the seconds that these were measured to take; `more_s` is for what is
    larger than all of them and counts from the first call on.
    """

    first_s: Annotated[float, Meta(gt=0)]
    more_s: Annotated[float, Meta(gt=0)]
    some: tuple[tuple[int, float], ...] = ()

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
        came = _poisson(rate * took)  # [batch, calls that came meanwhile]
        share = _settled(came)
        during, alone = share * rate * took, share * came[:, 0]
        whole = float(during.sum() + alone.sum())
        joined = _joined(came)

        def late(limit_s: float) -> float:
            left = np.clip(1 - (limit_s - took[None, :]) / took[:, None], 0.0, 1.0)  # [batch, the next one]
            waited = float(during @ (joined * left).sum(axis=1))
            return (waited + float(alone.sum()) * float(took[0] > limit_s)) / whole

        return late


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
