"""The tables of prices: every row has a source, says what is not known of it, and is told when it is old."""

import re
from datetime import UTC, date, datetime

import pytest

from insource.nouns.pricing import PAID, ApiPrice, MachineRate
from insource.price.cards import cards
from insource.price.tables import CHEAP, STALE_DAYS, apis, doubts, machines

ROWS = [*apis().values(), *machines().values()]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_row_has_a_source_and_a_day_or_says_that_it_has_none(row):
    assert row.source.startswith("https://")
    assert row.seen
    assert set(row.unverified) <= {
        *PAID,
        "input",
        "cached_input",
        "output",
        "price_usd",
        "years",
        "watts",
        "upkeep_usd",
    }
    if row.checked:
        assert date.fromisoformat(row.checked) <= datetime.now(UTC).date()
    else:
        assert row.unverified, "a figure that nobody dated is not verified"


@pytest.mark.parametrize("row", machines().values(), ids=lambda row: row.name)
def test_every_machine_can_be_paid_and_its_card_is_known(row):
    assert row.ways
    assert not row.card or row.card in cards()
    if row.card and row.name.startswith("aws"):
        assert re.search(r"\b(A10G|L4|L40S|H100)\b", cards()[row.card].name)


def test_the_cheap_tier_of_three_providers_is_there_and_cheaper_than_what_came_before_it():
    known = apis()
    assert all(name in known for name in CHEAP)
    assert len({known[name].source.split("/")[2] for name in CHEAP}) == 3
    assert max(known[name].input for name in CHEAP) < known["gpt-4o-mini"].input
    assert machines()["aws-g5.12xlarge"].card == "a10g"


def test_a_company_s_own_rows_come_first():
    own = {"gpt-4o": ApiPrice(input=2, output=8), "ours": ApiPrice(input=1, output=1, source="contract 7")}
    found = apis(own)
    assert (found["gpt-4o"].input, found["gpt-4o"].name, found["gpt-4o"].source) == (2, "gpt-4o", "insource.toml")
    assert found["ours"].source == "contract 7"
    assert machines({"box": MachineRate(on_demand=1)})["box"].name == "box"


def test_what_is_old_unverified_or_ends_is_said():
    row = ApiPrice(name="x", input=1, output=1, source="https://x", checked="2026-01-01")
    assert doubts([row], "2026-03-01") == ()
    assert doubts([row], "2026-04-01") == ()
    (old,) = doubts([row], "2026-04-02")
    assert f"{STALE_DAYS + 1} days old" in old
    assert "https://x" in old
    undated = ApiPrice(name="y", input=1, output=1, source="https://y", unverified=("input",), until="2027-01-14")
    assert [words.split()[0] for words in doubts([undated], "2026-04-02")] == ["the", "y:", "y"]
    assert doubts([ApiPrice(name="z", input=1, output=1, source="insource.toml")], "2026-04-02") == ()
