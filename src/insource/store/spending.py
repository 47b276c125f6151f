"""What calls cost, summed by day, tenant and caller in the transaction that keeps the call."""

from collections import defaultdict
from collections.abc import Sequence

from sqlalchemy import Connection, select

from insource.nouns import Record
from insource.store import bulk
from insource.store.bulk import Sql, driver
from insource.store.spent import Spent, Used
from insource.store.stored import stored
from insource.store.tables import RECORD, SPENT

PAGE = 1000
ADDED = "ON CONFLICT (day, tenant, caller) DO UPDATE SET usd = spent.usd + excluded.usd"


def spend(sql: Sql, records: Sequence[Record]) -> None:
    """Adds what calls cost, in one order everywhere: two that write the same rows must not wait for each other."""
    sums: dict[tuple[str, str, str], float] = defaultdict(float)
    for record in records:
        if record.usd:
            sums[record.created[:10], record.tenant, record.caller] += record.usd
    bulk.insert(sql, SPENT, Spent.__struct_fields__, [(*whose, sums[whose]) for whose in sorted(sums)], ADDED)


def spent(connection: Connection, since: str) -> list[Spent]:
    """What was spent from the day `since` on."""
    found = connection.execute(select(SPENT).where(SPENT.c.day >= since).order_by(SPENT.c.day))
    return [Spent(day=row.day, tenant=row.tenant, caller=row.caller, usd=row.usd) for row in found]


def used(connection: Connection, since: str) -> list[Used]:
    """The calls from the time `since` on, newest first.

    They are the last that were kept, but for some that an import may have brought since: one page of older ones ends
    the search.
    """
    found: list[Used] = []
    below = None
    while True:
        page = select(RECORD.c.seq, RECORD.c.created, RECORD.c.tenant, RECORD.c.body).order_by(RECORD.c.seq.desc())
        page = page.add_columns(RECORD.c.input_tokens + RECORD.c.output_tokens)
        rows = connection.execute((page if below is None else page.where(RECORD.c.seq < below)).limit(PAGE)).all()
        recent = [row for row in rows if row.created >= since]
        for row in recent:
            caller = stored(row.body, Record).caller
            found.append(Used(created=row.created, tenant=row.tenant, caller=caller, tokens=row[-1]))
        if not recent:
            return found
        below = rows[-1].seq


def sum_up(connection: Connection) -> None:
    """Fills the sums from the records that there are."""
    after = 0
    while True:
        page = select(RECORD.c.seq, RECORD.c.body).where(RECORD.c.seq > after).order_by(RECORD.c.seq).limit(PAGE)
        rows = connection.execute(page).all()
        if not rows:
            return
        spend(driver(connection), [stored(row.body, Record) for row in rows])
        after = rows[-1].seq
