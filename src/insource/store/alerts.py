"""Alerts in SQL: one open for each cause, and of each how much of it the log and the webhook were told."""

from collections.abc import Collection, Sequence
from typing import Literal

import msgspec
from sqlalchemy import Connection, select, update

from insource.nouns import Alert, Cause, record_id, to_json
from insource.store.database import Database
from insource.store.stored import stored
from insource.store.tables import ALERT

Sink = Literal["logged", "sent"]


class Alerts:
    """The alerts of a store. Safe to use from several processes at once."""

    def __init__(self, thread: Database) -> None:
        self._thread = thread

    async def note(self, task: str, found: Sequence[Cause], over: Collection[str], now: str) -> None:
        """Opens an alert for each cause that has none, and closes those of the causes that are `over`.

        One that stands open gets the words and the evidence of now, and nobody is told again.
        """
        await self._thread.run(lambda c: note(c, task, found, over, now))

    async def standing(self, task: str = "") -> list[Alert]:
        """Those that are open, of one task or of everything, oldest first."""
        return await self._thread.look(lambda c: standing(c, task))

    async def untold(self, sink: Sink) -> list[Alert]:
        """Those whose opening or closing this sink was not told of, oldest first."""
        return await self._thread.look(lambda c: untold(c, sink))

    async def told(self, alert: Alert, sink: Sink) -> None:
        """Notes that this sink was told of the alert, as it stood then."""
        await self._thread.run(lambda c: told(c, alert, sink))


def note(connection: Connection, task: str, found: Sequence[Cause], over: Collection[str], now: str) -> None:
    """As `Alerts.note`."""
    open_now = {alert.cause: alert for alert in standing(connection, task) if alert.task == task}
    for one in found:
        alert = open_now.get(one.cause)
        if alert is None:
            made = Alert(id=record_id(), task=task, since=now, **msgspec.structs.asdict(one))
            row = {"id": made.id, "task": task, "cause": made.cause, "state": made.state, "logged": "", "sent": ""}
            connection.execute(ALERT.insert().values(**row, body=to_json(made).decode()))
            open_now[one.cause] = made
        else:
            _set(connection, msgspec.structs.replace(alert, **msgspec.structs.asdict(one)))
    seen = {one.cause for one in found}
    for cause in set(over) - seen:
        if cause in open_now:
            _set(connection, msgspec.structs.replace(open_now[cause], state="closed", closed=now))


def standing(connection: Connection, task: str) -> list[Alert]:
    """As `Alerts.standing`."""
    found = select(ALERT.c.body).where(ALERT.c.state == "open").order_by(ALERT.c.seq)
    found = found.where(ALERT.c.task == task) if task else found
    return [stored(body, Alert) for body in connection.execute(found).scalars()]


def untold(connection: Connection, sink: Sink) -> list[Alert]:
    """As `Alerts.untold`."""
    found = select(ALERT.c.body).where(ALERT.c[sink] != ALERT.c.state).order_by(ALERT.c.seq)
    return [stored(body, Alert) for body in connection.execute(found).scalars()]


def told(connection: Connection, alert: Alert, sink: Sink) -> None:
    """As `Alerts.told`."""
    connection.execute(update(ALERT).where(ALERT.c.id == alert.id).values({sink: alert.state}))


def _set(connection: Connection, alert: Alert) -> None:
    body = to_json(alert).decode()
    connection.execute(update(ALERT).where(ALERT.c.id == alert.id).values(state=alert.state, body=body))
