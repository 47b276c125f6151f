"""Several ways side by side: the finding in words, and the page that shows it."""

import re

import pytest
from cases import options, uses
from hypothesis import given, settings
from hypothesis import strategies as st

from insource.nouns import from_json, to_json
from insource.nouns.pricing import ApiPrice, Effort, MachineRate, Owned, People, Tokens, Use
from insource.price.compare import Priced, compare, number, rate, usd
from insource.price.cost import Fleet, Option
from insource.price.page import html

CHEAP = Option(name="luna", api=ApiPrice(name="luna", input=0.1, output=0.5))
DEAR = Option(name="4o", api=ApiPrice(name="4o", input=2.5, output=10))
BOX = MachineRate(name="box", on_demand=0.36, spot=0.1, owned=Owned(price_usd=2400, years=4, upkeep_usd=50))


def own(paid="on_demand", calls_per_s=40.0, **effort):
    return Option(name=paid, fleet=Fleet(machine=BOX, paid=paid, calls_per_s=calls_per_s), effort=Effort(**effort))


def use(calls):
    return Use(calls_per_day=calls, tokens=Tokens(input=1000, output=150), days=30)


def test_at_low_volume_it_says_so_and_from_where_on_owning_is_cheaper():
    found = compare([CHEAP, DEAR, own()], use(1000))
    assert found.finding == (
        "Low volume: luna is cheaper than on_demand by $254 a month at 1,000 calls a day; "
        "owned is cheaper from 49,371 calls a day (0.571 requests/s)"
    )
    assert (found.own, found.api, found.before, found.today) == ("on_demand", "luna", "luna", "")
    assert found.turns[0].tokens_per_day == pytest.approx(1150 * found.turns[0].calls_per_day)


def test_where_owning_is_never_cheaper_a_cheap_api_wins():
    found = compare([CHEAP, own(calls_per_s=0.01)], use(1000))
    assert found.finding.startswith("A cheap API wins: luna is cheaper than on_demand by ")
    assert found.finding.endswith("stays so up to 10,000,000 calls a day")
    assert not found.turns


def test_where_owning_is_cheaper_it_says_since_when():
    found = compare([CHEAP, DEAR, own()], use(100_000), today="4o")
    assert re.match(
        r"Owned is cheaper: on_demand beats luna by \$266 a month at 100,000 calls a day, from 49,371", found.finding
    )
    assert found.flow.payback == 0
    assert found.before == found.today == "4o"
    assert (
        found.also == "luna in place of 4o saves $11,475 a month (96%) with a line of settings, if it answers as well"
    )
    assert found.also in html(found)
    assert not compare([CHEAP, DEAR, own()], use(100_000), today="luna").also


def test_what_can_be_taken_away_is_shown_and_not_relied_on():
    found = compare([CHEAP, own("spot"), own("on_demand")], use(1000))
    assert found.cost("spot").month_usd < found.cost("on_demand").month_usd
    assert found.own == "on_demand"
    assert compare([CHEAP, own("spot")], use(1000)).own == "spot", "there is no other"


def test_without_one_side_the_cheapest_is_named():
    assert compare([CHEAP, DEAR], use(1000)).finding.startswith("luna is the cheapest")
    assert compare([own()], use(1000)).finding.startswith("on_demand is the cheapest")
    with pytest.raises(ValueError, match="not among"):
        compare([CHEAP], use(1), today="4o")
    with pytest.raises(ValueError, match="no option"):
        compare([], use(1))


def test_where_so_little_comes_that_people_are_cheapest_it_says_so():
    people = Option(name="people", people=People(share=1, minutes=1, usd_per_hour=30))
    set_up = Option(name="api", api=CHEAP.api, effort=Effort(once_usd=2400))
    assert compare([people, set_up, own()], use(2)).finding.startswith(
        "people is the cheapest at 2 calls a day: $30.00"
    )
    assert compare([people, set_up, own()], use(2000), today="people").finding.startswith("Low volume: api")


@pytest.mark.parametrize(
    ("amount", "words"),
    [(0, "$0.00"), (1234.4, "$1,234"), (99.99, "$99.99"), (-2.5, "\N{MINUS SIGN}$2.50"), (0.00018, "$0.00018"),
     (0.0000538, "$0.0000538"), (99.999, "$100")],
)  # fmt: skip
def test_amounts_are_said_with_the_digits_they_are_worth(amount, words):
    assert usd(amount) == words


def test_numbers_and_rates():
    assert (number(49371.4), number(0.12345), number(12.34)) == ("49,371", "0.123", "12.3")
    assert (rate(0.000123), rate(28.61)) == ("0.00012 requests/s", "28.6 requests/s")


@given(st.lists(options, min_size=1, max_size=4), uses)
@settings(max_examples=40, deadline=None)
def test_whatever_is_compared_makes_a_finding_that_is_true_and_a_page(drawn, use):
    named = [
        Option(**{**{f: getattr(o, f) for f in o.__struct_fields__}, "name": f"way {i}"}) for i, o in enumerate(drawn)
    ]
    found = compare(named, use)
    best = found.costs[0]
    assert all(best.month_usd <= one.month_usd for one in found.costs)
    if found.own and found.api:
        own, api = found.cost(found.own).month_usd, found.cost(found.api).month_usd
        assert found.finding.startswith("Owned is cheaper") == (own < api)
        if "Low volume" in found.finding:
            assert any(turn.calls_per_day > use.calls_per_day and turn.cheaper == found.own for turn in found.turns)
    assert from_json(to_json(found), Priced) == found
    page = html(found)
    assert found.finding in page
    assert "http" not in re.sub(r'<td class="from">.*?</td>', "", page), "nothing is fetched"


def test_the_page_shows_each_picture_as_a_table_too_and_escapes_what_it_is_given():
    odd = Option(name="<script>alert(1)</script>", api=DEAR.api)
    page = html(compare([CHEAP, odd, own()], use(60_000), today=odd.name))
    assert "<script" not in page
    assert page.count('role="img"') == 2
    assert page.count("<title>") >= 3
    for heading in (
        "Every way, cheapest first",
        "Break-even",
        "Cash, month by month",
        "Which input decides",
        "What it rests on",
    ):
        assert heading in page
