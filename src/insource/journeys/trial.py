"""A release on its way to all traffic: where it stands, what its trial came to, and the move that is due."""

from collections.abc import Sequence
from datetime import UTC, datetime
from statistics import fmean

from insource.journeys.promote import Move, move
from insource.nouns import Noun, Release, Side, StageChange, Trial, same
from insource.release.stages import TRIAL, Stop, days_here, days_wanted, next_stop
from insource.release.trial import Counts, Ruling, Tally, rule
from insource.settings import Settings, load_rollout
from insource.store import Store
from insource.store.trials import Seen

BY_ITSELF = "insource"
NEWEST = 1_000


class Means(Noun, frozen=True, kw_only=True):
    """What a call cost and took on average, of the newest `calls` that both answered: US dollars and ms of each."""

    calls: int
    ours_usd: float
    theirs_usd: float
    ours_ms: float
    theirs_ms: float


class Standing(Noun, frozen=True, kw_only=True):
    """Where a release is on its way, what was counted of its trial, and what becomes of it; `following` is next.

    `means` is None where nothing was tried.
    """

    release: str
    stop: Stop
    days: float
    wanted_days: float
    following: Stop | None
    tally: Tally
    ruling: Ruling
    means: Means | None = None


async def standing(release: Release, settings: Settings, store: Store, now: datetime | None = None) -> Standing:
    """Where `release` is on its way to all traffic, and what becomes of it now."""
    policy = load_rollout(settings, release.task)
    changes = await store.listings.changes_from(release.name)
    days, wanted = days_here(release, changes, now or datetime.now(UTC)), days_wanted(release, policy)
    tally, ruling = Tally(), Ruling(verdict="hold", why="it is on no trial", checks=())
    means: Means | None = None
    if release.stage in TRIAL:
        since, here = began(release, changes)
        counted, seen = await store.trials(release.name, since, here)
        quality = steps(seen)
        tally = Tally(
            calls=counted.calls,
            here=counted.here,
            agreed=counted.agreed,
            judged=int(sum(quality.values())),
            quality=quality,
            failures=counted.worse,
            speed=counted.slower,
        )
        ruling = rule(release, tally, policy, days, wanted)
        means = averaged(await store.newest_trials(release.name, since, NEWEST))
    elif release.stage == "staging":
        over = days >= wanted
        why = f"{days:.1f} of {wanted:g} days in staging"
        ruling = Ruling(verdict="on" if over else "hold", why=why, checks=(), missing=() if over else (why,))
    return Standing(
        release=release.name,
        stop=Stop(stage=release.stage, share=release.share),
        days=days,
        wanted_days=wanted,
        following=next_stop(release, policy),
        tally=tally,
        ruling=ruling,
        means=means,
    )


def averaged(tried: Sequence[Trial]) -> Means | None:
    """What the calls cost and took on average, of each release."""
    if not tried:
        return None
    return Means(
        calls=len(tried),
        ours_usd=fmean(one.ours.usd for one in tried),
        theirs_usd=fmean(one.theirs.usd for one in tried),
        ours_ms=fmean(one.ours.latency_ms for one in tried),
        theirs_ms=fmean(one.theirs.latency_ms for one in tried),
    )


async def advance(task: str, settings: Settings, store: Store, now: datetime | None = None) -> list[StageChange]:
    """Makes the moves of the task's releases that are due, where its policy leaves that to us.

    What is worse goes back whatever the policy says of going on. One in staging waits as long as another is on trial.
    """
    policy = load_rollout(settings, task)
    tried = await store.on_trial(task)
    waits = await store.listings.newest_release(task, ("staging",))
    moved = []
    for release in [one for one in (tried or waits,) if one is not None]:
        found = await standing(release, settings, store, now)
        to = found.following
        if found.ruling.verdict == "back":
            to = Stop(stage="retired")
        elif found.ruling.verdict == "hold" or not policy.auto or to is None:
            continue
        if to.stage in TRIAL and await store.live(task) is None:
            continue
        detail = {check.name: check.found for check in found.ruling.checks}
        asked = Move(to=to, why=found.ruling.why, who=BY_ITSELF, found=detail)
        moved.append(await move(release, settings, store, asked))
    return moved


def began(release: Release, changes: Sequence[StageChange]) -> tuple[str, str]:
    """When its trial began, and when its present stop. A trial begins anew beside another live release."""
    since = here = ""
    for change in changes:
        if change.release == release.name:
            here = change.created
            since = since if change.before in TRIAL and since else here
        elif change.after == "live":
            since = change.created
    return since, max(since, here)


def steps(seen: Sequence[Seen]) -> Counts:
    """The steps of the test of quality: +1 where ours alone was wrong, -1 where theirs alone was, 0 where both were."""
    found: Counts = {}
    for one in seen:
        if one.right is None:
            continue  # of the other answer nothing is known
        ours, theirs = (_wrong(side, one) for side in (one.trial.ours, one.trial.theirs))
        if ours is not None and theirs is not None:
            found[ours - theirs] = found.get(ours - theirs, 0) + 1
    return found


def _wrong(side: Side, seen: Seen) -> bool | None:
    """Whether this side was wrong; None where that cannot be told, for its answer was not kept."""
    if side.fault:
        return True
    if side.value is not None:
        return not same(side.value, seen.right)
    return None
