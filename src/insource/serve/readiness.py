"""Whether calls can be answered, looked up for many askers at once: anyone may ask, and each look writes a row."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable

APART_S = 0.2


class Readiness:
    """Shares what `look` finds among all who ask meanwhile. What it says is never from before it was asked."""

    def __init__(self, look: Callable[[], Awaitable[list[str]]]) -> None:
        self._look = look
        self._looking = asyncio.Lock()
        self._began = -math.inf
        self._found: list[str] = []

    async def faults(self) -> list[str]:
        """Why calls could not be answered now, by a look that began after this was asked; looks are 0.2 s apart."""
        came = time.monotonic()
        async with self._looking:
            if self._began <= came:
                await asyncio.sleep(self._began + APART_S - came)
                self._began = time.monotonic()
                self._found = await self._look()
            return self._found
