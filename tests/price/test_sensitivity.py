"""Which input decides, and where it flips."""

import msgspec
import pytest
from cases import hosted, options, owned, uses
from hypothesis import assume, given, settings

from insource.nouns.pricing import ApiPrice, Effort, MachineRate, People, Tokens, Use
from insource.price.cost import Fleet, Option
from insource.price.sensitivity import Case, knobs, sensitivity
from insource.price.sensitivity import _turned as turned

USE = Use(calls_per_day=20_000, tokens=Tokens(input=1000, output=150), days=30)
CARD = Fleet(machine=MachineRate(on_demand=2.5), paid="on_demand", calls_per_s=10)
OWN = Option(name="own", fleet=CARD, effort=Effort(fte=0.25, salary_usd=24_000))
API = Option(name="api", api=ApiPrice(name="x", input=2.5, output=10))


def by_name(case):
    return {swing.name: swing for swing in sensitivity(case)}


def test_each_input_flips_where_arithmetic_says():
    found = by_name(Case(one=OWN, other=API, use=USE))
    assert found["calls a day"].flips_at == pytest.approx((1800 + 500) / (30 * 0.004))
    assert found["price of x"].flips_at == pytest.approx(2.5 * 2300 / 2400)
    assert found["machine rate, own"].flips_at == pytest.approx(1900 / 720)
    assert found["engineers, own"].flips_at == pytest.approx(0.3)
    assert (found["engineers, own"].low, found["engineers, own"].high) == (0.25, 0.5)
    assert found["engineer's salary, own"].flips_at == pytest.approx(28_800)
    assert found["calls a machine answers, own"].flips_at == pytest.approx(20_000 / 86_400), "a second machine"


def test_what_moves_nothing_is_no_input_and_the_widest_comes_first():
    swings = sensitivity(Case(one=OWN, other=API, use=USE))
    assert [swing.width for swing in swings] == sorted((swing.width for swing in swings), reverse=True)
    assert all(swing.width or swing.flips_at for swing in swings)
    names = {swing.name for swing in swings}
    assert "price of own" not in names
    assert "rows to label, own" not in names


def test_a_share_is_never_more_than_all_and_a_peak_never_below_the_mean():
    reviewed = msgspec.structs.replace(OWN, escalated=0.8, above=API.api)
    found = by_name(Case(one=reviewed, other=API, use=msgspec.structs.replace(USE, peak=1.5, hours_per_day=20)))
    assert found["escalated share, own"].high == pytest.approx(1.0)
    assert found["hours a day"].high == pytest.approx(24)


@given(options, options, uses)
@settings(max_examples=30, deadline=None)
def test_on_one_side_of_where_it_flips_the_one_is_cheaper_on_the_other_the_other(one, other, use):
    case = Case(one=one, other=msgspec.structs.replace(other, name="other"), use=use)
    now = case.difference > 0
    table = {knob.name: knob for knob in knobs(case)}
    for swing in sensitivity(case):
        if swing.flips_at is None:
            continue
        factor = swing.flips_at / swing.base
        inner, outer = (factor * (1 - 1e-9), factor * (1 + 1e-9))
        if factor < 1:
            inner, outer = outer, inner
        edge = turned(case, table[swing.name], inner).difference, turned(case, table[swing.name], outer).difference
        noise = 1e-6 * (abs(edge[0]) + 1)
        assert (edge[0] > -noise) if now else (edge[0] < noise)
        assert (edge[1] < noise) if now else (edge[1] > -noise)


@given(owned, hosted, uses)
@settings(max_examples=30, deadline=None)
def test_a_dearer_api_makes_owning_better(one, other, use):
    case = Case(one=one, other=other, use=use)
    swing = by_name(case).get("price of hosted's api")
    assume(swing is not None)
    assert swing.low_usd > swing.high_usd


def test_one_api_has_one_price_wherever_it_is_asked():
    sends_up = msgspec.structs.replace(OWN, escalated=0.5, above=API.api)
    found = by_name(Case(one=sends_up, other=API, use=USE))
    assert [name for name in found if name.startswith("price of")] == ["price of x"]
    per_call = 0.004 * 20_000 * 30
    assert found["price of x"].high_usd == pytest.approx(2300 - 0.5 * 1.25 * per_call)


def test_what_a_review_takes_is_the_same_on_both_sides():
    looked = People(share=0.1, minutes=2, usd_per_hour=30)
    both = [msgspec.structs.replace(option, people=looked) for option in (OWN, API)]
    assert "minutes of a review" not in by_name(Case(one=both[0], other=both[1], use=USE)), "it cancels out"
    found = by_name(Case(one=both[0], other=API, use=USE))
    assert found["minutes of a review"].width == pytest.approx(0.1 * (4 - 1) / 60 * 30 * 600_000)
