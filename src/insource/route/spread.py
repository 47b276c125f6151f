"""Which of several servers of one engine is asked: who has the fewest calls, or who has read this beginning before.

Pure: it is told how many calls each has and which may be asked, and holds no clock. Sources: least outstanding calls
(the queue that "join the shortest queue" looks at, Winston 1977); rendezvous hashing (Thaler and Ravishankar 1998);
bounded loads (Mirrokni, Thorup and Zadimoghaddam 2016), here over rendezvous hashing's order of servers.
"""

from collections import Counter, deque
from collections.abc import Sequence
from hashlib import blake2b
from math import ceil

OVER = 0.25  # of the mean: so many calls more than it may a server have for the sake of a beginning it knows
RECENT = 256


class Spread:
    """The choice among the servers `names`. What has one name is chosen alike in every process."""

    def __init__(self, names: Sequence[str], over: float = OVER) -> None:
        self._names, self._over = tuple(names), over
        self._turn = 0
        self._recent, self._times = deque[str](), Counter[str]()

    def pick(self, loads: Sequence[int], ready: Sequence[int], prefix: str = "") -> int:
        """The place in `names` of who is asked, one of `ready`, which is not empty; `loads` are the calls under way.

        Without a `prefix` it is who has the fewest, in turn where several have. With one it is the first in the
        prefix's own order who would have no more than (1 + `over`) times the mean of those that are ready, rounded up:
        there is always one. A prefix of more than its share of the last 256, a server's share of all calls, is known
        everywhere: it goes to who has the fewest, and to its first server where several have.
        """
        if not prefix:
            self._turn += 1
            return min(ready, key=lambda at: (loads[at], (at - self._turn) % len(self._names)))
        order = sorted(ready, key=lambda at: _rank(prefix, self._names[at]), reverse=True)
        if self._often(prefix):
            return min(order, key=lambda at: loads[at])
        most = bound([loads[at] for at in ready], self._over)
        return next(at for at in order if loads[at] < most)

    def _often(self, prefix: str) -> bool:
        """Whether more than one call in as many as there are servers begins so; counts this one."""
        self._recent.append(prefix)
        self._times[prefix] += 1
        if len(self._recent) > RECENT:
            oldest = self._recent.popleft()
            self._times[oldest] -= 1
            if not self._times[oldest]:
                del self._times[oldest]
        return self._times[prefix] * len(self._names) > len(self._recent)


def bound(loads: Sequence[int], over: float = OVER) -> int:
    """How many calls one of several servers with these `loads` may have, once another call is with one of them."""
    return ceil((1 + over) * (sum(loads) + 1) / len(loads))


def _rank(prefix: str, name: str) -> bytes:
    return blake2b(f"{prefix}\0{name}".encode(), digest_size=8).digest()
