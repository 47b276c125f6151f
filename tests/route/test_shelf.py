"""A shelf has three ends: of number, of room and of time."""

import pytest

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
