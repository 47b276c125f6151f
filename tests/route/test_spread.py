"""Who of several servers is asked: shorter waits than in turn or by chance, and prefixes found again within a bound."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spread_world import Server, live

from insource.route.spread import OVER, RECENT, Spread, bound

NAMES = ("a:8000", "b:8000", "c:8000")
CALLS = 20_000


def unequal():
    """Three servers, of which one takes three times as long; together they can serve 2.33 calls a second."""
    return [Server(1.0), Server(1.0), Server(3.0)]


def fewest():
    spread = Spread(NAMES)
    return lambda loads, _: spread.pick(loads, range(len(loads)))


def in_turn():
    turns = iter(range(10**9))
    return lambda loads, _: next(turns) % len(loads)


def by_chance():
    dice = random.Random(11)  # noqa: S311 - a simulation
    return lambda loads, _: dice.randrange(len(loads))


@pytest.mark.parametrize("other", [in_turn, by_chance])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_with_unequal_servers_one_in_a_hundred_waits_far_less_than_in_turn_or_by_chance(other, seed):
    # 0.95 calls a second: in turn the slow one is at 95% of what it can do
    ours = live(unequal(), fewest(), CALLS, rate=0.95, seed=seed)
    theirs = live(unequal(), other(), CALLS, rate=0.95, seed=seed)
    assert ours.p99() < theirs.p99() / 5
    assert ours.served[2] < 0.7 * min(ours.served[:2])


def test_where_all_are_idle_nobody_is_better_than_another():
    # the control: without a queue there is nothing to choose by
    equal = [Server(1.0) for _ in NAMES]
    seen = live(equal, fewest(), 3_000, rate=0.001)
    assert seen.p99() == 0.0
    assert max(seen.served) - min(seen.served) <= 30


def tenants(dice):
    """One of sixty long prefixes: three servers that keep thirty each can keep all of them only if they share."""
    return f"tenant {dice.randrange(60)}"


def keeping():
    """Three servers to which a prefix that they have to read is half of the work."""
    return [Server(0.5, kept=30, read_s=0.5) for _ in NAMES]


def aware():
    spread = Spread(NAMES)
    return lambda loads, prefix: spread.pick(loads, range(len(loads)), prefix)


@pytest.mark.parametrize("rate", [0.5, 1.5, 2.4, 2.8])
def test_prefixes_are_found_again_and_no_server_has_more_than_its_bound(rate):
    ours = live(keeping(), aware(), CALLS, rate=rate, prefix=tenants, bound=bound)
    blind = live(keeping(), fewest(), CALLS, rate=rate, prefix=tenants)
    assert 0.45 < blind.hit_rate < 0.55, "half of sixty are kept, wherever a call goes"
    assert ours.hit_rate > 0.85
    assert ours.over <= 0
    assert ours.mean() < 0.8 * blind.mean()
    assert sorted(ours.took)[-CALLS // 100] < sorted(blind.took)[-CALLS // 100]


def test_where_every_server_keeps_every_prefix_there_is_nothing_to_gain():
    # the control: as many prefixes as each of them keeps
    def few(dice):
        return f"tenant {dice.randrange(30)}"

    ours = live(keeping(), aware(), CALLS, rate=2.4, prefix=few, bound=bound)
    blind = live(keeping(), fewest(), CALLS, rate=2.4, prefix=few)
    assert min(ours.hit_rate, blind.hit_rate) > 0.99
    assert ours.over <= 0


def test_without_a_bound_the_load_is_beyond_it():
    # the control: the prefix's own order alone, and two prefixes in three the same
    spread = Spread(NAMES, over=1e9)

    def popular(dice):
        return "everybody's" if dice.random() < 0.3 else f"tenant {dice.randrange(60)}"

    seen = live(keeping(), lambda loads, prefix: spread.pick(loads, range(3), prefix), CALLS, rate=2.4,
                prefix=popular, bound=bound)  # fmt: skip
    assert seen.over > 10
    assert live(keeping(), aware(), CALLS, rate=2.4, prefix=popular, bound=bound).over <= 0


def test_one_prefix_is_spread_over_all():
    seen = live(unequal(), aware(), CALLS, rate=0.95, prefix=lambda _: "the task's instruction")
    alike = live(unequal(), fewest(), CALLS, rate=0.95)
    assert seen.p99() < 1.5 * alike.p99()
    choose = aware()
    assert len({choose([0, 0, 0], "the task's instruction") for _ in range(20)}) == 1, "who is idle keeps its own"


loads_of = st.lists(st.integers(0, 500), min_size=1, max_size=12)


@given(
    loads=loads_of, prefix=st.text(max_size=5), known=st.lists(st.sampled_from("abcdef"), max_size=40), data=st.data()
)
def test_who_is_asked_is_ready_and_within_the_bound(loads, prefix, known, data):
    spread = Spread([f"s{at}" for at in range(len(loads))])
    for each in known:
        spread.pick([0] * len(loads), range(len(loads)), each)
    ready = data.draw(st.lists(st.integers(0, len(loads) - 1), min_size=1, unique=True))
    at = spread.pick(loads, ready, prefix)
    assert at in ready
    assert loads[at] < bound([loads[one] for one in ready])
    if not prefix:
        assert loads[at] == min(loads[one] for one in ready)


def test_a_prefix_has_one_home_in_every_process_and_moves_only_when_that_goes():
    other = [f"tenant {number}" for number in range(300)]

    def homes(names, ready):
        spread = Spread(names)
        return {prefix: names[spread.pick([0] * len(names), ready, prefix)] for prefix in other}

    before, again = homes(NAMES, range(3)), homes(NAMES, range(3))
    assert before == again
    assert min(Counter(before.values()).values()) > 60
    without = homes(NAMES, (0, 2))
    moved = {prefix for prefix in other if without[prefix] != before[prefix]}
    assert moved == {prefix for prefix, name in before.items() if name == NAMES[1]}
    more = homes((*NAMES, "d:8000"), range(4))
    assert {more[prefix] for prefix in other if more[prefix] != before[prefix]} == {"d:8000"}


def test_what_was_everybodys_is_forgotten():
    spread = Spread(NAMES)
    home = spread.pick([0, 0, 0], range(3), "p")
    busy = [5 if at == home else 0 for at in range(3)]
    assert spread.pick(busy, range(3), "p") != home, "it is all there is, so it goes to who has the fewest"
    for number in range(RECENT):
        spread.pick([5, 5, 5], range(3), f"tenant {number}")
    a_little_more = [6 if at == home else 5 for at in range(3)]
    assert spread.pick(a_little_more, range(3), "p") == home
    assert bound(a_little_more, OVER) == 8
