"""What calls took and cost, kept summed by the hour, so that nobody reads every call to say it.

A call adds nothing to the sums when it is kept: those that came since are added when somebody asks, and every minute by
a gateway that runs. The sums keep what went by age.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, func, select, update

from insource.errors import StoreError
from insource.nouns import WAITS, Noun, Usage
from insource.store import bulk
from insource.store.bulk import driver
from insource.store.database import Database
from insource.store.stored import stored
from insource.store.tables import RECORD, TALLIED, TALLY

PART = 2_000
SUMMED = ("calls", "failed", "review", "spooled", "input_tokens", "output_tokens", "usd")
NAMES = ("kind", "hour", "name", *SUMMED)
MORE = ", ".join(f"{name} = tally.{name} + excluded.{name}" for name in SUMMED)
ADDED = f"ON CONFLICT (kind, hour, name) DO UPDATE SET {MORE}"
MARK = "ON CONFLICT (id) DO UPDATE SET through = excluded.through"
LONGEST_S, PAUSE_S = 20.0, 0.005
WRITING = """
    SELECT virtualtransaction FROM pg_locks
    WHERE relation = 'record'::regclass AND mode = 'RowExclusiveLock' AND granted
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
UNANSWERED = ("failed", "interrupted")
Progress = Callable[[str, int, int], None]
Sums = dict[tuple[str, str, str], list[float]]  # by kind, hour and name


class Took(Noun, frozen=True, kw_only=True):
    """What was spent under one name: calls, tokens in and out of every engine asked, US dollars at the set prices.

    `spooled` of the calls came in from a spool, the store being down at the time.
    """

    name: str
    calls: int = 0
    failed: int = 0
    review: int = 0
    spooled: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    usd: float = 0.0


class _Asked(msgspec.Struct, frozen=True):
    engine: str


class _Said(msgspec.Struct, frozen=True):
    usage: Usage = Usage()


class _Attempt(msgspec.Struct, frozen=True):
    decision: _Asked
    prediction: _Said | None = None
    usd: float = 0.0


class _Call(msgspec.Struct, frozen=True):
    """A record, as far as it is counted: the rest of it is not even read."""

    task: str | None
    release: str | None
    tenant: str
    attempts: tuple[_Attempt, ...]
    outcome: str
    usd: float = 0.0
    created: str = ""
    spooled: bool = False


class _Part(NamedTuple):
    """Some calls behind the mark, summed."""

    mark: int
    through: int
    calls: int
    sums: Sums


class Tally:
    """The sums of a store."""

    def __init__(self, thread: Database) -> None:
        self._thread = thread

    async def fold(self, progress: Progress | None = None) -> None:
        """Adds the calls that came since. Several at once, and a kill, count none twice. Raises `StoreError`."""
        newest, done, total = await self._all_before(), 0, -1
        while True:
            part = await self._thread.look(lambda c: _next(c, newest))
            if not part.calls:
                return
            await self._thread.run(lambda c, part=part: _add(c, part))  # type: ignore[misc]
            total = total if total >= 0 else newest - part.mark
            done += part.calls
            if progress is not None:
                progress("adding up calls", min(done, total), total)

    async def _all_before(self) -> int:
        """The number of the newest call once no other can come before it. It holds up nobody who writes meanwhile."""
        newest, writing = await self._thread.look(_newest)
        until = time.monotonic() + LONGEST_S
        while writing:
            if time.monotonic() > until:
                raise StoreError(
                    f"calls cannot be added up: a transaction that wrote some goes on for more than {LONGEST_S:.0f} s",
                    hint="pg_stat_activity says whose it is; when it has ended, run the same again",
                )
            await asyncio.sleep(PAUSE_S)
            writing &= await self._thread.look(_writing)
        return newest

    async def used(self, by: str, since: datetime | None) -> list[Took]:
        """The sums by "task", "tenant", "release", "engine" or "day", from a time on; in no order."""
        return await self._thread.look(lambda c: used(c, by, since))


def used(connection: Connection, by: str, since: datetime | None) -> list[Took]:
    """As `Tally.used`. Of a time within an hour, the calls of that hour are looked at one by one, as far as kept."""
    kind = "task" if by == "day" else by
    name = func.substr(TALLY.c.hour, 1, 10) if by == "day" else TALLY.c.name
    summed = [func.sum(TALLY.c[column]).label(column) for column in SUMMED]
    found = select(name.label("name"), *summed).where(TALLY.c.kind == kind).group_by(name)
    if since is None:
        return [_took(row) for row in connection.execute(found).mappings()]
    hour = _hour(since)
    whole = since == since.replace(minute=0, second=0, microsecond=0)
    found = found.where(TALLY.c.hour >= hour if whole else TALLY.c.hour > hour)
    took = {one.name: one for one in map(_took, connection.execute(found).mappings())}
    for (_, at, named), sums in ({} if whole else _rest(connection, kind, since)).items():
        one = Took(name=at[:10] if by == "day" else named, **_typed(dict(zip(SUMMED, sums, strict=True))))
        took[one.name] = _together(took.get(one.name, Took(name=one.name)), one)
    return list(took.values())


def _rest(connection: Connection, kind: str, since: datetime) -> Sums:
    """The sums of the calls of the hour of `since` that came no sooner. No index knows their times: all are passed."""
    start = since.isoformat(timespec="milliseconds")
    wanted = select(RECORD.c.body).where(RECORD.c.created >= start, RECORD.c.created < _hour(since) + ":~")
    sums: Sums = {}
    for body in connection.execute(wanted).scalars():
        _count(sums, stored(body, _Call))
    return {key: value for key, value in sums.items() if key[0] == kind}


def _newest(connection: Connection) -> tuple[int, set[str]]:
    """The number of the newest call, and the transactions that may have lower ones which nobody sees yet.

    In SQLite who writes is alone. In PostgreSQL a call is numbered before it is committed, by a transaction that has by
    then the lock of who writes rows: those with lower numbers have it when this looks, or have ended.
    """
    newest = int(connection.execute(select(func.max(RECORD.c.seq))).scalar() or 0)
    return newest, _writing(connection)


def _writing(connection: Connection) -> set[str]:
    """The transactions that have written calls, or are about to."""
    if connection.dialect.name != "postgresql":
        return set()
    return set(connection.exec_driver_sql(WRITING).scalars())


def _next(connection: Connection, newest: int) -> _Part:
    mark = _mark(connection)
    wanted = select(RECORD.c.seq, RECORD.c.body).where(RECORD.c.seq > mark, RECORD.c.seq <= newest)
    rows = connection.execute(wanted.order_by(RECORD.c.seq).limit(PART)).all()
    sums: Sums = {}
    for row in rows:
        _count(sums, stored(row.body, _Call))
    return _Part(mark, rows[-1].seq if rows else mark, len(rows), sums)


def _add(connection: Connection, part: _Part) -> None:
    """Adds a part, unless somebody added it meanwhile."""
    if _mark(connection) != part.mark:
        return
    rows = [(*key, *sums) for key, sums in part.sums.items()]
    bulk.insert(driver(connection), TALLY, NAMES, rows, ADDED)
    bulk.insert(driver(connection), TALLIED, ("id", "through"), [(1, part.through)], MARK)


def newest_went(connection: Connection) -> None:
    """Where the newest calls went, SQLite gives their numbers again: those who get them are added up as well."""
    newest = select(func.coalesce(func.max(RECORD.c.seq), 0)).scalar_subquery()
    connection.execute(update(TALLIED).where(TALLIED.c.through > newest).values(through=newest))


def _mark(connection: Connection) -> int:
    return int(connection.execute(select(TALLIED.c.through)).scalar() or 0)


def _count(sums: Sums, call: _Call) -> None:
    """Adds a call under its names: once with all its attempts, and by engine each attempt where it was made."""
    hour = call.created[:13]
    said = [attempt.prediction.usage for attempt in call.attempts if attempt.prediction]
    tokens = sum(one.input_tokens for one in said), sum(one.output_tokens for one in said)
    whole = (1, call.outcome in UNANSWERED, call.outcome in WAITS, call.spooled, *tokens, call.usd)
    for kind, name in (("task", call.task), ("tenant", call.tenant), ("release", call.release)):
        _into(sums, (kind, hour, name or "-"), whole)
    for attempt in call.attempts:
        usage = attempt.prediction.usage if attempt.prediction else Usage()
        took = (1, attempt.prediction is None, 0, call.spooled, usage.input_tokens, usage.output_tokens, attempt.usd)
        _into(sums, ("engine", hour, attempt.decision.engine or "-"), took)


def _into(sums: Sums, key: tuple[str, str, str], more: tuple[float, ...]) -> None:
    here = sums.setdefault(key, [0] * len(SUMMED))
    for i, value in enumerate(more):
        here[i] += value


def _took(row: Any) -> Took:
    return Took(name=str(row["name"]), **_typed(row))


def _typed(row: Any) -> dict[str, Any]:
    """The sums as numbers of Python: PostgreSQL adds whole ones up to decimals."""
    return {name: float(row[name]) if name == "usd" else int(row[name]) for name in SUMMED}


def _together(one: Took, other: Took) -> Took:
    return msgspec.structs.replace(one, **{name: getattr(one, name) + getattr(other, name) for name in SUMMED})


def _hour(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat()[:13]
