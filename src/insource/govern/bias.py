"""Whether it does as well over the declared slices: each with its interval, the gaps corrected for how many there are.

A slice is the test rows that carry a tag's value. Slices hold different rows, so their shares are compared as two
samples (Newcombe 1998), each interval widened so that all together are wrong in 5% of cases at most (Bonferroni).
"""

from itertools import combinations

from insource.govern.about_data import of_dataset
from insource.govern.about_model import no_report, of_report
from insource.govern.evidence import Found, Gap, Source, table
from insource.govern.facts import Facts
from insource.nouns import Noun, Score
from insource.stats import share_difference

FEW = 20  # rows; a report scores no smaller slice
COLUMNS = ("slice", "test rows", "right", "95% interval", "remark")


class Gaps(Noun, frozen=True, kw_only=True):
    """The difference of two slices of a tag, the first the worse; the interval is of all `compared` together."""

    worse: str
    better: str
    value: float
    low: float
    high: float
    compared: int

    @property
    def more_than_luck(self) -> bool:
        """Whether the interval keeps clear of none."""
        return self.high < 0 or self.low > 0


def bias(facts: Facts) -> Found | Gap:
    """The declared slices, the largest gap, and what is too small to say."""
    report, candidate, wanted = facts.report, facts.candidate, facts.configured.governing.slices
    file = f"tasks/{facts.task.name}.toml"
    if not wanted:
        return Gap(why="no slices are declared", fill=f'write slices = ["TAG"] under [govern] in {file}')
    if report is None or candidate is None:
        return no_report(facts)
    scores = {
        score.slice: score for score in candidate.scores if score.slice and score.slice.partition("=")[0] in wanted
    }
    known = facts.rows.slices if facts.rows else {}
    unknown = [key for key in wanted if key not in known and not any(name.startswith(f"{key}=") for name in scores)]
    if unknown:
        fill = f"insource collect {facts.task.name} FILE --tag {unknown[0]}, then measure again"
        return Gap(why=f"no test row carries the tag {', '.join(unknown)}", fill=fill)
    alone = [key for key in wanted if sum(name.startswith(f"{key}=") for name in scores) < 2]
    if alone:
        why = f"the report has fewer than two slices of {', '.join(alone)} with {FEW} rows or more"
        return Gap(why=why, fill=f"insource collect {facts.task.name} FILE --tag {alone[0]}, then measure again")
    gaps = largest(scores, wanted)
    rows = [line for key in wanted for line in _lines(key, scores, known.get(key, {}))]
    sources = [of_report(facts), Source(kind="task file", name=facts.configured.file)]
    sources += [of_dataset(facts)] if known else []
    words = " ".join(_said(gap) for gap in gaps)
    return Found(words=words, table=table(COLUMNS, rows), sources=tuple(sources))


def largest(scores: dict[str, Score], wanted: tuple[str, ...]) -> list[Gaps]:
    """The largest gap of each tag, of all pairs of its slices; intervals are corrected for the pairs of all tags."""
    pairs = [pair for key in wanted for pair in combinations(_of(key, scores), 2)]
    level = 1 - 0.05 / max(1, len(pairs))
    found = []
    for key in wanted:
        mine = [_gap(a, b, level, len(pairs)) for a, b in combinations(_of(key, scores), 2)]
        found.append(min(mine, key=lambda gap: (gap.value, gap.worse, gap.better)))
    return found


def _of(key: str, scores: dict[str, Score]) -> list[Score]:
    return [score for name, score in sorted(scores.items()) if name.startswith(f"{key}=")]


def _gap(a: Score, b: Score, level: float, compared: int) -> Gaps:
    a, b = sorted((a, b), key=lambda score: (score.value, str(score.slice)))
    value, low, high = share_difference(round(a.value * a.n), a.n, round(b.value * b.n), b.n, level)
    return Gaps(worse=str(a.slice), better=str(b.slice), value=value, low=low, high=high, compared=compared)


def _said(gap: Gaps) -> str:
    interval = f"{gap.value * 100:+.1f} points ({gap.low * 100:+.1f} to {gap.high * 100:+.1f}"
    many = f", corrected for {gap.compared:,} pairs" if gap.compared > 1 else ""
    words = f"The largest gap is {gap.worse} behind {gap.better}: {interval}{many})."
    if gap.more_than_luck:
        return f"{words} That is more than luck."
    unseen = f"{(gap.high - gap.value) * 100:.1f} points"
    return f"{words} Luck does as much; a gap of less than about {unseen} would not show in so few rows."


def _lines(key: str, scores: dict[str, Score], known: dict[str, int]) -> list[tuple[str, ...]]:
    lines: list[tuple[str, ...]] = [
        (str(one.slice), f"{one.n:,}", f"{one.value:.1%}", f"{one.low:.1%} to {one.high:.1%}", one.metric)
        for one in _of(key, scores)
    ]
    for value, n in sorted(known.items()):
        if f"{key}={value}" not in scores:
            why = f"too few: {FEW} are wanted" if n < FEW else "the report has the largest slices only"
            lines.append((f"{key}={value}", f"{n:,}", "not said", "", why))
    return lines
