"""Servers in a world without a clock: calls come at random and wait their turn; a server keeps some prefixes."""

import heapq
import random
from collections import OrderedDict
from dataclasses import dataclass, field


@dataclass
class Server:
    """Serves one call at a time, in `seconds` on average; a prefix not among the last `kept` takes `read_s` more."""

    seconds: float
    kept: int = 0
    read_s: float = 0.0
    load: int = 0
    free_at: float = 0.0
    known: OrderedDict[str, None] = field(default_factory=OrderedDict)

    def read(self, prefix):
        """Whether it knew the prefix, which it knows from now on."""
        knew = prefix in self.known
        self.known[prefix] = None
        self.known.move_to_end(prefix)
        if len(self.known) > self.kept:
            self.known.popitem(last=False)
        return knew


@dataclass
class Seen:
    """What came of the calls: how long each waited, how many found their prefix, who had them, the fullest."""

    waits: list[float] = field(default_factory=list)
    took: list[float] = field(default_factory=list)
    hits: int = 0
    served: list[int] = field(default_factory=list)
    over: int = 0  # the most that one had beyond its bound

    def p99(self):
        """Seconds that one call in a hundred waited longer than."""
        return sorted(self.waits)[int(0.99 * len(self.waits))]

    def mean(self):
        """Seconds that a call took on average, waiting and served."""
        return sum(self.took) / len(self.took)

    @property
    def hit_rate(self):
        """The share of calls whose prefix was known where they went."""
        return self.hits / len(self.waits)


def live(servers, choose, calls, *, rate, prefix=lambda dice: "", seed=7, bound=None):
    """`calls` calls, `rate` a second, each sent where `choose(loads, prefix)` says."""
    dice, now, seen = random.Random(seed), 0.0, Seen(served=[0] * len(servers))  # noqa: S311 - a simulation
    ends = []
    for _ in range(calls):
        now += dice.expovariate(rate)
        while ends and ends[0][0] <= now:
            servers[heapq.heappop(ends)[1]].load -= 1
        loads, wanted = [one.load for one in servers], prefix(dice)
        at = choose(loads, wanted)
        if bound is not None:
            seen.over = max(seen.over, loads[at] + 1 - bound(loads))
        one = servers[at]
        begins = max(now, one.free_at)
        knew = one.read(wanted)
        one.free_at = begins + dice.expovariate(1 / one.seconds) + (0.0 if knew else one.read_s)
        one.load += 1
        heapq.heappush(ends, (one.free_at, at))
        seen.waits.append(begins - now)
        seen.served[at] += 1
        seen.hits += knew
        seen.took.append(one.free_at - now)
    return seen
