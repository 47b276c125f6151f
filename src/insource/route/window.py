"""What was counted in the last seconds, in slices of time: a few numbers, however many calls there were."""

from collections import Counter, deque
from collections.abc import Callable

SLICES = 20


class Window:
    """Counts of the last `seconds`, forgotten a twentieth of that at a time; `clock` gives seconds that never go back.

    What was added is held for `seconds`, and for one slice more at most.
    """

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._slice_s, self._clock = seconds / SLICES, clock
        self._slices: deque[tuple[int, Counter[str]]] = deque()

    def add(self, what: str) -> None:
        """Counts one more of `what`, now."""
        now = int(self._clock() / self._slice_s)
        if not self._slices or self._slices[-1][0] != now:
            self._forget(now)
            self._slices.append((now, Counter()))
        self._slices[-1][1][what] += 1

    def count(self, what: str) -> int:
        """How many of `what` there were."""
        self._forget(int(self._clock() / self._slice_s))
        return sum(counts[what] for _, counts in self._slices)

    def clear(self) -> None:
        """Forgets everything."""
        self._slices.clear()

    def _forget(self, now: int) -> None:
        while self._slices and self._slices[0][0] < now - SLICES:
            self._slices.popleft()
