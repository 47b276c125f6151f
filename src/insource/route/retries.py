"""How much may be tried again: a share of the calls and a little more, so that a bad day is not made worse by retries.

A limit on each call alone multiplies the load of a server that is in trouble; one on all of them together cannot.
Sources: Finagle's `RetryBudget` (a share of the calls of the last seconds over a floor per second), Envoy's
`retry_budget` (20% of the calls under way, 3 at least), Google's SRE book, "Handling Overload" (10% a client).
"""

from collections.abc import Callable

from insource.nouns import Noun
from insource.route.window import Window


class Allowance(Noun, frozen=True, kw_only=True):
    """Of the calls in the last `window_s` seconds a `share` may be tried again, and `floor` beside."""

    share: float = 0.2
    floor: int = 10
    window_s: float = 10.0


class Retries:
    """The budget of one deployment; `clock` gives seconds that never go back. Pure but for what it has counted."""

    def __init__(self, allowance: Allowance, clock: Callable[[], float]) -> None:
        self._allowance = allowance
        self._window = Window(allowance.window_s, clock)

    def called(self) -> None:
        """There was a call. A retry is none."""
        self._window.add("call")

    def take(self) -> bool:
        """True when one more may be tried again; it is counted then."""
        allowed = self._allowance.floor + self._allowance.share * self._window.count("call")
        if self._window.count("retry") + 1 > allowed:
            return False
        self._window.add("retry")
        return True
