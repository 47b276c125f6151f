"""Stages as a table: which moves exist, what each needs, and which release was live before.

    candidate ──gate──▶ staging ──▶ shadow ──▶ canary 10, 50, 100% ──▶ live ──▶ retired
        ▲  └──────────────── whatever the policy lets be left out ───────▲         │
        └──────────────────────────────────────────────────────────────────────────┘  gate or rollback: live again

Exactly one release of a task is live, or none; one at most is on trial, in the shadow or as a canary. Knows nothing of
the store: it decides, a journey does.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from insource.errors import Conflict, Invalid, Refused
from insource.nouns import Gate, Noun, Release, Rollout, Stage, StageChange

MOVES: dict[Stage, tuple[Stage, ...]] = {
    "candidate": ("staging", "shadow", "canary", "live", "retired"),
    "staging": ("shadow", "canary", "live", "candidate", "retired"),
    "shadow": ("canary", "live", "staging", "candidate", "retired"),
    "canary": ("canary", "live", "shadow", "staging", "candidate", "retired"),
    "live": ("retired",),
    "retired": ("candidate", "staging", "shadow", "canary", "live"),
}
STAGES: tuple[Stage, ...] = tuple(MOVES)
TRAIN: tuple[Stage, ...] = ("candidate", "staging", "shadow", "canary", "live")
TRIAL: tuple[Stage, ...] = ("shadow", "canary")
ON_ITS_WAY: tuple[Stage, ...] = ("staging", *TRIAL)
DAY_S = 86_400.0
PILOT_SHARE = 10


class Stop(Noun, frozen=True, kw_only=True):
    """A place on the way to all traffic: a stage, and of a canary its share in per cent."""

    stage: Stage
    share: int = 0

    @property
    def words(self) -> str:
        """For people: "canary 10%"."""
        return f"{self.stage} {self.share}%" if self.share else self.stage


def stage_called(name: str) -> Stage:
    """The stage of that name. Raises `Invalid`, naming those that exist."""
    for stage in STAGES:
        if stage == name:
            return stage
    raise Invalid(f"{name!r} is no stage", hint=f"stages: {', '.join(STAGES)}")


def check_move(release: Release, to: Stop) -> None:
    """Passes when the table has the move. Raises `Conflict`, naming the moves there are; `Invalid` for the share."""
    possible = MOVES.get(release.stage, ())
    if Stop(stage=release.stage, share=release.share) == to:
        raise Conflict(f"{release.name} is {to.words} already")
    if to.stage not in possible:
        raise Conflict(
            f"{release.name} is {release.stage} and cannot become {to.stage}",
            hint=f"from {release.stage} it can become {' or '.join(possible)}" if possible else "",
        )
    if (to.stage == "canary") != (1 <= to.share <= 100):
        raise Invalid("a canary answers 1 to 100 per cent, and nothing else has a share", hint="--to canary --share 10")


def stops(policy: Rollout) -> list[Stop]:
    """The way that the policy lays out, from candidate to live."""
    steps = [Stop(stage="canary", share=share) for share in sorted(set(policy.canary))]
    return [*[Stop(stage=stage) for stage in TRAIN[:3]], *steps, Stop(stage="live")]


def next_stop(release: Release, policy: Rollout) -> Stop | None:
    """Where the release goes from here; None where it is not on the way."""
    if release.stage == "canary":
        return next((stop for stop in stops(policy) if stop.share > release.share), Stop(stage="live"))
    after = {"candidate": "staging", "staging": "shadow"}.get(release.stage)
    if release.stage == "shadow":
        return stops(policy)[3]
    return next((stop for stop in stops(policy) if stop.stage == after), None)


def days_here(release: Release, changes: Sequence[StageChange], now: datetime) -> float:
    """For how many days the release is where it is. `changes` are oldest first."""
    moved = [change.created for change in changes if change.release == release.name]
    since = datetime.fromisoformat(moved[-1] if moved else release.created or now.isoformat())
    return (now - (since if since.tzinfo else since.replace(tzinfo=UTC))).total_seconds() / DAY_S


def days_wanted(release: Release, policy: Rollout) -> float:
    """For how many days the policy wants it there."""
    wanted = {"staging": policy.staging_days, "shadow": policy.shadow_days, "canary": policy.canary_days}
    return wanted.get(release.stage, 0.0)


def check_order(release: Release, to: Stop, policy: Rollout, *, first: bool) -> None:
    """Passes unless the policy is `required` and the move leaves a stage out, other than for the `first` release.

    The first has nothing beside which it could be tried. Raises `Refused`.
    """
    upward = to.stage in TRAIN and (release.stage == "retired" or TRAIN.index(to.stage) >= TRAIN.index(release.stage))
    following = Stop(stage="staging") if release.stage == "retired" else next_stop(release, policy)
    if not policy.required or first or not upward or to == following or to.stage == "candidate":
        return
    where = following.words if following else "nowhere"
    raise Refused(
        f"{release.name} is {release.stage}, and the task's [rollout] lets no stage be left out: next is {where}",
        hint=f"insource release promote {release.name} --to {following.stage if following else 'candidate'}",
    )


def at(changes: Sequence[StageChange], time: str) -> dict[str, Stop]:
    """Which releases had to do with the traffic at `time` (ISO 8601, UTC), and how. `changes` are oldest first."""
    standing: dict[str, Stop] = {}
    moment = _moment(time)
    for change in changes:
        if _moment(change.created) > moment:
            break
        if change.after == "live":
            standing = {name: stop for name, stop in standing.items() if stop.stage != "live"}
        standing[change.release] = Stop(stage=change.after, share=change.share)
    return {name: stop for name, stop in standing.items() if stop.stage in (*TRIAL, "live")}


def let_on(releases: Sequence[Release], changes: Sequence[StageChange]) -> dict[str, str]:
    """Who let each release that is on its way begin it. `changes` are oldest first."""
    began = {one.release: one.who for one in changes if one.before not in ON_ITS_WAY and one.after in ON_ITS_WAY}
    return {one.name: began[one.name] for one in releases if one.stage in ON_ITS_WAY and one.name in began}


def _moment(time: str) -> datetime:
    try:
        found = datetime.fromisoformat(time)
    except ValueError as error:
        raise Invalid(f"{time!r} is no time", hint="for example 2026-11-27T09:30:00+00:00") from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def evidence(release: Release, gates: Sequence[Gate]) -> str:
    """The report id of the newest gate, when that gate passed this very artefact. `gates` are oldest first.

    Raises `Conflict` without a gate, `Refused` when the newest said no or looked at another artefact.
    """
    again = f"insource release gate {release.name}"
    if not gates:
        raise Conflict(f"{release.name} has not been through the gate", hint=again)
    newest = gates[-1]
    if newest.artefact != release.artefact:
        raise Refused(
            f"the gate looked at another artefact ({newest.artefact[:12]}) than {release.name} has"
            f" ({release.artefact[:12]})",
            hint=again,
        )
    if not newest.passed or not newest.report:
        failed = ", ".join(check.name for check in newest.checks if not check.passed) or "no report"
        raise Refused(f"the gate said no to {release.name}: {failed}", hint=f"{again} shows each check")
    return newest.report


def has_passed(release: Release, gates: Sequence[Gate]) -> bool:
    """True when the newest gate passed this very artefact: `evidence` would not raise."""
    return bool(gates) and gates[-1].artefact == release.artefact and gates[-1].passed and bool(gates[-1].report)


def held(changes: Sequence[StageChange], most: int = PILOT_SHARE) -> StageChange | None:
    """The newest change by which a canary of `most` per cent at most went on because its tests said so.

    One that a person moved on carries no figures, and shows nothing. `changes` are oldest first.
    """
    shares: dict[str, int] = {}
    newest = None
    for change in changes:
        onward = change.before == "canary" and change.after in ("canary", "live")
        if onward and change.found and 0 < shares.get(change.release, 0) <= most:
            newest = change
        shares[change.release] = change.share
    return newest


def line_of_live(changes: Sequence[StageChange]) -> list[str]:
    """The releases that went live and were not undone, first to last. `changes` are oldest first.

    A promotion carries a gate's report as evidence and adds to the line; a rollback carries none and goes back along
    it, so a second rollback goes further back and never returns to what the first one left.
    """
    line: list[str] = []
    for change in changes:
        if change.after == "live" and change.evidence:
            line.append(change.release)
        elif change.after == "live" and change.release in line:
            last = len(line) - 1 - line[::-1].index(change.release)
            del line[last + 1 :]
        elif change.before == "live" and line and line[-1] == change.release:
            line.pop()
    return line


def former(changes: Sequence[StageChange], live: str | None) -> str:
    """The name of the release that was live before `live` (None: nothing is). Raises `Conflict` if there is none."""
    line = line_of_live(changes)
    if live is not None and line and line[-1] == live:
        line.pop()
    if not line:
        what = f"{live} is the first that was live" if live else "nothing was live before"
        raise Conflict(f"there is no release to roll back to: {what}", hint="insource release list TASK")
    return line[-1]
