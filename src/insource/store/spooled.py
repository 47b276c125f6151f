"""What was spooled comes into the store, in order, each once, in SQL."""

from collections.abc import Sequence

from sqlalchemy import Connection, func, select

from insource.nouns import Noun
from insource.store import records
from insource.store.bulk import Sql, driver
from insource.store.spool_file import Line
from insource.store.tables import OPEN_CALL, RECORD


class Came(Noun, frozen=True, kw_only=True):
    """What was new: calls begun, calls ended, and answers that wait for a person. `known` were in the store already.

    `overtaken` are calls that the store has as interrupted and of which the spool knows the end.
    """

    begun: int = 0
    ended: int = 0
    pending: int = 0
    known: int = 0
    overtaken: tuple[str, ...] = ()


def take(connection: Connection, lines: Sequence[Line], process: str) -> Came:
    """Adds what is not here yet, all or nothing: calls that began, as those of `process`, then calls that ended.

    A call that is here stays as it is: the store may have taken it when nobody waited for that any longer, or when the
    same lines were carried in before.
    """
    intents = {line.intent.id: line.intent for line in lines if line.intent}
    ends = {line.record.id: (line.record, line.pending) for line in reversed(lines) if line.record}
    here = _outcomes(connection, [*intents, *ends])
    known = here.keys() | _open(connection, list(intents))
    fresh = [records.begun(intent, process) for name, intent in intents.items() if name not in known]
    records.intend(driver(connection), fresh)
    new = [records.kept(*ends[name]) for name in reversed(ends) if name not in here]
    records.append(driver(connection), new)
    return Came(
        begun=len(fresh),
        ended=len(new),
        pending=sum(call.pending is not None for call in new),
        known=len(intents) + len(ends) - len(fresh) - len(new),
        overtaken=tuple(name for name in ends if here.get(name, "") == "interrupted" != ends[name][0].outcome),
    )


def nothing(_: Sql, __: Sequence[None]) -> None:
    """Takes its turn."""


def count(connection: Connection) -> int:
    """How many records came in so. Inside a text of the body each quote has a stroke before it: it is no match."""
    wanted = select(func.count()).select_from(RECORD).where(RECORD.c.body.contains('"spooled":true'))
    return int(connection.execute(wanted).scalar() or 0)


def _outcomes(connection: Connection, ids: list[str]) -> dict[str, str]:
    found = connection.execute(select(RECORD.c.id, RECORD.c.outcome).where(RECORD.c.id.in_(ids)))
    return {row.id: row.outcome for row in found}


def _open(connection: Connection, ids: list[str]) -> set[str]:
    return set(connection.execute(select(OPEN_CALL.c.id).where(OPEN_CALL.c.id.in_(ids))).scalars())
