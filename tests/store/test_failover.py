"""A server that takes no rows any more is left for one that does, and a user needs no more rights than are told."""

import time
from collections.abc import Iterator

import pytest
from test_store import intent, pending, record

from insource.errors import StoreError
from insource.nouns import Review
from insource.settings import Settings, StoreSettings
from insource.store import Store
from postgres import Postgres

NAME = "moved"
READ_ONLY = "default_transaction_read_only"


@pytest.fixture
def database(postgres) -> Iterator[Postgres]:
    """A server with a database whose new sessions can be made to take no rows."""
    postgres.sql(f"CREATE DATABASE {NAME}")
    yield postgres
    whole_server(postgres, "off")
    postgres.sql(f"ALTER SYSTEM RESET {READ_ONLY}")
    postgres.sql(f"DROP DATABASE {NAME} WITH (FORCE)")


@pytest.fixture
def where(database, tmp_path) -> Settings:
    """A workspace in it, by a url that names two hosts."""
    url = f"postgresql://insource@localhost,{database.host}:{database.port}/{NAME}"
    return Settings(root=tmp_path, cache=tmp_path, store=StoreSettings(url=url))


def whole_server(database: Postgres, value: str) -> None:
    """Returns when the sessions have it that are open."""
    database.sql(f"ALTER SYSTEM SET {READ_ONLY} = {value}")
    database.sql("SELECT pg_reload_conf()")
    while database.sql(f"SHOW {READ_ONLY}") != value:
        time.sleep(0.01)
    time.sleep(0.1)


def cut_off(database: Postgres) -> None:
    """Ends every connection to the database."""
    whose = f"datname = '{NAME}'"
    database.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {whose}")  # noqa: S608 - our own name


async def test_who_comes_to_a_server_that_takes_no_rows_says_so_and_does_not_stay_there(where, database):
    async with await Store.open(where) as store:
        await store.append(record("a"), pending("a"))
        database.sql(f"ALTER DATABASE {NAME} SET {READ_ONLY} = on")
        cut_off(database)
        for _ in range(2):
            with pytest.raises(StoreError, match="read-only"):
                await store.append(record("b"))
            with pytest.raises(StoreError, match="read-only"):
                await store.probe()
        database.sql(f"ALTER DATABASE {NAME} RESET {READ_ONLY}")
        await store.append(record("c"))
        await store.settle(Review(record="a", reviewer="p", verdict="right"))
        assert {one.id for one in await store.records()} == {"a", "c"}
        assert (await store.verify_chain()).faults == ()


async def test_a_server_that_takes_rows_no_more_is_left_for_one_that_does(where, database):
    async with await Store.open(where) as store:
        await store.append(record("a"), pending("a"))
        database.sql(f"ALTER DATABASE {NAME} SET {READ_ONLY} = off")  # as whoever connects from now on has it
        whole_server(database, "on")
        await store.intend(intent("b"))
        await store.append(record("b"))
        await store.settle(Review(record="a", reviewer="p", verdict="right"))
        assert {one.id for one in await store.records()} == {"a", "b"}
        assert (await store.verify_chain()).faults == ()


async def test_a_user_needs_no_right_to_create_where_the_schema_is_there(database, tmp_path):
    there = database.url.replace("/postgres", f"/{NAME}")
    database.sql("CREATE ROLE joe LOGIN")
    try:
        database.run("psql", "-X", "-c", "CREATE SCHEMA joes AUTHORIZATION joe", there)
        url = f"postgresql://joe@{database.host}:{database.port}/{NAME}?schema=joes"
        where = Settings(root=tmp_path, cache=tmp_path, store=StoreSettings(url=url))
        async with await Store.open(where) as store:
            await store.append(record("a"))
        other = StoreSettings(url=url.replace("joes", "another"))
        with pytest.raises(StoreError, match="permission denied for database"):
            await Store.open(Settings(root=tmp_path, cache=tmp_path, store=other))
    finally:
        cut_off(database)
        database.run("psql", "-X", "-c", "DROP OWNED BY joe", there)
        database.sql("DROP ROLE joe")
