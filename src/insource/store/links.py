"""A link of the audit chain (`store.chain`): how an entry is made, and bound to the one before it."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from insource.nouns import Record, to_json
from insource.store import bulk
from insource.store.bulk import Sql
from insource.store.tables import ENTRY
from insource.store.verified import Head, Own

Kind = Literal["intent", "record", "review", "opinion", "withdrawn", "stage", "tightening", "declaration", "pruned"]
HASHED = ("record", "review", "opinion", "stage", "tightening", "declaration")  # entries of these kinds vouch for a row
ENTRY_NAMES = ("seq", "kind", "about", "body", "hash")
RECORD_COLUMNS = (
    "id", "task", "release", "tenant", "outcome", "input_hash", "confidence", "input_tokens", "output_tokens", "created"
)  # fmt: skip
SPAN = 2**40  # numbers of a chain: that of the chain, times this, and 1, 2, 3 … behind it
HEAD = "SELECT seq, hash FROM entry WHERE seq > ? AND seq < ? ORDER BY seq DESC LIMIT 1"
GONE = "SELECT about, body FROM entry WHERE kind = 'pruned' AND seq < ? ORDER BY seq"  # all in the first chain
NUMBER = re.compile("[0-9]{1,18}")  # what a row may be called that is called by its number


def enter(sql: Sql, said: Sequence[tuple[Kind, object, str]]) -> None:
    """Adds entries (kind, about, body), in the transaction of what they are about; for a row, `body` is the row's own.

    What a person took back (`store.withdrawn`) is whole in the entry that says so.
    That the oldest went (`store.retention`) is about the last entry of them, and its body is the hash of that one.
    """
    if not said:
        return
    behind = last(sql)
    before, rows = behind.hash, []
    for seq, (kind, about, body) in enumerate(said, behind.seq + 1):
        entry = (seq, kind, str(about), row_hash(body) if kind in HASHED else body)
        before = _bound(before, *entry)
        rows.append((*entry, before))
    bulk.insert(sql, ENTRY, ENTRY_NAMES, rows)
    if isinstance(sql, Own):
        sql.head = Head(seq=rows[-1][0], hash=before)


def last(sql: Sql) -> Head:
    """The last entry of the chain that is written through `sql`."""
    return sql.head if isinstance(sql, Own) else newest(sql, 0)


def newest(sql: Sql, chain: int) -> Head:
    """The last entry of a chain, though it went by age; where there never was one, its number is before the first."""
    row = sql.execute(HEAD, (chain * SPAN, (chain + 1) * SPAN)).fetchone()
    return Head(seq=row[0], hash=row[1]) if row else foots(sql).get(chain) or Head(seq=chain * SPAN)


def foots(sql: Sql) -> dict[int, Head]:
    """Chain → the entry before the first that is kept: the last of those that went by age; only where some did."""
    found: dict[int, Head] = {}
    for about, body in sql.execute(GONE, (SPAN,)):
        if NUMBER.fullmatch(str(about)):
            found[int(about) // SPAN] = Head(seq=int(about), hash=str(body))
    return found


def row_hash(body: str) -> str:
    """SHA-256 of a row's body."""
    return hashlib.sha256(body.encode()).hexdigest()


def entry_hash(before: str, entry: Mapping[str, object]) -> str:
    """The hash of an entry behind the one with the hash `before`."""
    return _bound(before, entry["seq"], entry["kind"], entry["about"], entry["body"])


def _bound(*words: object) -> str:
    """SHA-256 over the hash before an entry, and its number, kind, about and body."""
    return hashlib.sha256(to_json(words)).hexdigest()


def record_columns(record: Record) -> tuple[Any, ...]:
    """What stands of a record beside its body, to look it up by, as `RECORD_COLUMNS` names it."""
    answer = record.answer
    used = [attempt.prediction.usage for attempt in record.attempts if attempt.prediction is not None]
    return (
        record.id,
        record.task,
        record.release,
        record.tenant,
        record.outcome,
        record.input_hash,
        answer.confidence if answer else None,
        sum([usage.input_tokens for usage in used]),
        sum([usage.output_tokens for usage in used]),
        record.created,
    )
