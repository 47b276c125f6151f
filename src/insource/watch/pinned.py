"""The same rows, asked of an engine of others again and again: is it still the one that was measured? Pure.

Row by row against a first run: which are right, which keep the form, which say the same. What an engine does from one
night to the next anyway is told from the runs in between, so that one that is never quite the same does not cry wolf.
"""

from collections.abc import Sequence

from insource.nouns import Noun
from insource.stats import binomial_cdf, mcnemar
from insource.watch.window import Estimate, share

ALPHA, TESTS = 0.01, 3
FEWEST = 10
DIFFERS, BREAKS = 0.05, 0.005  # what is taken as usual where no run tells: answers that differ, and that break the form


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

    `first` is what later ones are compared with; `about` the digest of the engine's own settings, of which another is
    another engine. `left` counts rows that were not asked for their price or their sensitivity, `faults` those that
    nobody answered.
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
    seen = sum(map(len, quiet))
    changed = []
    if n >= FEWEST:
        if mcnemar(lost, won) <= ALPHA / TESTS:
            changed.append(f"{lost} of {n} rows are right no more, {won} are now (p {mcnemar(lost, won):.4f})")
        if _more(differ, n, _usual(sum(map(_differ, quiet)), seen, DIFFERS)):
            changed.append(f"{differ} of {n} answers are others than on {first.created[:10]}")
        if _more(broken, n, _usual(sum(map(_broken, quiet)), seen, BREAKS)):
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
    """The newest run beside the first one; what changed then is no longer usual. None where there are no two."""
    found = series(runs)
    if found is None or not found[1]:
        return None
    first, later = found
    quiet: list[Run] = []
    for run in later[:-1]:
        quiet += [run] * (not compared(first, quiet, run).changed)
    return compared(first, quiet, later[-1])


def _both(first: Run, now: Run) -> list[tuple[Row, Row]]:
    theirs = {row.id: row for row in now.rows}
    return [(row, theirs[row.id]) for row in first.rows if row.id in theirs]


def _differ(both: Sequence[tuple[Row, Row]]) -> int:
    return sum(a.said != b.said for a, b in both)


def _broken(both: Sequence[tuple[Row, Row]]) -> int:
    return sum(bool(a.said) and not b.said for a, b in both)


def _usual(count: int, n: int, otherwise: float) -> float:
    """The share that is usual; `otherwise` counts as a hundred rows."""
    return (count + otherwise * 100) / (n + 100)


def _more(count: int, n: int, usual: float) -> bool:
    """Whether so many are more than what is usual brings by luck (exact binomial)."""
    return count > 0 and 1 - binomial_cdf(count - 1, n, usual) <= ALPHA / TESTS


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2] if values else 0.0
