"""What the gateway does for the audit while it runs: ends calls nobody will end, signs how far the chain has come."""

import asyncio
import logging
from contextlib import suppress

from insource.errors import InsourceError, StoreError
from insource.journeys.audit import checkpoint
from insource.settings import Settings
from insource.store import Store


async def keep_books(settings: Settings, store: Store) -> None:
    """Goes on until cancelled. Trouble is logged once, when it begins; the next look may be without."""
    log, said = logging.getLogger("insource.serve"), ""
    while True:
        trouble = ""
        try:
            await store.interrupt()
            await checkpoint(settings, store)
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
