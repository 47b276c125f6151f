"""A process with one loop, in a time of its own: calls come by chance, need the processor in turns, wait for an engine.

What a call needs of the processor it needs in `TURNS` equal parts; between them it waits for the store, for the engine,
or only for its turn. A call that is refused costs `refusal_s`, as it comes in. `probe` is what serve/door.py does.
"""

import heapq
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from insource.route.admission import Look

STORE_S = 0.001
TURNS = 8
PROBE_S = 0.005


@dataclass
class Loop:
    """`peak` calls a second are the whole of the processor; an engine takes `engine_s` seconds."""

    peak: float
    engine_s: Callable[[random.Random], float]
    hear: Callable[[Look], None] = lambda look: None
    limit: Callable[[], float] = lambda: float("inf")
    refusal_s: float = 20e-6
    pauses: tuple[float, float] = (0.0, 0.0)  # every so many seconds the processor is gone for so many
    seed: int = 1
    now: float = 0.0
    under_way: int = 0
    answered: list[tuple[float, float]] = field(default_factory=list)  # when, and after how long
    refused: list[float] = field(default_factory=list)
    busy: float = 0.0

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)  # noqa: S311 - chance, no secret
        self.ready: deque[Callable[[], None]] = deque()
        self.timers: list[tuple[float, int, Callable[[], None]]] = []
        self.count = 0
        self.later(PROBE_S, self.probe)
        if self.pauses[0]:
            self.later(self.pauses[0], self.pause)

    def later(self, seconds: float, what: Callable[[], None]) -> None:
        self.count += 1
        heapq.heappush(self.timers, (self.now + seconds, self.count, what))

    def work(self, seconds: float) -> None:
        self.now += seconds
        self.busy += seconds

    def pause(self) -> None:
        self.now += self.pauses[1]
        self.later(self.pauses[0], self.pause)

    def probe(self) -> None:
        began = self.now
        self.ready.append(lambda: self.ready.append(lambda: self.heard(began)))

    def heard(self, began: float) -> None:
        self.hear(Look(self.now - began, self.under_way, len(self.answered), len(self.refused), self.busy))
        self.later(PROBE_S, self.probe)

    def arrive(self, due: float) -> None:
        if self.under_way >= self.limit():
            self.work(self.refusal_s)
            self.refused.append(self.now)
            return
        self.under_way += 1
        self.turn(due, 0)

    def turn(self, due: float, number: int) -> None:
        self.work(1 / self.peak / TURNS)
        wait = {1: STORE_S, 3: self.engine_s(self.dice), 5: STORE_S}.get(number, 0.0)
        if number == TURNS - 1:
            self.under_way -= 1
            self.answered.append((self.now, self.now - due))
        elif wait:
            self.later(wait, lambda: self.ready.append(lambda: self.turn(due, number + 1)))
        else:
            self.ready.append(lambda: self.turn(due, number + 1))

    def run(self, per_s: float, seconds: float) -> None:
        """Goes on for so long, with so many calls a second."""
        until = self.now + seconds
        due = self.now + self.dice.expovariate(per_s)
        while self.now < until:
            for _ in range(len(self.ready)):
                self.ready.popleft()()
            if not self.ready:
                self.now = max(self.now, min(due, self.timers[0][0]))
            began = self.now
            while self.timers and self.timers[0][0] <= began:
                heapq.heappop(self.timers)[2]()
            while due <= began:
                self.arrive(due)
                due += self.dice.expovariate(per_s)
