"""Break-even: every crossing of two bills, none invented, none missed."""

from itertools import pairwise

import msgspec
import numpy as np
import pytest
from cases import floats, options, uses
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from insource.nouns.pricing import DAYS, ApiPrice, Effort, MachineRate, Tokens, Use
from insource.price.breakeven import MOST, cheapest, crossings, ranges
from insource.price.cost import Curve, Fleet, Option, curve

CALL = Tokens(input=1000, output=150)
HALF = 1e-6
curves = st.builds(
    lambda fixed, each, step, carries, least: Curve(fixed=fixed, each=each, step=step, carries=carries, least=least),
    floats(0, 20_000),
    floats(0, 1),
    floats(1, 20_000),
    st.just(0.0) | floats(50, 100_000),
    st.integers(0, 3),
).map(lambda bill: bill if bill.carries else msgspec.structs.replace(bill, step=0.0, least=0))


@pytest.mark.parametrize(
    ("price", "requests_per_hour"),
    [
        (ApiPrice(input=2.5, output=10), 625),
        (ApiPrice(input=2, output=10), 714.2857),
        (ApiPrice(input=0.2, output=1.2), 6578.947),
        (ApiPrice(input=0.1, output=0.5), 14285.714),
    ],
    ids=["gpt-4o", "gpt-6-sol", "gpt-5.6-luna", "gpt-6-luna"],
)
def test_a_card_for_two_dollars_and_a_half_against_four_prices(price, requests_per_hour):
    use = Use(calls_per_day=1, tokens=CALL)
    fleet = Fleet(machine=MachineRate(on_demand=2.5), paid="on_demand", calls_per_s=50)
    own, api = (curve(option, use) for option in (Option(name="own", fleet=fleet), Option(name="api", api=price)))
    (turn,) = crossings(own, api, most=1e6)
    assert turn.calls_per_day == pytest.approx(24 * requests_per_hour, rel=1e-5)
    assert turn.first
    assert not turn.step


def test_a_machine_more_turns_it_back_and_all_turns_are_found():
    own = Curve(fixed=0, each=0, step=100, carries=1000, least=1)
    api = Curve(fixed=0, each=0.105)
    found = crossings(own, api)
    assert [(round(turn.calls_per_day, 3), turn.first, turn.step) for turn in found[:5]] == [
        (952.381, True, False), (1000, False, True), (1904.762, True, False), (2000, False, True),
        (2857.143, True, False),
    ]  # fmt: skip
    assert found[-1].first
    assert found[-1].calls_per_day < 21_000
    assert crossings(own, Curve(fixed=0, each=0.05)) == (), "never cheaper"


def test_no_crossing_between_one_and_itself_and_none_where_one_is_dearer_in_all():
    bill = Curve(fixed=10, each=1, step=100, carries=37.3, least=1)
    assert crossings(bill, bill, most=1e5) == ()
    assert crossings(bill, msgspec.structs.replace(bill, fixed=11), most=1e5) == ()


@given(curves, curves)
@settings(deadline=None)
def test_at_a_crossing_the_cheaper_one_changes(one, other):
    found = crossings(one, other, most=1e6)
    places = [0.0, *(turn.calls_per_day for turn in found), 1e6]
    for turn, before, after in zip(found, places, places[2:], strict=False):
        at = turn.calls_per_day
        below, above = at - min(HALF * at, (at - before) / 2), at + min(HALF * at, (after - at) / 2)
        if turn.step:
            below = at
        assert (one.at(above) < other.at(above)) == turn.first, "above it"
        assert (one.at(below) > other.at(below)) == turn.first, "below it"


@given(curves, curves, st.integers(0, 2**31))
@settings(deadline=None)
def test_between_two_crossings_it_is_always_the_same_one(one, other, seed):
    found = crossings(one, other, most=1e6)
    places = np.array([turn.calls_per_day for turn in found])
    drawn = np.random.default_rng(seed).uniform(0, 1, 60) ** 3 * 1e6
    for calls in drawn:
        difference = one.at(calls) - other.at(calls)
        if abs(difference) <= 1e-9 * one.at(calls) or (places.size and np.abs(places / calls - 1).min() < HALF):
            continue
        before = [turn for turn in found if turn.calls_per_day < calls]
        after = [turn for turn in found if turn.calls_per_day >= calls]
        if before:
            assert (difference < 0) == before[-1].first
        if after:
            assert (difference < 0) != after[0].first


@given(curves, curves)
@settings(deadline=None)
def test_the_other_way_round_it_is_the_same(one, other):
    there, back = crossings(one, other, most=1e6), crossings(other, one, most=1e6)
    assert [(turn.calls_per_day, not turn.first) for turn in there] == [
        (pytest.approx(turn.calls_per_day, rel=1e-9), turn.first) for turn in back
    ]


@given(curves, curves, floats(0.01, 100))
@settings(deadline=None)
def test_money_in_another_unit_changes_no_break_even(one, other, rate):
    def in_it(bill):
        return msgspec.structs.replace(bill, fixed=bill.fixed * rate, each=bill.each * rate, step=bill.step * rate)

    here, there = crossings(one, other, most=1e5), crossings(in_it(one), in_it(other), most=1e5)
    assume(len(here) == len(there))
    assert [turn.calls_per_day for turn in here] == pytest.approx([turn.calls_per_day for turn in there], rel=1e-6)


@given(options, options, uses)
@settings(deadline=None)
def test_the_bills_of_two_options_are_equal_where_they_cross(one, other, use):
    bills = curve(one, use), curve(other, use)
    for turn in crossings(*bills, most=1e6):
        if not turn.step:
            here = [bill.at(turn.calls_per_day) for bill in bills]
            step = max(bill.step for bill in bills)
            assert here[0] == pytest.approx(here[1], rel=1e-6, abs=1e-6) or abs(here[0] - here[1]) <= step


@given(st.lists(curves, min_size=2, max_size=5), floats(1, 1e6))
@settings(deadline=None)
def test_the_ranges_name_the_cheapest_everywhere(bills, calls):
    named = {f"option {i}": bill for i, bill in enumerate(bills)}
    found = ranges(named, most=1e6)
    assert (found[0].low, found[-1].high) == (0.0, 1e6)
    assert all(before.high == after.low and before.name != after.name for before, after in pairwise(found))
    here = next(one for one in found if one.low < calls <= one.high)
    near = min(abs(edge / calls - 1) for edge in (max(here.low, 1e-9), here.high))
    best = named[cheapest(named, calls)].at(calls)
    assert near < HALF or named[here.name].at(calls) == pytest.approx(best, rel=1e-9)


def test_a_thousand_machines_are_no_harder_than_one():
    use = Use(calls_per_day=1, tokens=CALL, days=DAYS)
    slow = Option(name="slow", fleet=Fleet(machine=MachineRate(on_demand=0.1), paid="on_demand", calls_per_s=0.01))
    api = Option(name="api", api=ApiPrice(input=2.5, output=10))
    found = crossings(curve(slow, use), curve(api, use), most=MOST)
    assert found[-1].first
    assert found[0].calls_per_day == pytest.approx(0.1 * 24 / 0.004)


def scanned(one, other, most, points):
    """Where the sign of the difference changes, found by looking at many volumes: no arithmetic is trusted."""
    places = np.geomspace(1.0, most, points)
    signs = np.sign([one.at(calls) - other.at(calls) for calls in places])
    return [(places[i], places[i + 1], signs[i + 1] < 0) for i in np.flatnonzero(np.diff(signs))]


def test_a_blind_search_finds_the_same_break_even_in_250_random_cases():
    dice = np.random.default_rng(50)
    turned = 0
    for _ in range(250):
        use = Use(calls_per_day=1, tokens=Tokens(input=dice.uniform(100, 4000), output=dice.uniform(5, 400)),
                  hours_per_day=dice.uniform(4, 24), peak=dice.uniform(1, 4))  # fmt: skip
        cents = dice.uniform(0.05, 5)
        api = Option(name="api", api=ApiPrice(input=cents, output=cents * dice.uniform(2, 8)))
        fleet = Fleet(machine=MachineRate(on_demand=dice.uniform(0.1, 3)), paid="on_demand",
                      calls_per_s=10 ** dice.uniform(-1, 2))  # fmt: skip
        own = Option(name="own", fleet=fleet, escalated=dice.uniform(0, 0.2), above=ApiPrice(input=2, output=10),
                     effort=Effort(fte=dice.uniform(0, 0.25), salary_usd=120_000))  # fmt: skip
        bills = curve(own, use), curve(api, use)
        exact = crossings(*bills, most=1e7)
        for low, high, first in scanned(*bills, 1e7, points=2_000):
            near = [turn for turn in exact if low <= turn.calls_per_day <= high]
            assert near, "found by looking, and not by arithmetic"
            assert near[-1].first == first
            assert high / low < 1.01
            turned += 1
    assert turned > 100
