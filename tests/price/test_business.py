"""A case's figures are the cost core's, its workbook computes the same, and nothing in it is without a source."""

import re

import msgspec
import pytest
from cases import apis, efforts, fleets, floats, uses
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st
from recomputed import Recomputed

from insource.nouns.business import Counted, Figure, Quality, Stage, Told
from insource.nouns.pricing import ApiPrice, Effort, MachineRate, Owned, People, TaskPricing, Tokens, Use
from insource.price.business import Given, business
from insource.price.business_bill import payback
from insource.price.business_page import html, markdown
from insource.price.business_sheet import plain, sheet
from insource.price.business_terms import EFFORT, KNOWN
from insource.price.compare import compare
from insource.price.cost import Fleet, Option, bought, cost
from insource.price.flow import Month, _payback, flow
from insource.price.formula import evaluate, names, words
from insource.price.known import Known

CENT = 0.005
PILOT = tuple(Figure(key=f"pilot.{name}", name=f"days {name}", value=days, unit="days", how="assumed", of="usual")
              for name, days in (("staging", 14), ("shadow", 7), ("canary", 2)))  # fmt: skip
HAND = {"human_minutes": 6.0, "human_usd_per_hour": 30.0}


def given(quality=None, hands=(0.0, 0.0), criteria=True, **said):
    shares = zip(("share done by hand today", "share left by hand"), hands, strict=True)
    known = [
        Known(name=name, value=value, unit="share", how="declared", of=f"[price] {name}") for name, value in shares
    ]
    demanded = Told(name="accuracy", words="at least 88% accuracy on the holdout", how="declared", of="tasks/t.toml")
    gone = Told(name="criteria", words="missing", how="missing", of="tasks/t.toml")
    return Given(
        owner="desk@shop.example",
        said=TaskPricing(**said),
        hands=tuple(known),
        quality=quality or Quality(),
        stages=(Stage(name="assessment and pilot", state="here", needs=(("500 rows", "12", False),)),),
        governance=(Told(name="owner", words="desk@shop.example", how="declared", of="tasks/t.toml owner"),),
        criteria=(demanded if criteria else gone,),
        months=Figure(key="months", name="months of the case", value=24, unit="months", how="assumed", of="usual"),
        days=PILOT,
        trial=(10, 2.0, 200, 0.02),
    )


def case(now, then, use, **more):
    found = compare([now, then], use, today=now.name)
    known = tuple(Known(name=name, value=0.0, unit="", how="assumed", of=f"as a test has it: {name}")
                  for key, name in KNOWN.items() if key not in (*EFFORT, "hand.share", "hand.left"))  # fmt: skip
    return business(msgspec.structs.replace(found, task="tickets", created="2026-11-27", known=known), given(**more))


def figures(found):
    told = [*found.inputs, *(one for section in found.sections for one in section.figures),
            *(one for month in found.cash for one in (month.now, month.then, month.saved, month.payback))]  # fmt: skip
    return {one.key: one for one in told}


def ways(api, fleet, above, effort, share, minutes, rate):
    """Today's API, and what is proposed; people look at answers of both for as long and for as much."""
    looked = People(share=share, minutes=minutes, usd_per_hour=rate)
    named = [msgspec.structs.replace(one, name=name) for one, name in ((api, "api"), (above, "above"))]
    own = Option(name="own", fleet=fleet, escalated=share / 2, above=named[1], people=looked, effort=effort)
    return Option(name="api", api=named[0], people=looked), own


WAYS = st.builds(ways, apis, fleets, apis, efforts, floats(0, 1), floats(0.1, 20), floats(1, 120))


def agrees(found, now, then, use):
    told, bills, paid = figures(found), (cost(now, use), cost(then, use)), flow(now, then, use)
    for side, option, bill in zip(("now", "then"), (now, then), bills, strict=True):
        assert told[f"{side}.month"].value == pytest.approx(bill.month_usd, abs=CENT, rel=1e-12)
        assert told[f"{side}.running"].value == pytest.approx(bill.running_usd, abs=CENT, rel=1e-12)
        assert told[f"{side}.once"].value == pytest.approx(bill.once_usd, abs=CENT, rel=1e-12)
        assert told[f"{side}.call"].value == pytest.approx(bill.call_usd, rel=1e-9)
        assert (bought(option, use) > 0) == ("machine.price" in told and option.fleet is not None)
    if then.fleet:
        assert told["then.machines.needed"].value == bills[1].machines
    for month, line in zip(found.cash, paid.months, strict=True):
        assert month.now.value == pytest.approx(line.before_usd, abs=CENT, rel=1e-12)
        assert month.then.value == pytest.approx(line.after_usd, abs=CENT, rel=1e-12)
        assert month.saved.value == pytest.approx(line.sum_usd, abs=CENT, rel=1e-9)
    assert told["saved"].value == pytest.approx(paid.saved_usd, abs=CENT, rel=1e-9)
    assert told["invested"].value == pytest.approx(paid.invested_usd, abs=CENT, rel=1e-12)


@pytest.mark.slow
@drawn(WAYS, uses)
@settings(deadline=None, max_examples=60)
def test_every_bill_and_every_month_is_the_cost_core_s_to_the_cent(both, use):
    now, then = both
    agrees(case(now, then, use), now, then, use)


@pytest.mark.parametrize("years", [0.05, 0.5, 2.0])
def test_machines_are_bought_again_as_often_as_the_cost_core_says(years):
    box = msgspec.structs.replace(BOX, owned=Owned(price_usd=9000, years=years))
    then = msgspec.structs.replace(OWN, fleet=Fleet(machine=box, paid="owned", calls_per_s=5))
    agrees(case(API, then, USE), API, then, USE)


@drawn(st.lists(floats(-1000, 1000), min_size=2, max_size=40))
@settings(deadline=None)
def test_the_payback_of_the_formulas_is_that_of_the_cash_flow(steps):
    sums = [sum(steps[: i + 1]) for i in range(len(steps))]
    values = {f"cash.saved.{i}": one for i, one in enumerate(sums)}
    last = len(sums) - 1
    for i in range(len(sums)):
        values[f"cash.payback.{i}"] = evaluate(payback(i, last), values)
    wanted = _payback([Month(number=i, before_usd=0, after_usd=0, sum_usd=one) for i, one in enumerate(sums)])
    assert values[f"cash.payback.{last}"] == (-1 if wanted is None else pytest.approx(wanted))


GPT = ApiPrice(name="gpt", input=2.5, output=10, cached_input=1.25, checked="2026-11-01", source="a page")
API = Option(name="gpt", api=GPT, people=People(share=0.05, minutes=2, usd_per_hour=40))
BOX = MachineRate(name="box", source="a list", checked="2026-10-01", on_demand=0.8, reserved=0.5,
                  owned=Owned(price_usd=9000, years=1.5, watts=400, usd_per_kwh=0.2, upkeep_usd=80))  # fmt: skip
OWN = Option(name="tickets on box", fleet=Fleet(machine=BOX, paid="on_demand", calls_per_s=5), escalated=0.1,
             above=GPT, people=People(share=0.03, minutes=2, usd_per_hour=40),
             effort=Effort(rows=500, usd_per_row=0.5, training_hours=2, training_usd_per_hour=1, trainings_per_year=4,
                           fte=0.1, salary_usd=150_000, once_usd=20_000))  # fmt: skip
USE = Use(calls_per_day=40_000, tokens=Tokens(input=900, cached=600, output=60), hours_per_day=10, days=22, peak=2)
WRONG = Quality(
    now=Counted(who="gpt", share=0.10, low=0.08, high=0.12, n=800, how="measured", of="report ab"),
    then=Counted(who="own", share=0.06, low=0.045, high=0.078, n=800, how="measured", of="report ab"),
    wrong_usd=2.5,
)


def test_what_cannot_say_where_it_comes_from_cannot_be_built():
    with pytest.raises(ValueError, match="no source"):
        Figure(key="x", name="a rate", unit="US$", value=1.0, how="declared", of=" ")
    with pytest.raises(ValueError, match="no source"):
        Told(name="owner", words="me", how="declared", of="")
    with pytest.raises(ValueError, match="is missing, and its value"):
        Figure(key="x", name="a rate", unit="US$", value=1.0, how="missing", of="somewhere")
    with pytest.raises(ValueError, match="its value is None"):
        Figure(key="x", name="a rate", unit="US$", how="declared", of="somewhere")
    with pytest.raises(ValueError, match="a formula is for what is computed"):
        Figure(key="x", name="a rate", unit="US$", value=1.0, how="declared", of="somewhere", formula="{y}")
    with pytest.raises(ValueError, match="a formula is for what is computed"):
        Figure(key="x", name="a rate", unit="US$", value=1.0, how="computed", of="somewhere")


def test_every_figure_stands_with_its_source_in_all_three_forms():
    found = case(API, OWN, USE, quality=WRONG, hands=(0.02, 0.01), **HAND)
    page, text, book = html(found), markdown(found), Recomputed(sheet(found))
    cells = {str(value) for value in book.values.values()}
    told = [one for one in (*found.inputs, *(f for s in found.sections for f in s.figures))
            if not one.key.endswith((".low", ".high"))]  # fmt: skip
    assert len(told) > 60
    for one in told:
        escaped = one.of.replace("&", "&amp;").replace("'", "&#39;")
        assert escaped in page, one.key
        assert re.sub(r"([\\`*_\[\]<>|#~])", r"\\\1", one.of) in text, one.key
        assert one.of in cells, one.key
    declared = next(one for one in found.inputs if one.key == "wrong.usd")
    assert declared.of == "tasks/tickets.toml [price] wrong_usd, declared by desk@shop.example"


def test_every_formula_is_of_figures_that_are_there_and_ends_in_inputs():
    told = figures(case(API, OWN, USE, quality=WRONG, hands=(0.02, 0.01), **HAND))
    for one in told.values():
        assert set(names(one.formula)) <= set(told), one.key
        if one.formula:
            values = {key: told[key].value for key in names(one.formula)}
            assert one.value == pytest.approx(evaluate(one.formula, values)), one.key


def test_people_s_hours_and_wrong_answers_come_to_what_a_pencil_says():
    told = figures(case(API, OWN, USE, quality=WRONG, hands=(0.02, 0.005), **HAND))
    calls = 40_000 * 22
    assert told["now.hours"].value == pytest.approx(calls * (0.02 * 6 + 0.05 * 2) / 60)
    assert told["then.hours"].value == pytest.approx(calls * (0.005 * 6 + 0.03 * 2) / 60)
    assert told["now.hours.usd"].value == pytest.approx(calls * (0.02 * 6 * 30 + 0.05 * 2 * 40) / 60)
    assert told["worth"].value == pytest.approx(calls * 0.04 * 2.5)
    assert told["worth.low"].value == pytest.approx(calls * (0.08 - 0.078) * 2.5)
    assert told["worth.high"].value == pytest.approx(calls * (0.12 - 0.045) * 2.5)
    assert told["saved.sure"].value == pytest.approx(told["saved"].value + 24 * told["worth.low"].value)
    wait = told["then.running"].value - calls * 0.005 * 6 / 60 * 30
    assert told["pilot.usd"].value == pytest.approx(told["then.once"].value + wait * 23 * 12 / 365)


def test_a_difference_that_was_measured_on_the_same_rows_comes_before_two_intervals():
    less = Counted(who="own", share=0.04, low=0.02, high=0.06, n=800, how="measured", of="report ab, both")
    told = figures(case(API, OWN, USE, quality=msgspec.structs.replace(WRONG, less=less)))
    assert told["worth.low"].value == pytest.approx(40_000 * 22 * 0.02 * 2.5)
    assert told["wrong.less"].of == "report ab, both"


@pytest.mark.parametrize(
    ("quality", "gone"),
    [
        (msgspec.structs.replace(WRONG, wrong_usd=None), "what a wrong answer costs"),
        (msgspec.structs.replace(WRONG, now=None), "wrong answers, today"),
        (msgspec.structs.replace(WRONG, then=None), "wrong answers, proposed"),
    ],
)
def test_what_nobody_says_is_missing_and_so_is_what_needs_it(quality, gone):
    found = case(API, OWN, USE, quality=quality)
    told = figures(found)
    assert {told[key].how for key in ("worth", "worth.low", "worth.high", "saved.sure")} == {"missing"}
    assert found.sections[3].finding.startswith(f"Missing: {gone}")
    assert told["payback"].value is not None
    assert {one.value for one in told.values() if one.how == "missing"} == {None}
    assert gone in html(found)


def test_without_criteria_there_is_no_pilot_and_with_them_it_is_one_sentence():
    assert case(API, OWN, USE, criteria=False).pilot.finding.startswith("Missing: [acceptance]")
    said = case(API, OWN, USE).pilot.finding
    assert said.startswith(
        "10% of the traffic for 2 days and 200 calls at least. With at least 88% accuracy on the holdout"
    )


def test_an_input_of_which_nobody_says_where_it_comes_from_makes_no_case():
    found = msgspec.structs.replace(compare([API, OWN], USE, today="gpt"), task="tickets", created="2026-11-27")
    with pytest.raises(ValueError, match="calls a day has no source"):
        business(found, given())


def test_where_nothing_would_change_there_is_no_case():
    with pytest.raises(ValueError, match="no change to make a case for"):
        business(compare([API], USE, today="gpt"), given())


OPTIONS = {
    "on demand": OWN,
    "owned": msgspec.structs.replace(OWN, fleet=Fleet(machine=BOX, paid="owned", calls_per_s=5)),
    "reserved": msgspec.structs.replace(OWN, fleet=Fleet(machine=BOX, paid="reserved", calls_per_s=0.8)),
}


@pytest.mark.slow
@pytest.mark.parametrize("paid", OPTIONS)
def test_the_workbook_computes_what_it_says(paid):
    book = Recomputed(sheet(case(API, OPTIONS[paid], USE, quality=WRONG, hands=(0.02, 0.01), **HAND)))
    assert len(book.formulas) > 130
    for place, cached in book.cached.items():
        assert book.at(*place) == pytest.approx(float(cached), abs=CENT, rel=1e-9), place


@pytest.mark.slow
@drawn(st.sampled_from(sorted(OPTIONS)), floats(10, 1_000_000), floats(5, 90), floats(0.01, 40), floats(0, 1))
@settings(deadline=None, max_examples=8)
def test_the_workbook_follows_its_inputs_as_the_core_does(paid, calls, rate, read, reviewed):
    book = Recomputed(sheet(case(API, OPTIONS[paid], USE, quality=WRONG, hands=(0.02, 0.01), **HAND)))
    for name, value in (("calls a day", calls), ("reviewers' rate", rate), ("gpt, a million tokens read", read),
                        ("reviewed share", reviewed)):  # fmt: skip
        book.change(name, value)
    use, api = (msgspec.structs.replace(USE, calls_per_day=calls), msgspec.structs.replace(API.api, input=read))
    looked = People(share=0.05, minutes=2, usd_per_hour=rate)
    hands = [People(share=share, minutes=6, usd_per_hour=30) for share in (0.02, 0.01)]
    now = msgspec.structs.replace(API, api=api, people=looked, hand=hands[0])
    ours = msgspec.structs.replace(looked, share=reviewed)
    then = msgspec.structs.replace(OPTIONS[paid], above=api, people=ours, hand=hands[1])
    wanted = flow(now, then, use)
    assert book.told("Case", "a month, today") == pytest.approx(cost(now, use).month_usd, abs=CENT)
    assert book.told("Case", "a month, proposed") == pytest.approx(cost(then, use).month_usd, abs=CENT)
    assert book.told("Case", "saved in 24 months") == pytest.approx(wanted.saved_usd, abs=CENT)
    assert book.told("Case", "payback") == pytest.approx(-1 if wanted.payback is None else wanted.payback, abs=1e-6)


def test_what_a_spreadsheet_would_run_is_a_text():
    api = msgspec.structs.replace(API.api, name="=cmd|' /C calc'!A0", source="@SUM(1)")
    found = case(msgspec.structs.replace(API, name=api.name, api=api), OWN, USE)
    book = Recomputed(sheet(found))
    assert not any("cmd" in formula for formula in book.formulas.values())
    assert not any(
        str(value).startswith(("=", "+", "-", "@")) for value in book.values.values() if isinstance(value, str)
    )
    assert plain("=1+1") == "'=1+1"
    assert "=cmd" in markdown(found)


def test_the_same_facts_make_the_same_files():
    made = [case(API, OWN, USE, quality=WRONG) for _ in range(2)]
    assert len({sheet(one) for one in made}) == len({html(one) for one in made}) == 1


def test_a_formula_reads_as_words_and_refuses_what_is_none():
    assert words("({a}-{b})*{c}/60", {"a": "calls", "b": "others", "c": "rate, an hour"}) == (
        "(calls \N{MINUS SIGN} others) \N{MULTIPLICATION SIGN} rate, an hour \N{DIVISION SIGN} 60"
    )
    assert evaluate("IF({a}<0,1/0,MAX(2,ROUNDUP({a}/3,0)))", {"a": 7.0}) == 3
    for wrong in ("{a} {b}", "open('x')", "{a}.real", "__import__"):
        with pytest.raises((ValueError, KeyError)):
            evaluate(wrong, {"a": 1.0, "b": 2.0})
