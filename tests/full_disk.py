"""A store that may not grow, as on a disk that is full."""

from insource.store import Store


async def most_pages(store: Store, count: int) -> None:
    """From now on the database may have `count` pages, or as many as it has already."""
    pragma = f"PRAGMA max_page_count={count}"
    await store._thread.run(lambda c: c.exec_driver_sql(pragma).scalar())
    store._group._open()
    store._group._connection.execute(pragma).fetchall()
