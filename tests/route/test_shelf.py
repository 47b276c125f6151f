"""A shelf has three ends: of number, of room and of time."""

import pytest
from hypothesis import settings
from hypothesis import strategies as some
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from insource.route.shelf import WEIGHT, Shelf


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def shelf(*, entries=3, size=10_000, age_s=10.0) -> tuple[Shelf, Clock]:
    clock = Clock()
    return Shelf(entries=entries, size=size, age_s=age_s, clock=clock), clock


def lying(shelf: Shelf, keys: str) -> str:
    return "".join(key for key in keys if shelf.get(key.encode()) is not None)


def test_what_was_put_is_there_with_its_age():
    one, clock = shelf()
    one.put(b"a", b"x")
    clock.now = 4.0
    assert one.get(b"a") == (4.0, b"x")
    assert one.get(b"b") is None


def test_what_is_too_old_is_gone_and_takes_no_room():
    one, clock = shelf()
    one.put(b"a", b"x")
    clock.now = 9.99
    one.put(b"b", b"y")
    assert lying(one, "ab") == "ab"
    clock.now = 10.0
    assert lying(one, "ab") == "b"
    assert (len(one), one.size) == (1, 2 + WEIGHT)
    clock.now = 50.0
    one.clear_old()
    assert (len(one), one.size) == (0, 0)


def test_to_be_asked_for_makes_nothing_younger():
    one, clock = shelf()
    one.put(b"a", b"x")
    for clock.now in (3.0, 6.0, 9.0):
        assert one.get(b"a") is not None
    clock.now = 10.0
    assert one.get(b"a") is None


def test_to_be_put_again_does():
    one, clock = shelf()
    one.put(b"a", b"x")
    clock.now = 1.0
    one.put(b"b", b"y")
    clock.now = 8.0
    one.put(b"a", b"z")
    clock.now = 11.5
    assert lying(one, "ab") == "a"
    assert one.get(b"a") == (3.5, b"z")
    assert one.size == 2 + WEIGHT


@pytest.mark.parametrize("limits", [{"entries": 3}, {"entries": 100, "size": 3 * (WEIGHT + 2)}])
def test_the_oldest_make_room(limits):
    one, _ = shelf(**limits)
    for key in (b"a", b"b", b"c"):
        one.put(key, b"x")
    one.get(b"a")
    one.put(b"d", b"x")
    assert lying(one, "abcd") == "bcd"
    assert one.size == 3 * (WEIGHT + 2)


def test_what_is_larger_than_the_shelf_is_not_kept_and_turns_nobody_out():
    one, _ = shelf(size=2 * (WEIGHT + 2))
    one.put(b"a", b"x")
    one.put(b"b", b"x" * 1000)
    assert lying(one, "ab") == "a"
    one.put(b"a", b"x" * 1000)  # what is there by that key is no longer true
    assert (lying(one, "ab"), one.size) == ("", 0)


class ShelfMachine(RuleBasedStateMachine):
    """Anything put and asked for in any order, and time: what lies there is what a list of all that was put says."""

    def __init__(self) -> None:
        super().__init__()
        self.shelf, self.clock = shelf(entries=4, size=4 * WEIGHT, age_s=8.0)
        self.lying: list[tuple[bytes, bytes, float]] = []  # the oldest first

    def there(self) -> dict[bytes, tuple[bytes, float]]:
        return {key: (value, at) for key, value, at in self.lying if self.clock.now - at < 8.0}

    @rule(key=some.sampled_from([b"a", b"b", b"c", b"d", b"e"]), size=some.integers(0, 1200))
    def put(self, key, size):
        self.shelf.clear_old()
        value = bytes([size % 256]) * size
        self.shelf.put(key, value)
        self.lying = [one for one in self.lying if one[0] != key and self.clock.now - one[2] < 8.0]
        self.lying += [(key, value, self.clock.now)] if len(key) + size + WEIGHT <= 4 * WEIGHT else []
        while len(self.lying) > 4 or sum(len(one[0]) + len(one[1]) + WEIGHT for one in self.lying) > 4 * WEIGHT:
            self.lying.pop(0)

    @rule(seconds=some.sampled_from([0.5, 1.0, 3.0, 9.0]))
    def wait(self, seconds):
        self.clock.now += seconds

    @rule(key=some.sampled_from([b"a", b"b", b"c", b"d", b"e", b"f"]))
    def get(self, key):
        found, known = self.shelf.get(key), self.there().get(key)
        assert found == (None if known is None else (self.clock.now - known[1], known[0]))

    @invariant()
    def it_holds_what_it_may(self):
        self.shelf.clear_old()
        known = self.there()
        assert len(self.shelf) == len(known) <= 4
        assert self.shelf.size == sum(len(key) + len(value) + WEIGHT for key, (value, _) in known.items()) <= 4 * WEIGHT


TestShelf = ShelfMachine.TestCase
TestShelf.settings = settings(max_examples=200, stateful_step_count=50, deadline=None)
