"""The audit chain: every entry is bound to the one before it, so nothing can be changed without all that follows.

An entry says what happened (`kind`), to what (`about`), and what was then so (`body`): the words of an intent, or the
SHA-256 of the row it vouches for. Its hash is SHA-256 over the hash before it and all of this. Whoever can write the
file can make a new chain from any place on; only a checkpoint kept elsewhere (`store.checkpoints`) shows that.

In a shared database each gateway has a chain of its own for its calls, so that none waits for another. All the rest,
above all what people say and take back, is in the first chain, where the numbers tell what came before what.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from sqlalchemy import Column, CompoundSelect, Connection, Select, String, Table, cast, exists, func, select

from insource.nouns import Declaration, Record, Review, StageChange, Tightening
from insource.store import draws, links, withdrawn
from insource.store.bulk import driver
from insource.store.links import NUMBER, RECORD_COLUMNS, Kind, enter, entry_hash, record_columns, row_hash
from insource.store.opinions import name_of
from insource.store.stored import stored
from insource.store.tables import DECLARATION, ENTRY, OPEN_CALL, OPINION, RECORD, REVIEW, STAGE_CHANGE, TIGHTENING
from insource.store.verified import Fault, Head, Span, Verified
from insource.store.withdrawn import Withdrawn

PAGE = 2_000
FIRST: tuple[Kind, ...] = ("record", "review", "stage")  # what there was before there was a chain
PART = 500
MOST = 1_000
Gone = Mapping[str, list[tuple[int, Withdrawn | None]]]  # what was taken back, by the name of the row
# where the rows lie that entries of a kind vouch for, and by what they are called there
VOUCHED: Mapping[Kind, tuple[Table, Column[Any]]] = {
    "record": (RECORD, RECORD.c.id),
    "review": (REVIEW, REVIEW.c.record),
    "opinion": (OPINION, OPINION.c.name),
    "stage": (STAGE_CHANGE, STAGE_CHANGE.c.seq),
    "tightening": (TIGHTENING, TIGHTENING.c.seq),
    "declaration": (DECLARATION, DECLARATION.c.seq),
}
NUMBERED = ("stage", "tightening", "declaration")  # kinds whose rows are called by their number


def chains(connection: Connection) -> list[int]:
    """The chains that there are, the first one always."""
    found, after = [0], links.SPAN
    while True:
        first = connection.execute(select(func.min(ENTRY.c.seq)).where(ENTRY.c.seq > after)).scalar()
        if first is None:
            return found
        found.append(first // links.SPAN)
        after = (found[-1] + 1) * links.SPAN


def heads(connection: Connection) -> list[Head]:
    """The last entry of each chain, that of the first one first."""
    return [links.newest(driver(connection), chain) for chain in chains(connection)]


def count(connection: Connection) -> int:
    """How many entries there are, of all chains."""
    return _count(connection, ENTRY)


def at(connection: Connection, seqs: Collection[int]) -> dict[int, str]:
    """Number of an entry → its hash; empty where there is none."""
    kept, found = links.foots(driver(connection)), dict[int, str]()
    for seq in seqs:
        first = kept.get(seq // links.SPAN) or Head(seq=seq // links.SPAN * links.SPAN)
        there = select(ENTRY.c.hash).where(ENTRY.c.seq == seq)
        found[seq] = first.hash if seq == first.seq else str(connection.execute(there).scalar() or "")
    return found


def begin(connection: Connection) -> None:
    """Vouches for the rows of a store that had no chain yet, in the order in which they were written."""
    for kind in FIRST:
        table, name = VOUCHED[kind]
        rows = connection.execute(select(name.label("about"), table.c.body).order_by(table.c.seq)).all()
        enter(driver(connection), [(kind, row.about, row.body) for row in rows])


def entries(connection: Connection, after: int) -> list[dict[str, Any]]:
    """The entries behind the number `after`, at most 2,000, each with the body of the row it vouches for as `row`."""
    page = next(_pages(connection, after), [])
    gone = withdrawn.all_withdrawn(connection)
    for kind, (table, name) in VOUCHED.items():
        known = _known(page, kind)
        rows = connection.execute(select(name.label("about"), table.c.body).where(name.in_(known))) if known else ()
        bodies = {str(row.about): row.body for row in rows}
        for entry in (entry for entry in page if entry["kind"] == kind):
            back = _taken_back(gone, entry)
            entry["row"] = back[0].body if back and back[0] else bodies.get(entry["about"])
    return page


def verify(connection: Connection) -> Verified:
    """Looks at every entry and every row it vouches for."""
    faults: list[Fault] = []
    there = chains(connection)
    kept = links.foots(driver(connection))
    first = {chain: kept.get(chain) or Head(seq=chain * links.SPAN) for chain in {*there, *kept}}
    last = dict(first)
    gone = withdrawn.all_withdrawn(connection)
    for page in _pages(connection):
        for entry in page:
            chain = entry["seq"] // links.SPAN
            faults += _chain_faults(last.get(chain, Head()), entry)
            last[chain] = Head(seq=entry["seq"], hash=entry["hash"])
        faults += _row_faults(connection, page, gone)
        del faults[MOST:]
    faults += _unvouched(connection, gone)
    return Verified(
        entries=count(connection),
        rows=sum(_count(connection, table) for table, _ in VOUCHED.values()),
        foot=first.pop(0),
        head=last.pop(0),
        replicas=tuple(Span(foot=first[chain], head=last[chain]) for chain in sorted(first)),
        faults=tuple(faults[:MOST]),
    )


def _known(page: list[dict[str, Any]], kind: str) -> list[Any]:
    """What the rows of a kind are called that these entries are about."""
    mine = [entry["about"] for entry in page if entry["kind"] == kind]
    return [int(about) for about in mine if NUMBER.fullmatch(about)] if kind in NUMBERED else mine


def _pages(connection: Connection, after: int = 0) -> Iterator[list[dict[str, Any]]]:
    while True:
        found = connection.execute(select(ENTRY).where(ENTRY.c.seq > after).order_by(ENTRY.c.seq).limit(PAGE))
        # who writes the file can write anything: what is no text is none of ours, and its hash will say so
        page: list[dict[str, Any]] = [
            {name: value if name == "seq" else str(value) for name, value in row.items()} for row in found.mappings()
        ]
        if not page:
            return
        yield page
        after = page[-1]["seq"]


def _chain_faults(last: Head, entry: Mapping[str, Any]) -> list[Fault]:
    said = {"seq": entry["seq"], "kind": entry["kind"], "about": entry["about"]}
    faults = []
    if entry["seq"] != last.seq + 1:
        faults.append(Fault(**said, what=f"the entries {last.seq + 1} to {entry['seq'] - 1} are missing"))
    if entry["hash"] != entry_hash(last.hash, entry):
        faults.append(Fault(**said, what="the entry, or the one before it, was changed"))
    return faults


def _row_faults(connection: Connection, page: list[dict[str, Any]], gone: Gone) -> list[Fault]:
    """What is wrong with the rows that these entries vouch for."""
    faults = []
    for kind, (table, name) in VOUCHED.items():
        known = _known(page, kind)
        rows = connection.execute(select(name.label("about"), table).where(name.in_(known))).all() if known else ()
        found = {str(row.about): row for row in rows}
        for entry in (entry for entry in page if entry["kind"] == kind):
            about, back = entry["about"], _taken_back(gone, entry)
            what = _back_fault(kind, entry, back[0]) if back else _row_fault(kind, entry, found.get(about))
            faults += [Fault(seq=entry["seq"], kind=kind, about=about, what=what)] if what else []
    return faults


def _taken_back(gone: Gone, entry: Mapping[str, Any]) -> list[Withdrawn | None]:
    """What was taken back of the name behind this entry, the first of it first: that is what the entry vouched for."""
    known = gone.get(entry["about"], ()) if entry["kind"] in withdrawn.ROWS else ()
    return [back for seq, back in known if seq > entry["seq"]]


def _back_fault(kind: str, entry: Mapping[str, Any], back: Withdrawn | None) -> str:
    if back is None or back.kind != kind or row_hash(back.body) != entry["body"]:
        return "what was taken back is not what was said"
    return ""


def _row_fault(kind: str, entry: Mapping[str, Any], row: Any) -> str:
    if row is None:
        return "the row is gone"
    if not isinstance(row.body, str) or row_hash(row.body) != entry["body"]:
        return "the row was changed"
    written = WRITTEN[kind](row.body)
    other = [name for name, value in written.items() if getattr(row, name) != value]
    return f"the row was changed: its {', '.join(other)} is not its body's" if other else ""


def _unvouched(connection: Connection, gone: Gone) -> list[Fault]:
    """Rows that no entry vouches for, rows with two, and calls of which the end is gone."""
    found: list[tuple[str, str, str]] = []
    for kind, (table, name) in VOUCHED.items():
        mine = select(ENTRY.c.about).where(ENTRY.c.kind == kind)
        # no index knows what an entry is about: of a set taken from a set each is read once, by both databases
        alone = _some(connection, select(cast(name, String)).select_from(table).except_(mine))
        times = select(ENTRY.c.about, func.count().label("times")).where(ENTRY.c.kind == kind)
        often = connection.execute(times.group_by(ENTRY.c.about).having(func.count() > 1).limit(MOST)).all()
        back = gone if kind in withdrawn.ROWS else {}
        twice = [row.about for row in often if row.times - len(back.get(row.about, ())) > 1]
        found += [(kind, about, "the row was put in beside the chain") for about in alone]
        found += [(kind, about, "two entries vouch for the row") for about in twice]
    for kind in withdrawn.ROWS:
        found += [
            (kind, about, "the row was taken back, and is there") for about in _back_again(connection, kind, gone)
        ]
        table = VOUCHED[kind][0]
        moved = select(table.c.record).join(RECORD, RECORD.c.id == table.c.record).where(table.c.task != RECORD.c.task)
        found += [
            (kind, about, "the row was changed: its task is not its record's") for about in _some(connection, moved)
        ]
    begun = select(ENTRY.c.about).where(
        ENTRY.c.kind == "intent",
        ~exists().where(RECORD.c.id == ENTRY.c.about),
        ~exists().where(OPEN_CALL.c.id == ENTRY.c.about),
    )
    found += [("intent", about, "the call was begun, and its record is gone") for about in _some(connection, begun)]
    found += [("draw", about, "the row was changed: it is not its record's") for about in draws.amiss(connection, MOST)]
    return [Fault(seq=0, kind=kind, about=about, what=what) for kind, about, what in found]


def _back_again(connection: Connection, kind: Kind, gone: Gone) -> list[str]:
    """The names of this kind whose last entry says that the row was taken back, and that have a row."""
    _, name = VOUCHED[kind]
    names = list(gone)
    last: dict[str, int] = {}
    present: set[str] = set()
    for start in range(0, len(names), PART):
        some = names[start : start + PART]
        said = select(ENTRY.c.about, func.max(ENTRY.c.seq).label("seq")).where(ENTRY.c.kind == kind)
        rows = connection.execute(said.where(ENTRY.c.about.in_(some)).group_by(ENTRY.c.about))
        last |= {row.about: row.seq for row in rows}
        present |= set(connection.execute(select(name).where(name.in_(some))).scalars())
    return [about for about in names if about in present and gone[about][-1][0] > last.get(about, 0)]


def _some(connection: Connection, wanted: Select[Any] | CompoundSelect[Any]) -> list[Any]:
    return list(connection.execute(wanted.limit(MOST)).scalars())


def _count(connection: Connection, table: Table) -> int:
    return int(connection.execute(select(func.count()).select_from(table)).scalar() or 0)


def _record(body: str) -> dict[str, Any]:
    return dict(zip(RECORD_COLUMNS, record_columns(stored(body, Record)), strict=True))


def _review(body: str) -> dict[str, Any]:
    return {"record": stored(body, Review).record}


def _opinion(body: str) -> dict[str, Any]:
    said = stored(body, Review)
    return {"name": name_of(said.record, said.reviewer), "record": said.record}


def _stage(body: str) -> dict[str, Any]:
    release = stored(body, StageChange).release
    return {"release": release, "task": release.partition("@")[0]}


def _tightening(body: str) -> dict[str, Any]:
    return {"release": stored(body, Tightening).release}


def _declaration(body: str) -> dict[str, Any]:
    return {"task": stored(body, Declaration).task}


# what stands of a row beside its body, by the kind of entry that vouches for it
WRITTEN: Mapping[str, Callable[[str], dict[str, Any]]] = {
    "record": _record,
    "review": _review,
    "opinion": _opinion,
    "stage": _stage,
    "tightening": _tightening,
    "declaration": _declaration,
}
