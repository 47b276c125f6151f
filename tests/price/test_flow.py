"""Cash month by month."""

import msgspec
import pytest
from cases import floats, options, uses
from hypothesis import given, settings
from hypothesis import strategies as st

from insource.nouns.pricing import ApiPrice, Effort, MachineRate, Owned, Tokens, Use
from insource.price.cost import Fleet, Option, cost
from insource.price.flow import flow

API = Option(name="api", api=ApiPrice(input=2.5, output=10))
USE = Use(calls_per_day=10_000, tokens=Tokens(input=1000, output=150), days=30)


def own(price_usd=7200.0, years=3.0, **effort):
    machine = MachineRate(owned=Owned(price_usd=price_usd, years=years, upkeep_usd=200))
    return Option(name="own", fleet=Fleet(machine=machine, paid="owned", calls_per_s=10), effort=Effort(**effort))


def test_what_is_put_in_comes_back_after_so_many_months():
    found = flow(API, own(once_usd=2800), USE)
    assert found.invested_usd == pytest.approx(10_000)
    assert [round(month.sum_usd) for month in found.months[:3]] == [-10_000, -9000, -8000]
    assert found.payback == pytest.approx(10)
    assert found.saved_usd == pytest.approx(14_000)
    assert len(found.months) == 25


def test_a_machine_is_bought_again_when_its_life_is_over():
    found = flow(API, own(years=0.5), USE, months=12)
    paid = [month.after_usd for month in found.months]
    assert paid == pytest.approx([7200, *[200] * 5, 7400, *[200] * 6])
    assert found.payback is None, "the second machine comes before the first is paid"
    assert flow(API, own(years=0.5), USE, months=18).payback is None
    assert flow(API, own(price_usd=4200, years=0.5), USE, months=12).payback == pytest.approx(8.4)


def test_what_never_pays_has_no_payback_and_what_costs_nothing_has_paid_at_once():
    assert flow(API, own(fte=0.5, salary_usd=120_000), USE).payback is None
    assert flow(API, Option(name="luna", api=ApiPrice(input=0.1, output=0.5)), USE).payback == 0
    assert flow(API, API, USE).payback == 0


def test_a_flow_of_no_month_is_refused():
    with pytest.raises(ValueError, match="one month"):
        flow(API, own(), USE, months=0)


@given(options, options, uses, st.integers(1, 60))
@settings(deadline=None)
def test_the_sum_is_the_sum(before, after, use, months):
    found = flow(before, after, use, months)
    total = sum(month.before_usd - month.after_usd for month in found.months)
    size = sum(month.before_usd + month.after_usd for month in found.months) + 1
    assert found.saved_usd == pytest.approx(total, abs=1e-9 * size)
    assert found.months[-1].sum_usd == found.saved_usd
    back = flow(after, before, use, months)
    assert back.saved_usd == pytest.approx(-found.saved_usd, abs=1e-9 * size)


@given(options, uses, st.sampled_from([0.05, 0.125, 0.25, 0.5, 1, 2, 3, 4]), st.integers(1, 10))
@settings(deadline=None)
def test_over_whole_lives_of_its_machines_an_option_costs_what_its_bill_says(option, use, years, lives):
    fleet = option.fleet
    if fleet is not None:
        owned = msgspec.structs.replace(fleet.machine.owned, years=float(years))
        machine = msgspec.structs.replace(fleet.machine, owned=owned)
        option = msgspec.structs.replace(option, fleet=msgspec.structs.replace(fleet, machine=machine))
    months = round(12 * years * lives)
    if months < 1 or months != 12 * years * lives:
        return
    found = flow(option, API, use, months)
    paid = sum(month.before_usd for month in found.months)
    assert paid == pytest.approx(cost(option, use, months).month_usd * months, rel=1e-9)


@given(options, options, uses, floats(0, 1))
@settings(deadline=None)
def test_from_its_payback_on_it_is_never_below_zero(before, after, use, place):
    found = flow(before, after, use)
    if found.payback is None:
        assert found.months[-1].sum_usd < 0
        return
    assert all(month.sum_usd >= 0 for month in found.months if month.number >= found.payback)
    if found.payback:
        under = found.months[int(found.payback - 1e-9)]
        assert under.sum_usd < 0
