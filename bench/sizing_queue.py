"""Sizing's queue beside a load: the rate at which the 95th percentile meets a target, as it is said and as it is found.

A machine that others use too is not as quick at one minute as at another, and near its limit the rate that it bears
follows its pace more than in proportion. So both sides see the same minutes: in every round a replica is measured
without a queue, and then each rate of a ladder is held, in an order drawn anew as that of the texts is. Replicas on one
machine take something from each other, so where two are loaded both are measured at the same time. Said is the rate at
which, over all the paces that were measured, the model has 5% of the calls late; found is the rate at which 5% of all
calls were late.

Rounds are what is independent, so the intervals draw them again (the bootstrap percentile interval: Efron, 1979).
"""

import asyncio
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from msgspec import to_builtins

from insource.measure.load import Pace, Send, hold
from insource.measure.service import Served, served
from insource.price.queueing import P95, Station, highest_rate
from insource.stats import Floats

TIMES = 4.0  # the target, in service times
ROUNDS = 6
LADDER = (0.55, 0.7, 0.88, 1.12, 1.45)  # the rates that are held, as shares of what the first replica measured gives
SECONDS, CALLS = 10.0, 150  # of a hold, at least
RATES, AGAIN, TAIL = 200, 2_000, 2.5
EXACT = 1e9  # calls whose share late is no estimate
Queued = Callable[[Served], Station]
Loaded = tuple[Send, list[Send]]  # what takes the calls, and the replicas that it is


@dataclass(frozen=True)
class Seen:
    """What the rounds gave.

    `said` has the share of calls that the model has over the target, [round, rate of `rates`]; `late` the share that
    was, of so many `calls`, [round, rate of `ladder`].
    """

    rates: Floats
    said: Floats
    ladder: Floats
    late: Floats
    calls: Floats

    def both(self, rounds: Sequence[int] | Floats) -> tuple[float, float]:
        """The rates said and found, over these rounds."""
        some = np.asarray(rounds, dtype=np.intp)
        calls = self.calls[some].sum(axis=0)
        return (
            crossing(self.rates, self.said[some].mean(axis=0), np.full(len(self.rates), EXACT)),
            crossing(self.ladder, (self.late * self.calls)[some].sum(axis=0) / calls, calls),
        )


def quiet(*_: object) -> None:
    """Says nothing."""


def crossing(rates: Floats, late: Floats, calls: Floats) -> float:
    """The rate at which 5% are late, between those that were held, or the last of them on its side.

    Shares of so many calls never fall with the rate but by chance, so neighbours that do are taken as one (isotonic
    regression: Barlow et al., 1972). Between two rates the logarithm of the share is a line in that of the rate.
    """
    shares = (late * calls + 0.5) / (calls + 1)
    groups: list[tuple[float, float, int]] = []
    for share, n in zip(shares.tolist(), calls.tolist(), strict=True):
        groups.append((share, n, 1))
        while len(groups) > 1 and groups[-2][0] > groups[-1][0]:
            (a, m, i), (b, k, j) = groups[-2:]
            groups[-2:] = [((a * m + b * k) / (m + k), m + k, i + j)]
    rising = np.repeat([one[0] for one in groups], [one[2] for one in groups])
    return float(np.exp(np.interp(np.log(1 - P95), np.log(rising), np.log(rates))))


async def against(
    name: str, makes: list[Loaded], texts: list[str], queued: Queued, say: Callable[[str], None]
) -> list[dict[str, Any]]:
    """One replica, and two: what the queue says of what was measured beside what a load finds of them."""
    first = await served(makes[0][0], texts, quiet)
    target = TIMES * first.mean_ms
    lines = []
    for count, loaded in enumerate(makes, 1):
        about = highest_rate(queued(first), count, target)
        rounds, tried = list[list[Served]](), list[dict[str, Any]]()
        dice = random.Random(count)  # noqa: S311 - an order, not a secret
        for number in range(ROUNDS):
            rounds.append(await asyncio.gather(*[served(each, texts, quiet) for each in loaded[1]]))
            for share in dice.sample(LADDER, len(LADDER)):
                pace = Pace(seconds=max(SECONDS, CALLS / (share * about)), target_ms=target, seed=dice.randrange(2**32))
                step = await hold(loaded[0], dice.sample(texts, len(texts)), share * about, pace, quiet)
                tried.append({"round": number, "rate": step.rate, "calls": step.calls, "late": 1 - step.goodput,
                              "p95_ms": step.total_ms and step.total_ms.p95, "sent_late_ms": step.late_ms,
                              "failed": step.failed})  # fmt: skip
            alone = ", ".join(f"{one.mean_ms:.0f}" for one in rounds[-1])
            say(f"{name}, {count}: round {number + 1} of {ROUNDS}, alone {alone} ms")
        seen = _seen([[queued(one) for one in ones] for ones in rounds], count, target / 1e3, tried)
        line = {"of": name, "replicas": count, "target_ms": target, **_compared(seen), "tried": tried,
                "measured": to_builtins(rounds)}  # fmt: skip
        say(f"{name}, {count}: said {line['said']:.1f}/s, found {line['found']:.1f}/s, {line['off']:+.0%}")
        lines.append(line)
    return lines


def _seen(rounds: list[list[Station]], count: int, limit_s: float, tried: list[dict[str, Any]]) -> Seen:
    ladder = sorted({step["rate"] for step in tried})
    rates = np.geomspace(ladder[0] / 2, ladder[-1] * 2, RATES)

    def late(one: Station, rate: float) -> float:
        after = one.later(count, rate)
        return 1.0 if after is None else after(limit_s)

    said = np.array([[np.mean([late(one, rate) for one in ones]) for rate in rates.tolist()] for ones in rounds])
    held: dict[str, Floats] = {}
    for key in ("late", "calls"):
        held[key] = np.zeros((len(rounds), len(ladder)))
        for step in tried:
            held[key][step["round"], ladder.index(step["rate"])] = step[key]
    return Seen(rates=rates, said=said, ladder=np.array(ladder), **held)


def _compared(seen: Seen) -> dict[str, Any]:
    rounds = len(seen.late)
    dice = np.random.default_rng(0)
    drawn = np.array([seen.both(dice.integers(0, rounds, rounds)) for _ in range(AGAIN)])
    ends = {"said_between": drawn[:, 0], "found_between": drawn[:, 1], "off_between": drawn[:, 0] / drawn[:, 1] - 1}
    said, found = seen.both(range(rounds))
    each = [seen.both([one])[0] for one in range(rounds)]
    return {"said": said, "found": found, "off": said / found - 1, "each": each, "rounds": rounds,
            **{key: np.percentile(values, [TAIL, 100 - TAIL]).tolist() for key, values in ends.items()}}  # fmt: skip


def aloud(text: str) -> None:
    """Says it while the bench runs."""
    print(text, file=sys.stderr, flush=True)
