"""How far two people agree who judged the same items, beyond what chance would bring."""

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from insource.stats.intervals import wilson


@dataclass(frozen=True)
class Agreement:
    """The share of `n` items on which both said the same, and Cohen's kappa, each with its interval.

    Kappa is 1 where they always agree and 0 where they do so as often as two who do not look; None where both always
    said one and the same, for then that is no surprise.
    """

    n: int
    share: float
    share_low: float
    share_high: float
    kappa: float | None
    kappa_low: float | None
    kappa_high: float | None


def agreement(pairs: Sequence[tuple[Hashable, Hashable]], level: float = 0.95) -> Agreement:
    """The agreement of two who judged (Cohen 1960, doi:10.1177/001316446002000104). Raises ValueError without a pair.

    The interval of kappa is that of the share (Wilson 1927) with the agreement by chance held fixed, as Cohen does; so
    it is not a point where all agree.
    """
    n = len(pairs)
    if n == 0:
        raise ValueError("no items that two judged")
    same = sum(a == b for a, b in pairs)
    first, second = Counter(a for a, _ in pairs), Counter(b for _, b in pairs)
    chance = sum(first[word] * second[word] for word in first) / n**2
    share, (low, high) = same / n, wilson(same, n, level)
    if chance >= 1.0:
        return Agreement(n, share, low, high, None, None, None)
    kappa, kappa_low, kappa_high = ((x - chance) / (1 - chance) for x in (share, low, high))
    return Agreement(n, share, low, high, kappa, kappa_low, kappa_high)
