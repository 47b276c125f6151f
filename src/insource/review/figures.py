"""The queue in figures: how long people take, how far they agree, what nobody looked at in time. Pure."""

import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from datetime import datetime

from insource.nouns import Noun, Pending, Review, Waiting, likeness
from insource.review.unfit import Unfit
from insource.stats import agreement, quantile, quantile_interval

FEEDBACK = "feedback"
Words = Sequence[tuple[Pending, Review]]


class Took(Noun, frozen=True, kw_only=True):
    """Seconds from when an answer began to wait until it was settled, at a quantile, with its 95% interval.

    None where so few answers vouch for no end.
    """

    share: float
    seconds: float
    low: float | None
    high: float | None
    n: int


class Agreed(Noun, frozen=True, kw_only=True):
    """How far the first two people agreed on what two had to see: the share, and Cohen's kappa, with 95% intervals."""

    n: int
    share: float
    share_low: float
    share_high: float
    kappa: float | None
    kappa_low: float | None
    kappa_high: float | None


class Figures(Noun, frozen=True, kw_only=True):
    """The queue of a task. `half` of those that wait have somebody's word already and wait for another's.

    `settled` answers have a verdict; everything below is of the newest of them that were looked at. `verdicts` counts
    what people decided, `timeouts` what was settled since nobody looked in time, by its fallback. `took` holds the
    times of the former; feedback of an application, which never waited, is not among those.
    """

    task: str
    waiting: int
    half: int
    oldest: str
    verdicts: dict[str, int]
    timeouts: dict[str, int]
    took: tuple[Took, ...]
    agreement: Agreed | None
    third: int
    unfit: Unfit
    settled: int = 0

    @property
    def looked_at(self) -> int:
        """How many verdicts the figures are of."""
        return sum(self.verdicts.values()) + sum(self.timeouts.values())


def figures(task: str, waits: Waiting, settled: Words, words: Words, none: Unfit) -> Figures:
    """The figures of a task's queue, from what waits, what is settled, and the words where two had to say one."""
    people = [(pending, review) for pending, review in settled if not review.fallback]
    took = sorted(_seconds(p, r) for p, r in people if p.reason != FEEDBACK and p.created and r.decided)
    return Figures(
        task=task,
        waiting=waits.answers,
        half=waits.half,
        oldest=waits.oldest,
        verdicts=dict(Counter(review.verdict for _, review in people)),
        timeouts=dict(Counter(str(review.fallback) for _, review in settled if review.fallback)),
        took=tuple(_took(took, share) for share in (0.5, 0.95)) if took else (),
        agreement=_agreed(words),
        third=sum(n > 2 for n in Counter(review.record for _, review in words).values()),
        unfit=none,
    )


def _seconds(pending: Pending, review: Review) -> float:
    waited = datetime.fromisoformat(review.decided) - datetime.fromisoformat(pending.created)
    return max(waited.total_seconds(), 0.0)


def _took(took: Sequence[float], share: float) -> Took:
    low, high = (end if math.isfinite(end) else None for end in quantile_interval(took, share))
    return Took(share=share, seconds=quantile(took, share), low=low, high=high, n=len(took))


def _agreed(words: Words) -> Agreed | None:
    """Of the first two: a third is asked only where those disagree, so what they say would bend the figure."""
    said: dict[str, list[Hashable]] = defaultdict(list)
    for pending, review in words:
        said[review.record].append(_judgement(pending, review))
    pairs = [(both[0], both[1]) for both in said.values() if len(both) > 1]
    if not pairs:
        return None
    found = agreement(pairs)
    return Agreed(
        n=found.n, share=found.share, share_low=found.share_low, share_high=found.share_high,
        kappa=found.kappa, kappa_low=found.kappa_low, kappa_high=found.kappa_high,
    )  # fmt: skip


def _judgement(pending: Pending, review: Review) -> Hashable:
    """What a person holds for right, else the verdict: that is what two agree on."""
    right = pending.value if review.verdict == "right" else review.corrected
    return review.verdict if right is None else likeness(right)


def service_words(seconds: float) -> str:
    """A time in words, to two digits or so: 40 s, 12 min, 3.5 h, 2.1 days."""
    for size, name in ((86_400.0, "days"), (3600.0, "h"), (60.0, "min")):
        if seconds >= size * (2 if name == "days" else 1):
            return f"{seconds / size:.3g} {name}"
    return f"{seconds:.0f} s"


def oldest(words: Iterable[Pending], before: str) -> list[Pending]:
    """Those that began to wait before a time (ISO 8601, UTC), the oldest first."""
    return sorted((one for one in words if one.created and one.created < before), key=lambda one: one.created)
