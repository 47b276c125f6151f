"""The bill of a month: known cases, and what must hold for every one."""

import math

import msgspec
import pytest
from cases import apis, fleets, options, owned, people, tokens, uses
from hypothesis import given, settings
from hypothesis import strategies as st

from insource.nouns.pricing import DAYS, ApiPrice, Effort, MachineRate, Owned, People, Tokens, Use
from insource.price.cost import Fleet, Option, bought, cost, curve

replace = msgspec.structs.replace
GPT_4O = ApiPrice(name="gpt-4o", input=2.5, output=10, cached_input=1.25)
LUNA = ApiPrice(name="gpt-6-luna", input=0.1, output=0.5)
CALL = Tokens(input=1000, output=150)


def lines(found):
    return {line.name: line.usd for line in found.lines}


def test_an_api_costs_its_tokens():
    assert GPT_4O.call(CALL) == pytest.approx(0.004)
    assert GPT_4O.call(Tokens(input=1000, cached=800, output=150)) == pytest.approx(0.0005 + 0.001 + 0.0015)
    assert LUNA.call(Tokens(input=1000, cached=800, output=150)) == pytest.approx(LUNA.call(CALL)), "no cached price"
    found = cost(Option(name="api", api=GPT_4O), Use(calls_per_day=1000, tokens=CALL, days=30))
    assert found.month_usd == pytest.approx(120)
    assert found.call_usd == pytest.approx(0.004)
    assert (found.machines, found.utilisation, found.once_usd) == (0, None, 0)


def test_how_busy_machines_are_follows_from_what_comes_and_what_one_answers():
    fleet = Fleet(machine=MachineRate(on_demand=2.5), paid="on_demand", calls_per_s=2.0)
    busy = Use(calls_per_day=5 * 86_400)
    found = cost(Option(name="own", fleet=fleet), busy)
    assert found.machines == 3, "5 a second at 2 a second"
    assert found.utilisation == pytest.approx(5 / 6)
    assert lines(found) == {"machines": pytest.approx(3 * 2.5 * 24 * DAYS)}
    assert cost(Option(name="own", fleet=fleet), replace(busy, peak=2.0)).machines == 5
    idle = cost(Option(name="own", fleet=fleet), Use(calls_per_day=86.4))
    assert (idle.machines, idle.utilisation) == (1, pytest.approx(0.0005))
    assert cost(Option(name="own", fleet=fleet), Use(calls_per_day=0)).call_usd is None


def test_what_is_reserved_is_paid_all_day_and_what_is_on_demand_while_it_works():
    machine = MachineRate(
        on_demand=2.0, reserved=1.5, spot=0.5, owned=Owned(price_usd=3600, watts=500, usd_per_kwh=0.2)
    )
    assert machine.month("on_demand", 200) == 400
    assert machine.month("reserved", 200) == pytest.approx(1.5 * 730)
    assert machine.month("spot", 200) == 100
    assert machine.month("owned", 200) == pytest.approx(100 + 20)
    assert machine.ways == ("on_demand", "reserved", "spot", "owned")


def test_a_call_that_goes_on_pays_both():
    use = Use(calls_per_day=1000, tokens=CALL, days=30)
    found = cost(Option(name="two", api=LUNA, escalated=0.1, above=GPT_4O), use)
    assert lines(found) == {"API": pytest.approx(5.25), "escalation": pytest.approx(12.0)}
    none = cost(Option(name="one", api=LUNA), use)
    assert found.month_usd - none.month_usd == pytest.approx(0.1 * 1000 * 30 * GPT_4O.call(CALL))


def test_people_and_engineers_are_on_the_bill():
    use = Use(calls_per_day=1000, tokens=CALL, days=30)
    effort = Effort(rows=5000, usd_per_row=0.48, training_hours=4, training_usd_per_hour=3, trainings_per_year=4,
                    fte=0.25, salary_usd=120_000)  # fmt: skip
    option = Option(name="x", api=LUNA, people=People(share=0.05, minutes=2, usd_per_hour=45), effort=effort)
    assert lines(cost(option, use)) == pytest.approx({
        "API": 5.25, "people": 0.05 * 30_000 * 1.5, "training again": 4, "engineering": 2500, "labelling": 100,
        "first training": 0.5,
    })  # fmt: skip
    assert cost(option, use).once_usd == pytest.approx(2412)


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="not by both"):
        Option(name="x", api=LUNA, fleet=Fleet(machine=MachineRate(spot=1), paid="spot", calls_per_s=1))
    with pytest.raises(ValueError, match="nobody is named"):
        Option(name="x", api=LUNA, escalated=0.1)
    with pytest.raises(ValueError, match="no rate for on demand"):
        Fleet(machine=MachineRate(spot=1), paid="on_demand", calls_per_s=1)
    with pytest.raises(ValueError, match="above 0"):
        Fleet(machine=MachineRate(spot=1), paid="spot", calls_per_s=0)
    with pytest.raises(ValueError, match="part of its input"):
        Tokens(input=1, cached=2)


@given(options, uses)
@settings(deadline=None)
def test_the_bill_is_the_sum_of_its_lines_and_a_place_on_the_curve(option, use):
    found = cost(option, use)
    assert found.month_usd == pytest.approx(sum(line.usd for line in found.lines), rel=1e-9)
    assert found.month_usd == pytest.approx(curve(option, use).at(use.calls_per_day), rel=1e-9, abs=1e-9)
    assert found.month_usd == pytest.approx(found.call_usd * use.calls_per_month, rel=1e-9)
    assert -1e-9 <= found.running_usd <= found.month_usd
    assert found.once_usd >= (found.month_usd - found.running_usd) * 24 - 1e-9 * found.month_usd - 1e-9


@given(owned, uses)
@settings(deadline=None)
def test_machines_carry_what_comes_and_none_is_too_many(option, use):
    found, fleet = cost(option, use), option.fleet
    busiest = use.calls_per_s * use.peak
    assert found.machines * fleet.calls_per_s >= busiest * (1 - 1e-8)
    assert found.machines == fleet.least or (found.machines - 1) * fleet.calls_per_s < busiest
    assert found.utilisation <= 1 / use.peak + 1e-8
    assert found.utilisation == pytest.approx(use.calls_per_s / (found.machines * fleet.calls_per_s))


@given(apis, tokens, st.floats(0.01, 100))
@settings(deadline=None)
def test_twice_the_tokens_or_twice_the_price_is_twice_the_cost(api, call, factor):
    more = Tokens(input=call.input * factor, cached=call.cached * factor, output=call.output * factor)
    assert api.call(more) == pytest.approx(factor * api.call(call), rel=1e-9)
    cached = None if api.cached_input is None else api.cached_input * factor
    dearer = ApiPrice(input=api.input * factor, output=api.output * factor, cached_input=cached)
    assert dearer.call(call) == pytest.approx(factor * api.call(call), rel=1e-9)


@given(fleets, uses, people, st.integers(1, 50))
@settings(deadline=None)
def test_so_many_times_the_calls_on_so_much_faster_machines_need_as_many(fleet, use, looked, times):
    bill = cost(Option(name="x", fleet=fleet, people=looked), use)
    faster = replace(fleet, calls_per_s=fleet.calls_per_s * times)
    more = cost(Option(name="x", fleet=faster, people=looked), replace(use, calls_per_day=use.calls_per_day * times))
    assert more.machines == bill.machines
    assert lines(more).get("people", 0) == pytest.approx(times * lines(bill).get("people", 0))


@given(options, uses, st.floats(1, 100))
@settings(deadline=None)
def test_more_calls_never_cost_less_and_a_call_never_less_than_its_part(option, use, factor):
    bill = curve(option, use)
    assert bill.at(use.calls_per_day * factor) >= bill.at(use.calls_per_day) * (1 - 1e-12)
    assert bill.at(use.calls_per_day) >= bill.each * use.calls_per_day
    assert math.isfinite(bill.slope)


@given(owned, uses)
@settings(deadline=None)
def test_only_what_is_owned_is_bought(option, use):
    if option.fleet.paid == "owned":
        assert bought(option, use) == cost(option, use).machines * option.fleet.machine.owned.price_usd
    else:
        assert bought(option, use) == 0
