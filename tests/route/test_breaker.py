"""The breaker and the retry budget: a table of stories, and machines that compare them with all that happened."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from insource.route.breaker import Breaker, Rules
from insource.route.retries import Allowance, Retries
from insource.route.window import SLICES, Window

RULES = Rules(row=3, share=0.5, least=8, window_s=10.0, pause_s=1.0, longest_s=8.0)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.25

    def __call__(self) -> float:
        return self.now


# A story: a word per call ("a" answered, "f" failed, "u" unknown, "-" refused), a number for seconds that pass,
# and a state in brackets for what it must be there.
STORIES = {
    "a fresh one is closed": "[closed] a [closed]",
    "failures in a row open it": "f f [closed] f [open] -",
    "an answer ends the row": "f f a f f [closed] f [open]",
    "what is unknown neither ends the row nor lengthens it": "f f u u [closed] f [open]",
    "half of at least eight calls open it": "a f a f a f a [closed] f [open]",
    "what is older than the window does not count": "a f a f a f a 11 f [closed] f f [open]",
    "after the pause one call goes, and its answer closes it": "f f f 0.9 - 0.2 a [closed] a",
    "a probe that fails opens it for twice as long": "f f f 1 f [open] 1.9 - 0.2 f 3.9 - 0.2 a [closed]",
    "the pause has a limit": "f f f 1 f 2 f 4 f 8 f 7.9 - 0.2 f 7.9 - 0.2 a [closed]",
    "a cancelled probe frees its place at once": "f f f 1 u [open] a [closed]",
    "closed again it has forgotten": "f f f 1 a f f [closed] f [open] 1 a",
    "the pause is short again after it was closed": "f f f 1 f 2 a f f f 0.9 - 0.2 a [closed]",
}
WORDS = {"a": "answered", "f": "failed", "u": "unknown"}


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
def test_the_story(story):
    clock = Clock()
    breaker = Breaker(RULES, clock)
    for number, word in enumerate(story.split()):
        where = f"{' '.join(story.split()[: number + 1])!r}"
        if word[0] == "[":
            assert breaker.state == word[1:-1], where
        elif word[0].isdigit():
            clock.now += float(word)
        else:
            permit = breaker.admit()
            assert (permit is None) == (word == "-"), where
            if permit is not None:
                permit.settle(WORDS[word])


def test_what_was_under_way_when_it_opened_is_no_news_later():
    clock = Clock()
    breaker = Breaker(RULES, clock)
    late = [breaker.admit() for _ in range(6)]
    for permit in late[:3]:
        permit.settle("failed")
    wait = breaker.wait_s
    late[3].settle("failed")
    late[4].settle("answered")
    assert (breaker.state, breaker.wait_s) == ("open", wait)
    clock.now += 1
    breaker.admit().settle("answered")
    late[5].settle("failed")
    assert breaker.state == "closed"


def test_a_hundred_at_once_get_one_probe():
    clock = Clock()
    breaker = Breaker(RULES, clock)
    for _ in range(3):
        breaker.admit().settle("failed")
    clock.now += 1
    assert [permit.probe for _ in range(100) if (permit := breaker.admit())] == [True]


class BreakerMachine(RuleBasedStateMachine):
    """Any mix of calls under way, outcomes in any order, settled once or again, and time."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.breaker = Breaker(RULES, self.clock)
        self.under_way, self.settled = [], []
        self.opened_at = math.inf

    def probes(self) -> list:
        return [permit for permit in self.under_way if permit.probe]

    @rule()
    def call(self):
        state, wait = self.breaker.state, self.breaker.wait_s
        permit = self.breaker.admit()
        if state == "closed":
            assert permit is not None
            assert not permit.probe
        elif state == "probing" or wait > 0:
            assert permit is None
        else:
            assert permit is not None
            assert permit.probe
        if permit is not None:
            self.under_way.append(permit)

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), outcome=st.sampled_from(["answered", "failed", "failed", "unknown"]))
    def settle(self, data, outcome):
        permit = self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1)))
        before = self.breaker.state
        permit.settle(outcome)
        self.settled.append(permit)
        after = self.breaker.state
        if permit.probe:
            assert after == {"answered": "closed", "failed": "open", "unknown": "open"}[outcome]
            assert outcome != "unknown" or self.breaker.wait_s == 0, "a cancelled probe frees its place"
        elif before != "closed":
            assert after == before, "who was let through earlier changes nothing"

    @precondition(lambda self: self.settled)
    @rule(data=st.data(), outcome=st.sampled_from(["answered", "failed", "unknown"]))
    def settle_again(self, data, outcome):
        before = self.breaker.state, self.breaker.wait_s
        data.draw(st.sampled_from(self.settled)).settle(outcome)
        assert (self.breaker.state, self.breaker.wait_s) == before

    @rule(seconds=st.sampled_from([0.1, 0.5, 1.0, 2.0, 9.0, 11.0]))
    def pass_by(self, seconds):
        self.clock.now += seconds

    @invariant()
    def never_two_probes(self):
        assert len(self.probes()) == (self.breaker.state == "probing")

    @invariant()
    def the_pause_has_its_limit(self):
        assert 0 <= self.breaker.wait_s <= RULES.longest_s
        assert self.breaker.refuses == (self.breaker.state == "probing" or self.breaker.wait_s > 0)


class RetryMachine(RuleBasedStateMachine):
    """Retries granted against the calls of the last seconds, counted one by one."""

    RULES = Allowance(share=0.25, floor=2, window_s=10.0)

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.retries = Retries(self.RULES, self.clock)
        self.calls, self.granted = [], []

    def since(self, times, seconds) -> int:
        return sum(self.clock.now - at < seconds for at in times)

    @rule()
    def call(self):
        self.retries.called()
        self.calls.append(self.clock.now)

    @rule()
    def again(self):
        window, slack = self.RULES.window_s, self.RULES.window_s * 1.05 + 1e-6
        most = self.RULES.floor + self.RULES.share * self.since(self.calls, slack)
        sure = self.RULES.floor + self.RULES.share * self.since(self.calls, window)
        if self.retries.take():
            assert self.since(self.granted, window) + 1 <= most
            self.granted.append(self.clock.now)
        else:
            assert self.since(self.granted, slack) + 1 > sure

    @rule(seconds=st.sampled_from([0.1, 0.6, 3.0, 10.0, 11.0]))
    def pass_by(self, seconds):
        self.clock.now += seconds


TestBreaker = BreakerMachine.TestCase
TestBreaker.settings = settings(max_examples=200, stateful_step_count=50, deadline=None)
TestRetries = RetryMachine.TestCase
TestRetries.settings = settings(max_examples=200, stateful_step_count=50, deadline=None)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(0, 4), max_size=60))
def test_a_window_counts_what_is_younger_and_at_most_a_slice_more(gaps):
    clock = Clock()
    window, times = Window(10.0, clock), []
    for gap in gaps:
        clock.now += gap
        window.add("x")
        times.append(clock.now)
    ages = [clock.now - at for at in times]
    slack = 1e-6
    assert sum(age < 10.0 - slack for age in ages) <= window.count("x")
    assert window.count("x") <= sum(age < 10.0 * (1 + 1 / SLICES) + slack for age in ages)
    assert window.count("y") == 0
