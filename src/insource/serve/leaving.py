"""A caller that leaves before its answer: what is being done for it ends, at the engine too."""

import asyncio
from types import TracebackType

from insource.journeys.answer import Keep
from insource.nouns import Pending, Record
from insource.serve.exchange import Exchange


class Gone(Exception):
    """The caller has left."""


class WhileThere:
    """A context whose body is cancelled when the caller leaves, which it then says with `Gone`.

    The call's body must have been read.
    """

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._gone = self._sealed = False

    def __enter__(self) -> "WhileThere":
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("only a task can be cancelled")
        self._task, self._cancelled = task, task.cancelling()
        self._exchange.on_leaving(self._left)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sealed = True
        self._exchange.not_leaving(self._left)
        if self._gone and self._task.uncancel() <= self._cancelled and kind is asyncio.CancelledError:
            raise Gone from error

    @property
    def gone(self) -> bool:
        """Whether the caller has left."""
        return self._gone

    def sealing(self, keep: Keep) -> "Sealing":
        """`keep`, from the beginning of which a leaving caller changes nothing: a call is kept once."""
        return Sealing(self, keep)

    def seal(self) -> None:
        """From now on a leaving caller changes nothing."""
        self._sealed = True

    def _left(self) -> None:
        if not self._sealed:
            self._gone = self._sealed = True
            self._task.cancel()


class Sealing:
    """Keeps one call. `begun` from when its record is on its way: whoever is cancelled after that keeps no other."""

    __slots__ = ("_keep", "_there", "begun")

    def __init__(self, there: WhileThere, keep: Keep) -> None:
        self._there, self._keep = there, keep
        self.begun = False

    async def __call__(self, record: Record, pending: Pending | None) -> None:
        """Keeps the call."""
        self.begun = True
        self._there.seal()
        await self._keep(record, pending)
