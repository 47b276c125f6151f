"""A caller that leaves before its answer: what is being done for it ends, at the engine too."""

import asyncio
from types import TracebackType

from starlette.types import Receive

from insource.journeys.answer import Keep
from insource.nouns import Pending, Record

SOON_S = 0.25


class Gone(Exception):
    """The caller has left."""


class WhileThere:
    """A context whose body is cancelled when the caller leaves, which it then says with `Gone`.

    It begins to look after a quarter of a second: most answers are out by then, and looking costs a task. The call's
    body must have been read.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._gone = self._sealed = False
        self._looking: asyncio.Task[None] | None = None

    def __enter__(self) -> "WhileThere":
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("only a task can be cancelled")
        self._task, self._cancelled = task, task.cancelling()
        self._timer = asyncio.get_running_loop().call_later(SOON_S, self._begin)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._seal()
        if self._gone and self._task.uncancel() <= self._cancelled and kind is asyncio.CancelledError:
            raise Gone from error

    @property
    def gone(self) -> bool:
        """Whether the caller has left."""
        return self._gone

    def sealing(self, keep: Keep) -> Keep:
        """`keep`, from the beginning of which a leaving caller changes nothing: a call is kept once."""

        async def sealed(record: Record, pending: Pending | None) -> None:
            self._seal()
            await keep(record, pending)

        return sealed

    def _begin(self) -> None:
        self._looking = asyncio.create_task(self._look())

    async def _look(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if not self._sealed:
            self._gone = True
            self._task.cancel()

    def _seal(self) -> None:
        self._sealed = True
        self._timer.cancel()
        if self._looking is not None:
            self._looking.cancel()
