"""A PostgreSQL server, and the thread that owns a connection to it.

A transaction that writes holds one lock that all have to hold, so that they come one after the other, as they do in a
SQLite file. What looks, looks at one moment (REPEATABLE READ). Whoever was cut off connects anew with the next piece.
"""

import contextlib
import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool
from sqlalchemy.schema import CreateSchema

from insource.errors import Invalid, Missing, StoreError
from insource.store.bulk import BELOW
from insource.store.database import Database

T = TypeVar("T")
SCHEMES = ("postgresql", "postgres", "postgresql+psycopg")
TRIES = 4
READ_ONLY = "25006"
AGAIN = ("40001", "40P01", "55P03", READ_ONLY)  # not serializable, deadlock, a lock not to be had, a server of looks
CONNECT_S, SILENT_S, LOCKED_S = 3, 5, 5
# a server that lost us must not keep our locks for the two hours that TCP allows
OPTIONS = {
    "lock_timeout": LOCKED_S * 1000,
    "idle_in_transaction_session_timeout": SILENT_S * 1000,
    "tcp_keepalives_idle": SILENT_S,
    "tcp_keepalives_interval": 1,
    "tcp_keepalives_count": 3,
    "tcp_user_timeout": SILENT_S * 1000,
}
KEPT_ALIVE = {"keepalives": 1, "keepalives_idle": SILENT_S, "keepalives_interval": 1, "keepalives_count": 3}
ONE_WRITER = 0
LOOKS = "REPEATABLE READ, READ ONLY"


class Server:
    """Where the database is, and in which of its schemas the tables are: `schema` in the URL's query, else "insource".

    In its name `{workspace}` stands for a digest of the path `root`. Raises `Invalid` for what is no such URL.
    """

    def __init__(self, url: str, root: Path) -> None:
        try:
            said = make_url(url)
        except ArgumentError as error:
            raise Invalid(
                "the store's url is no URL", hint='url = "postgresql://insource@db.example/insource"'
            ) from error
        if said.drivername not in SCHEMES:
            raise Invalid(f"no store is kept in {said.drivername!r}", hint="leave store.url out for SQLite") from None
        schema = str(said.query.get("schema", "insource"))
        self.schema = schema.replace("{workspace}", hashlib.sha256(str(root).encode()).hexdigest()[:16])
        if not re.fullmatch("[a-z_][a-z0-9_]{0,62}", self.schema):
            raise Invalid(f"{schema!r} is no schema's name", hint="small letters, digits and _")
        self.url: URL = said.set(drivername="postgresql+psycopg").difference_update_query(["schema"])
        self.name = f"postgresql://{said.host or 'localhost'}:{said.port or 5432}/{said.database or ''}"
        # a number of our own for locks, of 31 bits: two workspaces in one database do not wait for each other
        self.locks = int.from_bytes(hashlib.sha256(self.schema.encode()).digest()[:4], "big") >> 1

    def connected(self) -> dict[str, Any]:
        """The words for a connection (libpq): who waits in vain for the server is told in seconds.

        It leads to a server that takes rows, whichever of several hosts that is, or fails.
        """
        settings = {"search_path": self.schema, **OPTIONS}
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        return {"connect_timeout": CONNECT_S, "tcp_user_timeout": SILENT_S * 1000, "options": options,
                "application_name": "insource", "target_session_attrs": "read-write", **KEPT_ALIVE}  # fmt: skip

    @contextlib.contextmanager
    def translated(self) -> Iterator[None]:
        """Turns the database's errors into `StoreError` with what to do; a text it cannot have is `Invalid`."""
        import psycopg

        try:
            yield
        except (SQLAlchemyError, psycopg.Error) as error:
            if isinstance(getattr(error, "orig", error), psycopg.DataError) and not _code(error):
                raise Invalid("U+0000 stands in a name, where PostgreSQL has none", hint="leave it out") from error
            reason = " ".join(str(getattr(error, "orig", None) or error).split())
            raise StoreError(
                f"the store {self.name} failed: {reason}", hint=_hint(_code(error)), at=self.name
            ) from error


class PostgresSql:
    """The driver's connection, or a cursor of it, for statements with question marks as places."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> Any:
        """As `Sql.execute`."""
        return self._connection.execute(spelt(sql), parameters)


class PostgresThread(Database):
    """A connection to a server for everything but calls. Small writes under load have theirs, `store.server_commit`."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        self.server = server
        self._engine: Any = None
        self._connection: Connection | None = None

    def _connect(self) -> None:
        _driver()
        self._engine = create_engine(
            self.server.url, poolclass=NullPool, connect_args=self.server.connected(), pool_reset_on_return=None
        )
        event.listen(self._engine, "connect", _below)
        with self.server.translated():
            self._connection = self._engine.connect()
            self._connection.commit()
        self._transact(self._make_schema)

    def _make_schema(self, connection: Connection) -> None:
        """Makes the schema where there is none: only that needs the right to create in the database."""
        there = connection.exec_driver_sql("SELECT 1 FROM pg_namespace WHERE nspname = %s", (self.server.schema,))
        if there.first() is None:
            connection.execute(CreateSchema(self.server.schema, if_not_exists=True))

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._let_go()
        self._engine.dispose()
        self._engine = None

    def _is_open(self) -> bool:
        return self._engine is not None

    def _let_go(self) -> None:
        with contextlib.suppress(SQLAlchemyError):
            if self._connection is not None:
                self._connection.close()
        self._connection = None

    def _transact(self, work: Callable[[Connection], T]) -> T:
        return self._in_turn(work, "READ COMMITTED", alone=True)

    def _look(self, work: Callable[[Connection], T]) -> T:
        return self._in_turn(work, LOOKS, alone=False)

    def _look_once(self, work: Callable[[Connection], T]) -> T:
        def unhurried(connection: Connection) -> T:
            # it holds no lock that others wait for, and whoever it writes to may take minutes to commit
            connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
            return work(connection)

        return self._in_turn(unhurried, LOOKS, alone=False, once=True)

    def _sync(self) -> None:
        """A commit that waits for the disk has all before it on the disk, whoever wrote that."""
        self._transact(lambda c: c.exec_driver_sql("SELECT pg_current_xact_id()"))

    def _in_turn(self, work: Callable[[Connection], T], level: str, *, alone: bool, once: bool = False) -> T:
        """Tries again what failed for another's sake, and what was cut off before it could change anything.

        Work for `once` may change something elsewhere: when it was begun, it is not tried again.
        """
        if self._engine is None:
            raise StoreError("the store is closed")
        for left in reversed(range(TRIES)):
            begun = False
            try:
                with self.server.translated():
                    connection = self._connection or self._engine.connect()
                    self._connection = connection
                    with connection.begin():
                        connection.exec_driver_sql(f"SET TRANSACTION ISOLATION LEVEL {level}")
                        if alone:
                            connection.exec_driver_sql(
                                f"SELECT pg_advisory_xact_lock({self.server.locks}, {ONE_WRITER})"
                            )
                        begun = True
                        return work(connection)
            except StoreError as error:
                cut = self._connection is None or self._connection.invalidated or _is_cut(error)
                if cut:
                    self._let_go()
                if not left or (begun and once) or not (again(error) or (cut and not (begun and alone))):
                    raise
        raise AssertionError("the last try returns or raises")


@lru_cache(maxsize=512)
def spelt(sql: str) -> str:
    """A statement as psycopg takes it. Ours have no other question marks, and no per cent signs."""
    return sql.replace("?", "%s")


def again(error: StoreError) -> bool:
    """Whether the same may succeed now: it failed for the sake of another who was at it, or at another server."""
    return _code(error.__cause__) in AGAIN


def takes_none(error: BaseException | None) -> bool:
    """Whether the server has become one that takes no rows: the connection leads to the wrong one."""
    return _code(error) == READ_ONLY


def _is_cut(error: StoreError) -> bool:
    """Whether the connection is gone, or leads nowhere."""
    import psycopg

    cause = error.__cause__
    if takes_none(cause):
        return True
    below = getattr(cause, "orig", cause)
    lost = isinstance(cause, DBAPIError) and cause.connection_invalidated
    return lost or (isinstance(below, psycopg.OperationalError | psycopg.InterfaceError) and not _code(cause))


def _code(error: BaseException | None) -> str:
    """The SQLSTATE of what the server said (PostgreSQL, appendix A); empty where it said nothing."""
    return str(getattr(getattr(error, "orig", error), "sqlstate", None) or "")


def _below(connection: Any, record: Any) -> None:
    record.info[BELOW] = PostgresSql(connection)


def _driver() -> None:
    try:
        import psycopg  # noqa: F401 - only whether it is there
    except ImportError as error:
        raise Missing("psycopg is not installed", hint='pip install "insource[postgres]"') from error


HINTS = {
    "": "see that the server runs and that this machine reaches it",
    "25": "the server takes no rows: store.url may name several hosts, and the one that does is taken",
    "08": "see that the server runs and that this machine reaches it",
    "28": "check user and password: PGPASSWORD, ~/.pgpass, or the url in INSOURCE_STORE_URL",
    "3D": "createdb makes the database; store.url names it",
    "42": "the user of store.url must own the schema",
    "53": "the server has no room left, or too many connections",
    "57": "the server was stopped; try again when it is back",
}


def _hint(code: str) -> str:
    return HINTS.get(code[:2], "insource audit verify looks at what is there")
