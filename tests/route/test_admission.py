"""The limit on calls at once: a table of looks, and a model of a process in which it must keep its promises."""

import pytest
from loop_model import Loop

from insource.route.admission import Admission, Look, Rules


def at(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(share * len(values)))]


class Process:
    """Looks, a millisecond apart, in the order of a story."""

    def __init__(self, most=400, **rules):
        self.now, self.busy, self.ended, self.refused = 50.0, 0.0, 0, 0
        plain = {"wait": 0.0, "shortest_s": 0.005, "least": 32, "room": 1.0}
        self.admission = Admission(most, Rules(**plain | rules), lambda: self.now)

    def look(self, seconds, waited_ms, under_way, busy=0.9, refused=1):
        for _ in range(round(seconds * 1000)):
            self.now, self.busy, self.ended = self.now + 0.001, self.busy + 0.001 * busy, self.ended + 1
            self.refused += refused
            self.admission.hear(Look(waited_ms / 1000, under_way, self.ended, self.refused, self.busy))
        return self.admission.limit


def test_a_burst_changes_nothing_and_a_wait_that_stands_ends_the_taking():
    process = Process()
    assert process.look(1.0, 0.1, 100) == 400
    assert process.look(0.02, 40.0, 150) == 400
    assert process.look(0.03, 1.0, 100) == 400
    assert process.look(0.035, 40.0, 150) == 150


def test_the_limit_falls_once_in_the_time_that_shows_what_came_of_the_last_fall():
    process = Process(interval_s=0.1)
    process.look(0.11, 0.1, 100)
    assert process.look(0.12, 20.0, 100) == 50  # half, the steepest, and the square root of 5 to 20
    assert process.look(0.1, 20.0, 90) == 50  # a call takes 0.1 s: nothing of it can be seen yet
    assert process.look(0.25, 20.0, 50) == 32  # and never below that
    assert process.look(9.0, 20.0, 32) == 32


def test_it_grows_the_slower_the_nearer_the_wait_is_to_what_is_wanted():
    quick, slow = Process(), Process()
    for process in (quick, slow):
        process.look(0.4, 50.0, 100)
    assert (quick.look(1.0, 0.0, 30), slow.look(1.0, 4.5, 30)) == (69, 41)
    assert quick.look(60.0, 0.0, 30) == 400


def test_who_waits_for_the_answer_before_the_next_call_is_never_refused():
    process = Process(room=1.25)
    assert process.look(5.0, 40.0, 200, refused=0) == 250
    assert process.look(5.0, 40.0, 200, refused=1) == 32


def test_the_wait_that_is_wanted_follows_the_time_of_a_call():
    process = Process(wait=1 / 24, shortest_s=0.006, longest_s=0.1)
    assert process.admission.target_s == 0.006
    process.look(5.0, 0.1, 50)
    assert process.admission.target_s == 0.006  # of 50 ms
    process.look(5.0, 0.1, 360)
    assert process.admission.target_s == pytest.approx(0.015, rel=0.05)  # of 360 ms
    process.look(20.0, 0.1, 6000)
    assert process.admission.target_s == 0.1


def test_where_others_hold_the_processor_fewer_calls_would_not_help():
    assert Process().look(3.0, 50.0, 300, busy=0.1) == 400
    assert Process().look(3.0, 50.0, 300, busy=0.9) == 32


def test_a_limit_smaller_than_the_least_stays_what_it_is():
    assert Process(most=2).look(3.0, 50.0, 2) == 2


def steady(seconds):
    return lambda dice: seconds


CASES = {
    "short calls": (1000, steady(0.25)),
    "a quick processor": (2000, steady(0.25)),
    "long calls": (500, steady(1.0)),
    "calls of every length": (500, lambda dice: dice.expovariate(1.0)),
}


@pytest.mark.parametrize("name", CASES)
def test_three_times_the_peak_costs_neither_answers_nor_time(name):
    peak, engine_s = CASES[name]
    loop = Loop(peak, engine_s)
    admission = Admission(4096, Rules(), lambda: loop.now)
    loop.hear, loop.limit = admission.hear, lambda: admission.limit
    loop.run(0.75 * peak, 10)
    usual = at([took for _, took in loop.answered], 0.99)
    assert not loop.refused
    loop.run(3 * peak, 5)  # the limit is found within seconds
    answered, began = len(loop.answered), loop.now
    loop.run(3 * peak, 10)
    over = [took for _, took in loop.answered[answered:]]
    assert len(over) / (loop.now - began) > 0.8 * peak  # what is refused costs some, too
    assert at(over, 0.99) < 2 * usual
    began = loop.now
    loop.run(0.75 * peak, 10)
    assert not [when for when in loop.refused if when > began + 2]


def test_without_it_the_same_process_answers_nobody_in_time():
    loop = Loop(1000, steady(0.05))
    loop.run(3000, 5)
    assert at([took for _, took in loop.answered], 0.5) > 1.0


def test_a_processor_that_is_gone_now_and_then_is_no_overload():
    loop = Loop(1000, steady(0.1), pauses=(1.0, 0.03))
    admission = Admission(4096, Rules(), lambda: loop.now)
    loop.hear, loop.limit = admission.hear, lambda: admission.limit
    loop.run(500, 20)
    assert len(loop.refused) < 100  # of ten thousand
