"""Releases on their way here from the place that hosts share. Nobody waits for one but who asks for it.

What answered before goes on answering; a fetch that fails is tried again after a while.
"""

import asyncio
import time
from collections.abc import Collection

from insource.errors import InsourceError, StoreError
from insource.nouns import Release
from insource.release.shared import at_hand, here
from insource.settings import Settings
from insource.store import Store

SOON_S, AGAIN_S = 0.2, 5.0


class Coming:
    """Fetches releases beside the calls. `said` is what is in the way of each that was asked for and is not here."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings, self._store = settings, store
        self._tasks: dict[str, asyncio.Task[object]] = {}
        self._failed: dict[str, tuple[float, InsourceError]] = {}
        self.said: dict[str, str] = {}

    async def arrived(self, release: Release) -> None:
        """Returns when the release is here, which may be at once.

        Raises `StoreError` while it is on its way, and what `release.shared.here` raised for one that does not come.
        """
        place = self._store.place
        if place is None or (release.name not in self._tasks and at_hand(release, self._settings, place)):
            return self._forget(release.name)
        when, error = self._failed.get(release.name, (0.0, None))
        if error is not None and time.monotonic() - when < AGAIN_S:
            raise error
        task = self._tasks.get(release.name)
        if task is None:
            task = self._tasks[release.name] = asyncio.create_task(here(release, self._settings, place))
        await asyncio.wait({task}, timeout=SOON_S)
        if not task.done():
            self.said[release.name] = f"{release.name} is being fetched from {place.name}"
            raise StoreError(self.said[release.name], hint="what answered before answers meanwhile")
        self._tasks.pop(release.name, None)  # two may have waited for it
        try:
            await task
        except InsourceError as failed:
            self._failed[release.name] = (time.monotonic(), failed)
            self.said[release.name] = str(failed)
            raise
        return self._forget(release.name)

    def only(self, names: Collection[str]) -> None:
        """Nothing is said any more of releases but these."""
        self.said = {name: why for name, why in self.said.items() if name in names}

    def _forget(self, name: str) -> None:
        self._failed.pop(name, None)
        self.said.pop(name, None)

    async def close(self) -> None:
        """Lets go of what is on its way; what has come of it is kept for the next time."""
        for task in self._tasks.values():
            task.cancel()
        self._tasks.clear()
