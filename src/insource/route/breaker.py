"""Whether a deployment is asked at all: a circuit breaker over a window of time, with one probe at a time.

    closed ── failures ──▶ open ── pause over ──▶ probing ── it answers ──▶ closed
                            ▲                        │
                            └──── it fails, the pause doubles

Pure: time is told, nothing waits. Sources: Nygard, "Release It!" (the pattern); resilience4j (window of time, least
number of calls, slow counts as failed); Envoy's outlier detection (five failures in a row are enough).
"""

from collections.abc import Callable
from typing import Literal

from insource.nouns import Noun
from insource.route.window import Window

State = Literal["closed", "open", "probing"]
Outcome = Literal["answered", "failed", "unknown"]


class Rules(Noun, frozen=True, kw_only=True):
    """When a breaker opens: after `row` failures in a row, or a `share` of `least` or more calls in `window_s` seconds.

    It lets a probe through after `pause_s`, and after twice as long each time that one failed, up to `longest_s`.
    """

    row: int = 5
    share: float = 0.5
    least: int = 20
    window_s: float = 30.0
    pause_s: float = 1.0
    longest_s: float = 30.0


class Permit:
    """Leave to make one call. Settle it whatever becomes of the call, once; more do no harm."""

    __slots__ = ("_breaker", "_era", "_settled", "probe")

    def __init__(self, breaker: "Breaker", era: int, *, probe: bool) -> None:
        self._breaker, self._era, self.probe, self._settled = breaker, era, probe, False

    def settle(self, outcome: Outcome) -> None:
        """Says how the call went: "unknown" is a call that was cancelled, of which nothing can be said."""
        if not self._settled:
            self._settled = True
            self._breaker.hear(outcome, self._era, probe=self.probe)


class Breaker:
    """The breaker of one deployment. `clock` gives seconds that never go back. Not for several threads."""

    def __init__(self, rules: Rules, clock: Callable[[], float]) -> None:
        self._rules, self._clock = rules, clock
        self._window = Window(rules.window_s, clock)
        self._row = 0
        self._era = 0  # counts the openings and closings: who was let through before one is no news after it
        self._failures = 0  # openings since it was last closed
        self._until: float | None = None  # when the next probe may go; None while closed
        self._probing = False

    @property
    def state(self) -> State:
        """Closed: every call goes. Open: none does, or when `wait_s` is 0 one, the probe. Probing: it is under way."""
        if self._until is None:
            return "closed"
        return "probing" if self._probing else "open"

    @property
    def wait_s(self) -> float:
        """Seconds until the next probe may go; 0.0 while it is closed, or a probe is due or under way."""
        return 0.0 if self._until is None or self._probing else max(0.0, self._until - self._clock())

    @property
    def refuses(self) -> bool:
        """True when no call would be let through now."""
        return self._until is not None and (self._probing or self.wait_s > 0)

    def admit(self) -> Permit | None:
        """Leave to call now, None while it is open."""
        if self.refuses:
            return None
        self._probing = self._until is not None
        return Permit(self, self._era, probe=self._probing)

    def hear(self, outcome: Outcome, era: int, *, probe: bool) -> None:
        """What became of a call that was let through in `era`: told by its permit."""
        if era != self._era:
            return
        if probe:
            self._probing = False
        if outcome == "unknown":
            return
        self._window.add(outcome)
        self._row = self._row + 1 if outcome == "failed" else 0
        if outcome == "failed" and (probe or self._too_many()):
            self._open()
        elif probe:
            self._close()

    def _too_many(self) -> bool:
        failed, answered = self._window.count("failed"), self._window.count("answered")
        return self._row >= self._rules.row or (
            failed + answered >= self._rules.least and failed >= self._rules.share * (failed + answered)
        )

    def _open(self) -> None:
        pause = min(self._rules.pause_s * 2 ** min(self._failures, 32), self._rules.longest_s)
        self._until = self._clock() + pause
        self._failures += 1
        self._era += 1

    def _close(self) -> None:
        self._until, self._failures, self._row = None, 0, 0
        self._window.clear()
        self._era += 1
