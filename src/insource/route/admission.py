"""How many calls are taken at once: no more as soon as those taken wait for the processor, more when they do not.

Which call is one too many cannot be set beforehand: it depends on the processor, on what else runs on it, and on how
long the engines take. So it is found while calls go on, from how long work that is ready waits for its turn. A burst
makes it wait once, an overload all the time: a wait that stands for `stand_s` is an overload, and from then on hardly
more are taken than are there. Callers who wait for their answers are then all served, if slowly. Where calls come that
are refused, those that are taken shall be quick: the limit falls. What is under way still comes back from the engines,
so whether that was enough shows only after a call's time.

A call waits for its turn some eight times. To keep it within one and a half of its time, a wait may be a sixteenth of
what it takes without one, which is a 24th of what it takes with it.

Work also waits where other threads hold the processor, as a model in this process does. Fewer calls would not help
then; so a wait counts only where it was our own work that kept the processor busy.

Pure: waits are told, time is told. Sources: Nichols and Jacobson, "Controlling Queue Delay" (CoDel, 2012: time spent
waiting tells a standing queue from a burst, no length does); Jacobson, "Congestion Avoidance and Control" (1988: one in
for one out, and one cut in the time that it takes to see what came of the last); Netflix, concurrency-limits (a limit
on calls in flight that follows the ratio of the wait wanted to the wait seen).
"""

from collections.abc import Callable
from statistics import median
from typing import NamedTuple

from insource.nouns import Noun


class Rules(Noun, frozen=True, kw_only=True):
    """Ready work may wait the share `wait` of a call's time, from `shortest_s` to `longest_s`.

    A wait beyond it that stands for `stand_s` limits what is taken to `room` times what is under way. Every
    `interval_s` the limit grows, where the median wait was within the target: by the share `growth` where nothing
    waited, by less the nearer it came. Where it was beyond and calls were refused, the limit falls by the square root
    of their ratio, to `steepest` of what was under way at least; next after twice the time of a call. It is never below
    `least`. Waits count where our own work took the share `busy` of the time, or more. The time of a call is a mean
    that takes in the share `news` of each interval's.
    """

    wait: float = 1 / 24
    shortest_s: float = 0.006
    longest_s: float = 0.1
    stand_s: float = 0.03
    interval_s: float = 0.1
    growth: float = 0.1
    steepest: float = 0.5
    busy: float = 0.25
    room: float = 1.25
    least: int = 320
    news: float = 0.1


class Look(NamedTuple):
    """What was seen: work that was ready waited so long, so many calls are under way.

    Since the start so many have ended, so many were refused, and our own work has taken `busy_s` of the processor.
    """

    waited_s: float
    under_way: int
    ended: int
    refused: int
    busy_s: float


class Admission:
    """The limit of one process, `most` at first. `clock` gives seconds that never go back. Not for several threads."""

    def __init__(self, most: int, rules: Rules, clock: Callable[[], float]) -> None:
        self.limit, self._most = most, most
        self._rules, self._clock = rules, clock
        self._call_s = self._next_cut = 0.0
        self._last = clock(), Look(0.0, 0, 0, 0, 0.0)
        self._stands = self._last  # the last look at which nothing waited too long
        self._begin()

    @property
    def target_s(self) -> float:
        """How long ready work may wait now."""
        return min(self._rules.longest_s, max(self._rules.shortest_s, self._rules.wait * self._call_s))

    def hear(self, look: Look) -> None:
        """Takes in one look."""
        now = self._clock()
        self._looks.append(look)
        if look.waited_s <= self.target_s:
            self._stands = now, look
        elif now - self._stands[0] >= self._rules.stand_s and self._ours(self._stands, now, look):
            self._set(min(self.limit, int(self._rules.room * max(one.under_way for one in self._looks))))
        self._last = now, look
        if now >= self._began[0] + self._rules.interval_s:
            self._learn(now, look)
            self._judge(now, look)
            self._begin()

    def _begin(self) -> None:
        self._began = self._last
        self._looks: list[Look] = []

    def _learn(self, now: float, look: Look) -> None:
        """The time of a call, by Little's law: so many under way, so many ended in the interval."""
        ended = look.ended - self._began[1].ended
        if ended > 0:
            call_s = sum(one.under_way for one in self._looks) / len(self._looks) * (now - self._began[0]) / ended
            self._call_s += (call_s - self._call_s) * (self._rules.news if self._call_s else 1.0)

    def _judge(self, now: float, look: Look) -> None:
        rules, target_s = self._rules, self.target_s
        waited_s = median(one.waited_s for one in self._looks)
        if waited_s <= target_s:
            self._set(self.limit + max(1, int(self.limit * rules.growth * (1 - waited_s / target_s))))
        elif now >= self._next_cut and look.refused > self._began[1].refused and self._ours(self._began, now, look):
            share = max(rules.steepest, (target_s / waited_s) ** 0.5)
            self._set(int(min(self.limit, max(one.under_way for one in self._looks)) * share))
            self._next_cut = now + 2 * self._call_s

    def _ours(self, since: tuple[float, Look], now: float, look: Look) -> bool:
        """Whether it was our own work that kept the processor busy."""
        began, then = since
        return look.busy_s - then.busy_s >= self._rules.busy * (now - began)

    def _set(self, limit: int) -> None:
        self.limit = min(self._most, max(self._rules.least, limit))
