"""The same rows, asked of an engine of others again and again: is it still the one that was measured? Pure.

Row by row against a first run: which are right, which keep the form, which say the same. Few engines say the same
twice. How far one wavers is told from the first night, on which it is asked twice, and from the week behind it, and not
from later ones, lest a slow change become what is usual. So many rows that differ are too many when the beta-binomial
distribution of what was seen then brings them less than once in 300 nights.
"""

import math
from collections.abc import Sequence

from insource.nouns import Noun
from insource.stats import mcnemar
from insource.watch.window import Estimate, share

ALPHA, TESTS = 0.01, 3
FEWEST, LEARNT = 10, 7  # rows that say anything; nights from which it is learnt what is usual
PRIOR_ROWS = 20  # as if so many rows had been seen before any was, of which these shares
DIFFERS, BREAKS = 0.05, 0.005  # said something else, and broke the form


class Row(Noun, frozen=True, kw_only=True):
    """What came of one row: `said` is the digest of the value, empty where it broke the form.

    `right` is None where it cannot be scored.
    """

    id: str
    said: str
    right: bool | None = None
    ms: float = 0.0


class Run(Noun, frozen=True, kw_only=True):
    """One night's rows of one engine. `served` is what the server says that it is: the model, and a fingerprint.

    `first` is what later ones are compared with, and `wavers` are the rows of its night that were asked twice, those of
    them that differed, and those that kept the form the first time alone. `about` is the digest of the engine's own
    settings, of which another is another engine. `left` counts rows that were not asked for their price or their
    sensitivity, `faults` those that nobody answered.
    """

    engine: str
    created: str
    report: str = ""
    first: bool
    about: str
    pinned: str
    served: str = ""
    usd: float = 0.0
    left: int = 0
    faults: int = 0
    rows: tuple[Row, ...]
    wavers: tuple[int, int, int] = (0, 0, 0)


class Compared(Noun, frozen=True, kw_only=True):
    """A run beside the first one, on the rows of both. `changed` says in words what is not as it was; empty: nothing.

    `same` is the share of rows with the same answer; `lost` and `won` count rows that are right no more, or now,
    `broken` those that keep the form no more. `ms` are the medians, before and now.
    """

    engine: str
    since: str
    now: str
    n: int
    same: Estimate | None
    lost: int
    won: int
    broken: int
    ms: tuple[float, float]
    served: tuple[str, str]
    changed: tuple[str, ...]
    report: str = ""


def compared(first: Run, between: Sequence[Run], now: Run) -> Compared:
    """`now` beside `first`; the runs `between` tell what is usual for the engine."""
    both = _both(first, now)
    lost, won = (sum(1 for a, b in both if (a.right, b.right) == pair) for pair in ((True, False), (False, True)))
    n, differ, broken = len(both), _differ(both), _broken(both)
    quiet = [_both(first, run) for run in between]
    seen, differed, broke = (
        first.wavers[0] + sum(map(len, quiet)),
        first.wavers[1] + sum(map(_differ, quiet)),
        first.wavers[2] + sum(map(_broken, quiet)),
    )
    changed = []
    if n >= FEWEST:
        if mcnemar(lost, won) <= ALPHA / TESTS:
            changed.append(f"{lost} of {n} rows are right no more, {won} are now (p {mcnemar(lost, won):.4f})")
        if _more(differ, n, (differed, seen), DIFFERS):
            changed.append(f"{differ} of {n} answers are others than on {first.created[:10]}")
        if _more(broken, n, (broke, seen), BREAKS):
            changed.append(f"{broken} of {n} answers keep the form no more")
    models = [run.served.partition(" ")[0] for run in (first, now)]
    if all(models) and models[0] != models[1]:
        changed.append(f"it says that it is {models[1]}, and was {models[0]}")
    return Compared(
        engine=now.engine,
        since=first.created,
        now=now.created,
        n=n,
        same=share(n - differ, n),
        lost=lost,
        won=won,
        broken=broken,
        ms=(_median([a.ms for a, _ in both]), _median([b.ms for _, b in both])),
        served=(first.served, now.served),
        changed=tuple(changed),
        report=now.report,
    )


def series(runs: Sequence[Run]) -> tuple[Run, list[Run]] | None:
    """The newest first run and those behind it, oldest first; None without any."""
    starts = [i for i, run in enumerate(runs) if run.first]
    return (runs[starts[-1]], list(runs[starts[-1] + 1 :])) if starts else None


def newest(runs: Sequence[Run]) -> Compared | None:
    """The newest run beside the first one; a night that was told as changed is not usual. None where are no two."""
    found = series(runs)
    if found is None or not found[1]:
        return None
    first, later = found
    quiet: list[Run] = []
    for run in later[:-1][:LEARNT]:
        quiet += [run] * (not compared(first, quiet, run).changed)
    return compared(first, quiet, later[-1])


def wavering(rows: Sequence[Row], again: Sequence[Row]) -> tuple[int, int, int]:
    """What two passes of one night tell of an engine, as `Run.wavers` has it."""
    twice = {row.id: row for row in again}
    both = [(row, twice[row.id]) for row in rows if row.id in twice]
    return len(both), _differ(both), _broken(both)


def _both(first: Run, now: Run) -> list[tuple[Row, Row]]:
    theirs = {row.id: row for row in now.rows}
    return [(row, theirs[row.id]) for row in first.rows if row.id in theirs]


def _differ(both: Sequence[tuple[Row, Row]]) -> int:
    return sum(a.said != b.said for a, b in both)


def _broken(both: Sequence[tuple[Row, Row]]) -> int:
    return sum(bool(a.said) and not b.said for a, b in both)


def _more(count: int, n: int, seen: tuple[int, int], share: float) -> bool:
    """Whether `count` of `n` rows are more than `seen` (so many, of how many) foretells; before all of it, `share`."""
    a = seen[0] + share * PRIOR_ROWS
    b = seen[1] - seen[0] + (1 - share) * PRIOR_ROWS
    return count > 0 and _tail(count, n, a, b) <= ALPHA / TESTS


def _tail(count: int, n: int, a: float, b: float) -> float:
    """P(X ≥ count) of n rows, where the chance of each is Beta(a, b) (the beta-binomial distribution)."""

    def log_beta(x: float, y: float) -> float:
        return math.lgamma(x) + math.lgamma(y) - math.lgamma(x + y)

    whole = log_beta(a, b)
    terms = [math.log(math.comb(n, k)) + log_beta(k + a, n - k + b) - whole for k in range(count, n + 1)]
    return min(1.0, sum(map(math.exp, terms)))


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2] if values else 0.0
