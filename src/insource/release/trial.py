"""A release on trial beside the live one: go on, wait or go back. Pure: what was counted in, the ruling out.

Each call that both answered is one step of three tests that may be looked at after every call (`stats.betting`):

- quality: +1 where a person found ours wrong and theirs right, -1 the other way round. Where the two agree it is 0, and
  nobody need look;
- failures: +1 where ours gave no valid answer and theirs did, -1 the other way round;
- speed: +1 where ours took more than `max_slower` times as long, -1 where it did not.

Any of them may stop the trial; a mean of their evidence is evidence too (Vovk & Wang 2021, doi:10.1214/20-AOS2020),
so together they stop one that is no worse with probability `alpha` at most, over the whole trial. To go on, the error
must be shown to be less than `max_worse` above the live one's; a disagreement at which nobody looked counts as an error
of ours.
"""

from collections.abc import Mapping
from typing import Literal

from insource.nouns import Check, Noun, Release, Rollout
from insource.stats import e_value, mean_interval

Verdict = Literal["on", "hold", "back"]
Counts = dict[float, int]
PARTS = {"quality": 0.5, "failures": 0.25, "speed": 0.25}  # each with its weight in the mean


class Tally(Noun, frozen=True, kw_only=True):
    """What was counted since the trial began: calls that both answered, and each test's steps by value.

    `here` are those since the present stop. `agreed` calls have the same answer; of the others `judged` were looked at
    by a person, with the steps in `quality`.
    """

    calls: int = 0
    here: int = 0
    agreed: int = 0
    judged: int = 0
    quality: Counts = {}
    failures: Counts = {}
    speed: Counts = {}

    @property
    def unseen(self) -> int:
        """Disagreements at which nobody looked."""
        return self.calls - self.agreed - self.judged


class Ruling(Noun, frozen=True, kw_only=True):
    """What becomes of a trial, why in words, and each test as a check; `missing` is what it waits for."""

    verdict: Verdict
    why: str
    checks: tuple[Check, ...]
    missing: tuple[str, ...] = ()


def rule(release: Release, tally: Tally, policy: Rollout, days: float, wanted: float) -> Ruling:
    """The ruling on `release`, which has been at its stop for `days` of the days `wanted`."""
    evidence = against(tally)
    total = weighed(evidence)
    found = tuple(_check(part, getattr(tally, part), evidence[part], policy) for part in PARTS)
    worse = _worse(tally, policy)
    checks = (*found, worse)
    if total >= 1 / policy.alpha:
        most = max(PARTS, key=lambda part: evidence[part])
        why = f"{release.name} {WORSE[most]}: {_check(most, getattr(tally, most), evidence[most], policy).found}"
        return Ruling(verdict="back", why=why, checks=checks)
    missing = [*_waits(days, wanted), *_few(tally.here, policy.min_calls)]
    if not worse.passed:
        missing.append(_unproven(tally, policy))
    if missing:
        return Ruling(verdict="hold", why="; ".join(missing), checks=checks, missing=tuple(missing))
    return Ruling(verdict="on", why=f"not worse than what is live: {worse.found}", checks=checks)


def against(tally: Tally) -> dict[str, float]:
    """The evidence of each test that the release on trial is worse."""
    return {"quality": e_value(tally.quality), "failures": e_value(tally.failures), "speed": e_value(tally.speed)}


def weighed(evidence: Mapping[str, float]) -> float:
    """The evidence of all tests together."""
    return sum(weight * evidence[part] for part, weight in PARTS.items())


WORSE = {
    "quality": "is wrong oftener than what is live",
    "failures": "fails oftener than what is live",
    "speed": "is slower than what is live",
}


def _whole(steps: Counts, calls: int) -> dict[float, int]:
    """The steps with the zeros of all other calls."""
    return {**steps, 0: max(0, calls - sum(times for value, times in steps.items() if value))}


def _check(part: str, steps: Counts, evidence: float, policy: Rollout) -> Check:
    ours, theirs = steps.get(1, 0), steps.get(-1, 0)
    words = {
        "quality": f"{ours:,} calls that ours alone got wrong, {theirs:,} that theirs alone did",
        "failures": f"{ours:,} calls in which ours alone failed, {theirs:,} in which theirs alone did",
        "speed": f"{ours:,} of {ours + theirs:,} calls took more than {policy.max_slower:g} times as long",
    }
    return Check(
        name=part,
        demanded=f"evidence below {1 / policy.alpha / PARTS[part]:g}",
        found=f"{words[part]}; evidence {evidence:.3g}",
        passed=evidence * PARTS[part] < 1 / policy.alpha,
        detail={"steps": {f"{value:g}": times for value, times in sorted(steps.items())}, "evidence": evidence},
    )


def _worse(tally: Tally, policy: Rollout) -> Check:
    """Whether the error is shown to be less than `max_worse` above theirs; unseen disagreements count against ours."""
    steps = dict(tally.quality)
    steps[1] = steps.get(1, 0) + tally.unseen
    low, high = mean_interval(_whole(steps, tally.calls), 1 - 2 * policy.alpha)
    return Check(
        name="not worse",
        demanded=f"error above theirs < {policy.max_worse:.1%}",
        found=f"{low:+.2%} to {high:+.2%} of error, n {tally.calls:,}, {tally.unseen:,} disagreements not looked at",
        passed=high < policy.max_worse,
        detail={"low": low, "high": high, "n": tally.calls, "unseen": tally.unseen, "judged": tally.judged},
    )


def _waits(days: float, wanted: float) -> list[str]:
    return [f"{wanted - days:.1f} days more"] if days < wanted else []


def _few(calls: int, wanted: int) -> list[str]:
    return [f"{wanted - calls:,} calls more that both answer"] if calls < wanted else []


def _unproven(tally: Tally, policy: Rollout) -> str:
    bound = f"it is not shown that its error is less than {policy.max_worse:.1%} above the live one's"
    return f"{bound}: {tally.unseen:,} disagreements wait for a person" if tally.unseen else f"{bound}: more calls"
