"""A shelf of limited room: what is put there stays for a while, and the oldest makes room for the new.

Pure: time is told. It knows nothing of what lies on it but its bytes.
"""

from collections.abc import Callable

WEIGHT = 300  # bytes that an entry takes in memory beside its key and its value: two objects and a slot of the table


class Shelf:
    """Values by key, each for `age_s` seconds from when it was put.

    At most `entries` of them lie there, and they take `size` bytes at most. `clock` gives seconds that never go back.
    Not for several threads.
    """

    def __init__(self, *, entries: int, size: int, age_s: float, clock: Callable[[], float]) -> None:
        self._entries, self._most, self._age_s, self._clock = entries, size, age_s, clock
        self._lying: dict[bytes, tuple[float, bytes]] = {}  # in the order in which they were put, so by age
        self.size = 0

    def put(self, key: bytes, value: bytes) -> None:
        """Puts `value` there, in the place of what lay there by that key. What is larger than the shelf is not kept."""
        self._take(key)
        if _weight(key, value) > self._most:
            return
        self._lying[key] = (self._clock(), value)
        self.size += _weight(key, value)
        while len(self._lying) > self._entries or self.size > self._most:
            self._take(next(iter(self._lying)))

    def get(self, key: bytes) -> tuple[float, bytes] | None:
        """The age of a value in seconds, and the value; None where there is none, or it is too old."""
        self.clear_old()
        found = self._lying.get(key)
        return None if found is None else (self._clock() - found[0], found[1])

    def clear_old(self) -> None:
        """Throws away what is too old."""
        old = self._clock() - self._age_s
        while self._lying:
            key, (put, _) = next(iter(self._lying.items()))
            if put > old:
                return
            self._take(key)

    def __len__(self) -> int:
        return len(self._lying)

    def _take(self, key: bytes) -> None:
        found = self._lying.pop(key, None)
        if found is not None:
            self.size -= _weight(key, found[1])


def _weight(key: bytes, value: bytes) -> int:
    return len(key) + len(value) + WEIGHT
