"""The rolling holdout: rows that people settled lately and the live release was not taught, and what their trend says.

Its rows are of two kinds. Answers drawn by chance speak for all that are given automatically; those that were looked at
because nobody was sure are harder, and only their change in time says something. Pure.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

from insource.nouns import Example, Noun
from insource.stats import trend
from insource.watch.triage import Triage
from insource.watch.window import Estimate, share

FEWEST = 30
ALPHA, DOUBT = 0.01, 0.2
CHANCE, LOOKED_AT = "drawn by chance", "looked at"


class Held(Noun, frozen=True, kw_only=True):
    """A row of the holdout: when its call came (UTC, ISO 8601), and whether it was drawn by chance."""

    row: Example
    at: str
    drawn: bool


class Week(Noun, frozen=True, kw_only=True):
    """Of the rows of one kind and one week ("2026-W48"): how many the release answered right, of how many."""

    week: str
    kind: str
    right: int
    n: int


class Result(Noun, frozen=True, kw_only=True):
    """One look at the holdout with one release. `by_chance` is of the rows drawn by chance, `looked_at` of the others.

    `slope` is by how much accuracy changes over the window, `falls` how easily such a fall comes by luck, as
    `stats.trend` has them.
    """

    release: str
    created: str
    report: str
    by_chance: Estimate | None
    looked_at: Estimate | None
    slope: float
    falls: float
    weeks: tuple[Week, ...]

    @property
    def n(self) -> int:
        """Rows of both kinds."""
        return sum(each.n for each in (self.by_chance, self.looked_at) if each is not None)


def chosen(found: Iterable[Held], since: str, taught: Iterable[object], most: int) -> list[Held]:
    """The newest `most` rows since then whose `row.id` is not among the `taught`; those drawn by chance go first."""
    known = set(taught)
    fresh = [one for one in found if one.at >= since and one.row.id not in known]
    return sorted(fresh, key=lambda one: (one.drawn, one.at, one.row.id), reverse=True)[:most]


def result(release: str, created: str, report: str, marked: Sequence[tuple[Held, bool]]) -> Result:
    """What came of asking the release; `marked` are its rows, each with whether the answer was right."""
    kinds = [CHANCE if held.drawn else LOOKED_AT for held, _ in marked]
    times = [datetime.fromisoformat(held.at).timestamp() for held, _ in marked]
    right = [good for _, good in marked]
    found = trend(times, right, kinds)
    counts: dict[tuple[str, str], list[int]] = {}
    for (held, good), kind in zip(marked, kinds, strict=True):
        year, week, _ = datetime.fromisoformat(held.at).isocalendar()
        count = counts.setdefault((f"{year}-W{week:02}", kind), [0, 0])
        count[0] += good
        count[1] += 1
    weeks = tuple(Week(week=week, kind=kind, right=n[0], n=n[1]) for (week, kind), n in sorted(counts.items()))
    by_kind = {
        kind: share(
            sum(one.right for one in weeks if one.kind == kind), sum(one.n for one in weeks if one.kind == kind)
        )
        for kind in (CHANCE, LOOKED_AT)
    }
    return Result(
        release=release,
        created=created,
        report=report,
        by_chance=by_kind[CHANCE],
        looked_at=by_kind[LOOKED_AT],
        slope=found.slope,
        falls=found.falls,
        weeks=weeks,
    )


def judged(task: str, found: Result | None, demanded: float | None) -> Triage:
    """Noise, drift or degradation: whether it falls by more than luck, and whether it is below what is demanded.

    Degradation is an accuracy, of answers drawn by chance, whose whole interval lies below what the task demands. A
    fall that luck brings less than once in a hundred looks is drift; one that it brings once in five is noise.
    """
    if found is None or found.n < FEWEST:
        n = found.n if found else 0
        return Triage(state="too few", why=f"{n:,} rows that people settled and it was not taught, {FEWEST} are wanted")
    drawn = found.by_chance
    if drawn is not None and drawn.n >= FEWEST and demanded is not None and drawn.high < demanded:
        found_right = f"{drawn.value:.1%} ({drawn.low:.1%} to {drawn.high:.1%}, n {drawn.n:,})"
        return Triage(
            state="degradation",
            why=f"of the answers drawn by chance {found_right} are right, {demanded:.1%} is demanded",
            next=f"insource improve {task}, or insource release rollback {task}",
        )
    fall = f"{-found.slope:.1%} lower at the end of the window than at its start (p {found.falls:.4f}, n {found.n:,})"
    if found.falls <= ALPHA:
        return Triage(state="drift", why=fall, next=f"insource improve {task}")
    if found.falls <= DOUBT:
        return Triage(state="noise", why=f"{fall}: luck does as much")
    return Triage(state="steady", why=f"it does not fall (p {found.falls:.2f}, n {found.n:,})")
