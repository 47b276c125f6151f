"""A budget that is never exceeded: what a call may cost is taken before it, what it did cost is settled after it. Pure.

Money is counted in whole billionths of a dollar, what is asked for rounded up and what there is rounded down.
"""

import math

NANO = 1_000_000_000


class Purse:
    """`budget` US dollars, None without end, of which `spent` are gone. Not for several threads.

    As long as no call costs more than was taken for it, what is spent and held never exceeds the budget.
    """

    def __init__(self, budget: float | None, spent: float = 0.0) -> None:
        self._budget = None if budget is None else math.floor(budget * NANO)
        self._spent = math.ceil(spent * NANO)
        self._held: dict[str, int] = {}

    @property
    def spent(self) -> float:
        """US dollars that are gone."""
        return self._spent / NANO

    @property
    def held(self) -> float:
        """US dollars that calls under way may cost at most."""
        return sum(self._held.values()) / NANO

    @property
    def of(self) -> str:
        """The budget in words: "of $2.50"."""
        return "" if self._budget is None else f"of ${self._budget / NANO:g}"

    @property
    def left(self) -> float:
        """US dollars that are neither gone nor held; infinity without a budget."""
        return math.inf if self._budget is None else (self._budget - self._spent - sum(self._held.values())) / NANO

    def holds(self, most: float, beside: float = 0.0) -> bool:
        """Whether `most` is left, and `beside` over."""
        wanted, gone = math.ceil(most * NANO) + math.ceil(beside * NANO), self._spent + sum(self._held.values())
        return self._budget is None or gone + wanted <= self._budget

    def take(self, call: str, most: float, beside: float = 0.0) -> bool:
        """Takes `most` for a call, where that leaves `beside` over. False, and nothing is taken, where it does not."""
        if not self.holds(most, beside):
            return False
        self._held[call] = math.ceil(most * NANO)
        return True

    def settle(self, call: str, usd: float) -> None:
        """The call has ended and cost `usd`; what was taken for it beyond that is there again."""
        self._held.pop(call, None)
        self._spent += math.ceil(usd * NANO)
