"""What the gateway does for the audit while it runs: ends calls nobody will end, signs how far the chain has come."""

import asyncio
import logging
import time
from contextlib import suppress

from insource.errors import InsourceError, StoreError
from insource.journeys.audit import checkpoint, prune
from insource.settings import Settings
from insource.store import Store

PRUNE_S = 3600.0


async def keep_books(settings: Settings, store: Store) -> None:
    """Goes on until cancelled. Trouble is logged once, when it begins; the next look may be without."""
    log, said, due = logging.getLogger("insource.serve"), "", 0.0
    while True:
        trouble = ""
        try:
            await store.interrupt()
            await checkpoint(settings, store)
            if time.monotonic() > due:
                await prune(settings, store)
                due = time.monotonic() + PRUNE_S
        except InsourceError as error:
            trouble = str(error)
        if trouble and trouble != said:
            log.warning("the audit: %s", trouble)
        said = trouble
        await asyncio.sleep(settings.audit.checkpoint_s)


async def close_books(settings: Settings, store: Store) -> None:
    """The last checkpoint."""
    with suppress(StoreError):
        await checkpoint(settings, store)
