"""Which database keeps the store, by the settings."""

from insource.errors import StoreError
from insource.settings import Settings
from insource.store import records
from insource.store.database import Commits, Database
from insource.store.group import GroupCommit
from insource.store.postgres import PostgresThread, Server
from insource.store.server_commit import ServerCommit
from insource.store.thread import StoreThread

FILE, IN_FILE = "insource.db", "sqlite"


def database(settings: Settings) -> Database:
    """What `[store]` names; the file in the workspace where it names nothing. Raises `Invalid`."""
    if settings.store.url in ("", IN_FILE):
        return StoreThread(settings.state / FILE)
    try:
        settings.state.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot make {settings.state}: {error.strerror}") from error
    return PostgresThread(Server(settings.store.url, settings.root))


def commits(thread: Database, *, relaxed: bool) -> Commits:
    """The way for what calls write."""
    # a caller may leave while its call waits to be noted: then the end waits beside the beginning
    if isinstance(thread, PostgresThread):
        return ServerCommit(thread.server, relaxed=relaxed, first=records.intend)
    assert isinstance(thread, StoreThread)  # noqa: S101 - there are two
    return GroupCommit(thread, relaxed=relaxed, first=records.intend)
