"""Once an hour the gateway settles what nobody looked at in time, as each task says."""

import asyncio
import logging
from collections.abc import Callable

from insource.errors import InsourceError
from insource.journeys.overdue import overdue
from insource.settings import Settings, task_names
from insource.store import Store

EVERY_S, LOOK_S = 3600.0, 60.0
ALL = "every task"


async def settle_late(
    settings: Settings, store: Store, alone: Callable[[], bool] = lambda: True, every_s: float = EVERY_S
) -> None:
    """Goes on until cancelled. What stands in the way is logged when it begins, task by task.

    An engine may be asked, so of several gateways one does it: whoever is `alone` in it.
    """
    said: dict[str, str] = {}
    while True:
        if not alone():
            await asyncio.sleep(min(every_s, LOOK_S))
            continue
        for name, trouble in (await _troubles(settings, store)).items():
            if trouble and trouble != said.get(name):
                logging.getLogger("insource.serve").warning("the queue of %s: %s", name, trouble)
            said[name] = trouble
        await asyncio.sleep(every_s)


async def _troubles(settings: Settings, store: Store) -> dict[str, str]:
    """What stands in the way of each task, empty where nothing does."""
    try:
        names = task_names(settings)
    except OSError as error:  # the folder is not to be read just now; the next hour may find it well
        return {ALL: f"the tasks cannot be read: {error.strerror}"}
    return {ALL: "", **{name: await _trouble(name, settings, store) for name in names}}


async def _trouble(name: str, settings: Settings, store: Store) -> str:
    try:
        found = await overdue(name, settings, store)
    except InsourceError as error:
        return str(error)
    return found.words if found.left else ""
