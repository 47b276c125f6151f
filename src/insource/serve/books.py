"""What the gateway does for the audit while it runs: carries in what was spooled, ends calls, signs, adds up."""

import asyncio
import logging
import time
from contextlib import ExitStack, suppress

from insource.errors import Conflict, InsourceError, StoreError
from insource.journeys.audit import BOOKS, checkpoint, prune
from insource.journeys.recover import end_calls, recover, spool_folder, words
from insource.settings import Settings
from insource.store import Store
from insource.store.files import alone
from insource.store.spool import Spool

PRUNE_S = 3600.0


async def open_books(settings: Settings, store: Store) -> list[str]:
    """Carries in what former processes left in the spool, and sees that calls can be put there; what to say of it.

    Budgets are counted from the store, so this comes before the first call. Raises `StoreError`.
    """
    folder = spool_folder(settings)
    if folder is None:
        return []
    said = list(words(await recover(store, folder)))
    await asyncio.to_thread(Spool(folder, settings.audit.spool_bytes).prepare)
    if folder.stat().st_dev == settings.state.stat().st_dev:
        said.append(f"the spool {folder} lies on the disk of the store: when that is full, both are")
    return said


async def keep_books(settings: Settings, store: Store) -> None:
    """Goes on until cancelled. Trouble is logged once, when it begins; the next look may be without.

    Of several gateways in one workspace one signs, and removes what is old: the first, and when it ends another.
    """
    log, said, due = logging.getLogger("insource.serve"), "", 0.0
    with ExitStack() as signing:
        mine = False
        while True:
            trouble = ""
            try:
                trouble = "; ".join(words(await recover(store, spool_folder(settings))))
                await end_calls(settings, store)
                mine = mine or _alone(settings, signing)
                if mine:
                    await checkpoint(settings, store)
                    await store.tally.fold()
                if mine and time.monotonic() > due:
                    await prune(settings, store)
                    due = time.monotonic() + PRUNE_S
            except InsourceError as error:
                trouble = str(error)
            if trouble and trouble != said:
                log.warning("the audit: %s", trouble)
            said = trouble
            await asyncio.sleep(settings.audit.checkpoint_s)


async def close_books(settings: Settings, store: Store) -> None:
    """The last checkpoint. Where another gateway of this workspace is at it, that one will sign what is new."""
    with suppress(StoreError), ExitStack() as signing:
        if _alone(settings, signing):
            await checkpoint(settings, store)


def _alone(settings: Settings, signing: ExitStack) -> bool:
    """Whether no other gateway of this workspace signs; as long as `signing` is open none will."""
    try:
        signing.enter_context(alone(settings.state / BOOKS, "a gateway"))
    except Conflict:
        return False
    return True
