"""Stages as a table: which moves exist, what each needs, and which release was live before.

    candidate ──gate──▶ live ──▶ retired ──gate or rollback──▶ live
        ▲  └──────────────────────▶ │
        └────────────────────────────┘

Exactly one release of a task is live, or none. Knows nothing of the store: it decides, a journey does.
"""

from collections.abc import Sequence

from insource.errors import Conflict, Invalid, Refused
from insource.nouns import Gate, Release, Stage, StageChange

MOVES: dict[Stage, tuple[Stage, ...]] = {
    "candidate": ("live", "retired"),
    "live": ("retired",),
    "retired": ("candidate", "live"),
}
STAGES: tuple[Stage, ...] = tuple(MOVES)
LATER = ("staging", "shadow", "canary")


def stage_called(name: str) -> Stage:
    """The stage of that name. Raises `Invalid`, naming those that exist."""
    for stage in STAGES:
        if stage == name:
            return stage
    word = "is not built yet" if name in LATER else "is no stage"
    raise Invalid(f"{name!r} {word}", hint=f"stages: {', '.join(STAGES)}")


def check_move(release: Release, after: Stage) -> None:
    """Passes when the table has the move. Raises `Conflict`, naming the moves there are."""
    possible = MOVES.get(release.stage, ())
    if after == release.stage:
        raise Conflict(f"{release.name} is {after} already")
    if after not in possible:
        raise Conflict(
            f"{release.name} is {release.stage} and cannot become {after}",
            hint=f"from {release.stage} it can become {' or '.join(possible)}" if possible else "",
        )


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
