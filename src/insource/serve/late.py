"""Once an hour the gateway settles what nobody looked at in time, as each task says."""

import asyncio
import logging

from insource.errors import InsourceError
from insource.journeys.overdue import overdue
from insource.settings import Settings, task_names
from insource.store import Store

EVERY_S = 3600.0


async def settle_late(settings: Settings, store: Store, every_s: float = EVERY_S) -> None:
    """Goes on until cancelled. What stands in the way is logged when it begins, task by task."""
    said: dict[str, str] = {}
    while True:
        for name in task_names(settings):
            try:
                found = await overdue(name, settings, store)
                trouble = found.words if found.left else ""
            except InsourceError as error:
                trouble = str(error)
            if trouble and trouble != said.get(name):
                logging.getLogger("insource.serve").warning("the queue of %s: %s", name, trouble)
            said[name] = trouble
        await asyncio.sleep(every_s)
