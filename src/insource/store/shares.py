"""Gateways that share one store, and their shares of limits, in SQL. They change only where one is alone (`run`)."""

import math
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

from sqlalchemy import Connection, delete, func, select

from insource.nouns import to_json
from insource.nouns.share import Replica, Stake
from insource.store.bulk import driver, insert
from insource.store.database import Database
from insource.store.stored import stored
from insource.store.tables import OPEN_CALL, REPLICA, SHARE, SPENT

NANO = 1_000_000_000
REPLICA_NAMES, SHARE_NAMES = ("process", "beat", "lease_s", "duty"), ("account", "process", "short", "body")
HEARD = "ON CONFLICT (process) DO UPDATE SET beat = excluded.beat, lease_s = excluded.lease_s, duty = excluded.duty"
SHARED = "ON CONFLICT (account, process) DO UPDATE SET short = excluded.short, body = excluded.body"
EARLIER = "earlier"  # whoever called before gateways shared limits

# (account, what it asks for, the others', the money of its periods in the store, who lives) → what it gets
Divide = Callable[[str, Stake, Mapping[str, Stake], Mapping[str, int], list[str]], Stake]


class Payer(NamedTuple):
    """Whose money an account is: a tenant's, or of that what one `caller` spends."""

    tenant: str
    caller: str | None


class Asked(NamedTuple):
    """What is asked for an account: whose money it is, and the stake."""

    payer: Payer
    stake: Stake


class Turn(NamedTuple):
    """What a gateway says in one turn, and what it knows of others. It never says the same `beat` twice.

    `asked` are accounts, `left` those of which it holds nothing any more. `still` are processes that are gone for
    certain, `silent` those not heard of any more, `over` those whose stakes nobody can use, with their last beat.
    """

    process: str
    beat: int
    lease_s: float
    asked: Mapping[str, Asked]
    left: Collection[str]
    still: Collection[str]
    silent: Collection[str]
    over: Mapping[str, int]


class Answer(NamedTuple):
    """What a gateway gets, whether the duty is its own, and the stakes of others."""

    stakes: dict[str, Stake]
    duty: bool
    others: dict[str, dict[str, Stake]]


class Shares:
    """The shares of a store. Safe to use from several processes at once."""

    def __init__(self, thread: Database) -> None:
        self._thread = thread

    async def look(self, process: str) -> tuple[list[Replica], set[str]]:
        """Every gateway, and the accounts of which another than `process` is short."""
        return await self._thread.look(lambda c: (replicas(c), short(c, process)))

    async def turn(self, turn: Turn, divide: Divide) -> Answer:
        """Says and hears, in one piece."""
        return await self._thread.run(lambda c: take_turn(c, turn, divide))

    async def leave(self, process: str, stakes: Mapping[str, Stake], *, hold: bool) -> None:
        """Notes what a gateway that ends has used and nobody else may use yet; it is heard of no more.

        With `hold` what is there of such a one stays as it is.
        """
        await self._thread.run(lambda c: leave(c, process, stakes, hold=hold))

    async def trim(self, process: str, stakes: Mapping[str, Stake]) -> None:
        """Notes that of the stakes of a gateway which is gone no more was used than that."""
        await self._thread.run(lambda c: _put(c, process, stakes))

    async def of(self, process: str) -> tuple[dict[str, Stake], int]:
        """The stakes of a gateway, and how many of its calls have not ended."""
        return await self._thread.look(lambda c: (_of(c, process), _calls(c, process)))


def replicas(connection: Connection) -> list[Replica]:
    """Every gateway."""
    rows = connection.execute(select(REPLICA).order_by(REPLICA.c.process))
    return [Replica(process=row.process, beat=row.beat, lease_s=row.lease_s, duty=row.duty) for row in rows]


def short(connection: Connection, process: str) -> set[str]:
    """As `Shares.look`."""
    found = select(SHARE.c.account).where(SHARE.c.short.is_(True), SHARE.c.process != process)
    return set(connection.execute(found).scalars())


def take_turn(connection: Connection, turn: Turn, divide: Divide) -> Answer:
    """As `Shares.turn`."""
    known = {one.process: one for one in replicas(connection)}
    for process, beat in turn.over.items():
        if process in known and known[process].beat == beat:
            connection.execute(delete(SHARE).where(SHARE.c.process == process))
            connection.execute(delete(REPLICA).where(REPLICA.c.process == process))
            del known[process]
    known.pop(turn.process, None)
    dead = {*turn.still, *turn.silent, EARLIER, *(name for name, one in known.items() if one.lease_s == 0)}
    living = [name for name in known if name not in dead]
    duty = not any(known[name].duty for name in living)
    insert(driver(connection), REPLICA, REPLICA_NAMES, [(turn.process, turn.beat, turn.lease_s, duty)], HEARD)
    if turn.left:
        gone = SHARE.c.account.in_(sorted(turn.left))
        connection.execute(delete(SHARE).where(gone, SHARE.c.process == turn.process))
    others = _others(connection, turn)
    made = dict[str, Stake]()
    for account, asked in turn.asked.items():
        spent = {period: _spent(connection, asked.payer, period) for period in _periods(asked.stake)}
        made[account] = divide(account, asked.stake, others[account], spent, living)
    _put(connection, turn.process, made)
    return Answer(made, duty, others)


def leave(connection: Connection, process: str, stakes: Mapping[str, Stake], *, hold: bool) -> None:
    """As `Shares.leave`."""
    if hold and connection.execute(select(REPLICA.c.process).where(REPLICA.c.process == process)).first():
        return
    connection.execute(delete(SHARE).where(SHARE.c.process == process))
    _put(connection, process, stakes)
    beat = func.coalesce(func.max(REPLICA.c.beat), 0)
    last = int(connection.execute(select(beat).where(REPLICA.c.process == process)).scalar_one())
    insert(driver(connection), REPLICA, REPLICA_NAMES, [(process, last + 1, 0.0, False)], HEARD)


def _others(connection: Connection, turn: Turn) -> dict[str, dict[str, Stake]]:
    """Account → the stakes of others. Of a process that is gone no calls are under way."""
    found: dict[str, dict[str, Stake]] = {account: {} for account in turn.asked}
    wanted = select(SHARE).where(SHARE.c.account.in_(sorted(turn.asked)), SHARE.c.process != turn.process)
    for row in connection.execute(wanted):
        stake = stored(row.body, Stake)
        if row.process in turn.still:
            stake = Stake(parts={what: part for what, part in stake.parts.items() if what != "concurrent"})
        found[row.account][row.process] = stake
    return found


def _put(connection: Connection, process: str, stakes: Mapping[str, Stake]) -> None:
    rows = [(name, process, stake.short, to_json(stake).decode()) for name, stake in sorted(stakes.items())]
    insert(driver(connection), SHARE, SHARE_NAMES, rows, SHARED)


def _of(connection: Connection, process: str) -> dict[str, Stake]:
    rows = connection.execute(select(SHARE.c.account, SHARE.c.body).where(SHARE.c.process == process))
    return {row.account: stored(row.body, Stake) for row in rows}


def _calls(connection: Connection, process: str) -> int:
    return int(connection.execute(select(func.count()).where(OPEN_CALL.c.process == process)).scalar_one())


def _periods(stake: Stake) -> set[str]:
    return {part.period for part in stake.parts.values() if part.period}


def _spent(connection: Connection, payer: Payer, period: str) -> int:
    """What was spent on a day or in a month, in billionths."""
    sums = select(func.sum(SPENT.c.usd)).where(SPENT.c.tenant == payer.tenant)
    sums = sums.where(SPENT.c.day >= period, SPENT.c.day <= f"{period}~")
    if payer.caller is not None:
        sums = sums.where(SPENT.c.caller == payer.caller)
    return math.ceil(float(connection.execute(sums).scalar() or 0.0) * NANO)
