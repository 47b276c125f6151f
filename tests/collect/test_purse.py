"""A budget is never exceeded, whatever is taken, settled and in which order; one that forgets what is held is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insource.collect.purse import NANO, Purse

USD = st.floats(min_value=0.0, max_value=3.0, allow_nan=False)
CALLS = st.lists(st.tuples(USD, st.floats(min_value=0.0, max_value=1.0), st.booleans()), max_size=60)


class Forgetful(Purse):
    """The negative control: what calls under way may cost is not held."""

    def take(self, call: str, most: float, beside: float = 0.0) -> bool:
        taken = super().take(call, most, beside)
        self._held.clear()
        return taken


def run(purse: Purse, calls: list[tuple[float, float, bool]]) -> float:
    """US dollars that were really spent: some calls end at once, the others at the end. Each costs a share of most."""
    open_calls, spent = [], 0.0
    for number, (most, share, now) in enumerate(calls):
        name = str(number)
        if not purse.take(name, most):
            continue
        if now:
            spent += most * share
            purse.settle(name, most * share)
        else:
            open_calls.append((name, most * share))
    for name, usd in open_calls:
        spent += usd
        purse.settle(name, usd)
    return spent


@given(CALLS, USD, USD)
def test_what_is_spent_and_held_never_exceeds_the_budget(calls, budget, before):
    purse = Purse(budget, before)
    spent = run(purse, calls)
    assert spent == 0.0 or before + spent <= budget + 1e-9
    assert purse.held == 0.0
    assert purse.spent == pytest.approx(before + spent, abs=len(calls) / NANO + 1e-9)


def test_one_that_forgets_what_is_held_exceeds_it():
    calls = [(1.0, 1.0, False)] * 5
    assert run(Purse(2.0), calls) == 2.0
    assert run(Forgetful(2.0), calls) == 5.0


def test_what_must_be_left_over_is_left_over():
    purse = Purse(1.0)
    assert not purse.take("a", 0.5, beside=0.6)
    assert purse.take("a", 0.5, beside=0.5)
    assert not purse.take("b", 0.6)
    assert purse.held == 0.5
    purse.settle("a", 0.1)
    assert (purse.spent, purse.held) == (0.1, 0.0)
    assert Purse(None).take("c", 1e9)
