"""How gateways share the limits of an account, so that all together never admit more than it has.

Each may use its share; all shares are never more than the limit; none is lowered below what was used of it in a window.
So what any window holds is never more than the limit either, whoever was heard of late, twice or never. A share of
money is what may be spent beyond what the store has: shares, and what they have not brought into the store's sums yet.

Who has use for more gets it in the way of max-min fairness (water filling: Bertsekas and Gallager, Data Networks, 6.5):
nobody can get more without somebody getting less who has less. Pure: no clock, no store.
"""

from collections.abc import Mapping, Sequence

import msgspec

from insource.nouns import Limits
from insource.nouns.share import Part, Stake
from insource.route.limits import NANO

MINUTE, AT_ONCE, MONEY = ("requests_per_minute", "tokens_per_minute"), "concurrent", ("usd_per_day", "usd_per_month")
SLICES = 4  # of the money that nobody has asked for, a gateway is given one of so many parts of its even part


def limits_of(limits: Limits) -> dict[str, int]:
    """Limit → how much there is, money in billionths of a dollar."""
    found = {what: getattr(limits, what) for what in (*MINUTE, AT_ONCE)}
    found |= {what: int(usd * NANO) for what in MONEY if (usd := getattr(limits, what)) is not None}
    return {what: most for what, most in found.items() if most is not None}


def divided(
    limits: Limits, asked: Stake, others: Mapping[str, Stake], spent: Mapping[str, int], living: Sequence[str]
) -> Stake:
    """The stake of a gateway that asks for `asked`; the shares in that are what it holds to until it hears more.

    `others` are the stakes of the other gateways, `living` those of them that may ask for more, `spent` is period →
    what the store has. With the answer noted in the place of its former stake, no limit is above itself.
    """
    parts = dict[str, Part]()
    for what, most in limits_of(limits).items():
        mine = asked.parts[what]
        theirs = {name: part for name, stake in others.items() if (part := _same(stake, what, mine)) is not None}
        free = most - spent.get(mine.period, 0) - sum(_open(part.share, part) for part in theirs.values())
        wants = [_Want(_open(mine.want, mine), mine.least + _open(mine.used, mine), asked.since)]
        for name in living:
            part = theirs.get(name, Part())
            since = others[name].since if name in others else 0.0
            least = part.least + _open(part.used, part) if part.short else 0
            wants.append(_Want(_open(part.want, part), least, since))
        target = _target(most - spent.get(mine.period, 0), wants, SLICES if what in MONEY else 1)
        granted = max(0, min(free, max(_open(mine.share, mine), target)))
        parts[what] = msgspec.structs.replace(mine, share=granted + mine.durable)
    return msgspec.structs.replace(asked, parts=parts)


class _Want(msgspec.Struct):
    """What one has use for, and without how much its largest call cannot pass; 0 where it is not short."""

    want: int
    least: int
    since: float


def _open(amount: int, part: Part) -> int:
    """An amount without what the store's sums have already."""
    return max(0, amount - part.durable)


def _same(stake: Stake, what: str, mine: Part) -> Part | None:
    """A gateway's part of the same limit, of money in the same period."""
    part = stake.parts.get(what)
    return part if part is not None and part.period == mine.period else None


def _target(capacity: int, wants: Sequence[_Want], slices: int) -> int:
    """What the first of them should have of `capacity`: its fair part, and its even part of what nobody asked for."""
    low = [0] * len(wants)
    left = capacity
    for place in sorted(range(len(wants)), key=lambda i: (wants[i].since, i)):
        if 0 < wants[place].least <= left:  # who waits longest goes first: else two large calls bar each other for ever
            low[place] = wants[place].least
            left -= low[place]
    fair = filled(capacity, [max(one.want, least) for one, least in zip(wants, low, strict=True)], low)
    return fair[0] + max(0, capacity - sum(fair)) // (len(wants) * slices)


def filled(capacity: int, wants: Sequence[int], low: Sequence[int]) -> list[int]:
    """Each gets what it wants up to a level, the highest that `capacity` has, and what is `low` for it in any case."""

    def at(level: int) -> list[int]:
        return [max(least, min(want, level)) for want, least in zip(wants, low, strict=True)]

    under, over = 0, max(wants, default=0) + 1  # at `under` there is enough, unless what is low is too much already
    while over - under > 1:
        level = (under + over) // 2
        if sum(at(level)) <= capacity:
            under = level
        else:
            over = level
    found = at(under)
    left = capacity - sum(found)
    for place, want in enumerate(wants):
        if left > 0 and found[place] < want:
            found[place] += 1
            left -= 1
    return found
