"""Ways to answer and loads, as hypothesis draws them."""

from hypothesis import strategies as st

from insource.nouns.pricing import ApiPrice, Effort, MachineRate, Owned, People, Tokens, Use
from insource.price.cost import Fleet, Option


def floats(low, high):
    return st.floats(low, high, allow_nan=False, allow_infinity=False)


def amounts(high):
    """Nothing, or what can be paid."""
    return st.just(0.0) | floats(high / 1000, high)


tokens = st.builds(
    lambda read, cached, written: Tokens(input=read, cached=read * cached, output=written),
    floats(1, 20_000),
    floats(0, 1),
    floats(1, 2_000),
)
apis = st.builds(ApiPrice, input=floats(0.01, 30), output=floats(0.01, 90), cached_input=st.none() | floats(0.001, 10))
machines = st.builds(
    MachineRate,
    on_demand=floats(0.05, 20),
    reserved=floats(0.03, 12),
    spot=floats(0.01, 8),
    owned=st.builds(
        Owned, price_usd=floats(500, 50_000), years=floats(1, 6), watts=floats(50, 3000), usd_per_kwh=floats(0.05, 0.5)
    ),
)
fleets = st.builds(
    Fleet,
    machine=machines,
    paid=st.sampled_from(["on_demand", "reserved", "spot", "owned"]),
    calls_per_s=floats(0.05, 200),
    least=st.integers(0, 3),
)
people = st.builds(People, share=amounts(1), minutes=amounts(20), usd_per_hour=amounts(120))
efforts = st.builds(
    Effort,
    rows=st.integers(0, 20_000),
    usd_per_row=amounts(2),
    training_hours=amounts(20),
    training_usd_per_hour=amounts(20),
    trainings_per_year=amounts(12),
    fte=amounts(0.5),
    salary_usd=amounts(250_000),
    once_usd=amounts(20_000),
)
common = {"escalated": amounts(1), "above": apis, "people": people, "effort": efforts}
hosted = st.builds(Option, name=st.just("hosted"), api=apis, **common)
owned = st.builds(Option, name=st.just("owned"), fleet=fleets, **common)
options = hosted | owned
uses = st.builds(
    Use,
    calls_per_day=floats(1, 1_000_000),
    tokens=tokens,
    hours_per_day=floats(1, 24),
    days=floats(1, 31),
    peak=floats(1, 5),
)
