"""The caller's connection, for an answer that goes out in chunks: written to at once, without a task or a message."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from starlette.types import Scope

OUTLET = "insource.outlet"


class Outlet:
    """Where the chunks of one answer go, once its head has been sent. `cycle` is uvicorn's call and answer."""

    __slots__ = ("_cycle",)

    def __init__(self, cycle: Any) -> None:
        self._cycle = cycle

    @staticmethod
    def of(scope: Scope) -> "Outlet | None":
        """That of a call; None with a server that has none."""
        found: Outlet | None = scope.get(OUTLET)
        return found

    def write(self, data: bytes) -> bool:
        """Writes a chunk. Says whether the next may come this way too, and not to a caller who left or reads slowly."""
        cycle = self._cycle
        if cycle.disconnected:
            return False
        cycle.transport.write(b"%x\r\n%b\r\n" % (len(data), data))
        return not cycle.flow.write_paused

    @contextmanager
    def together(self) -> Iterator[None]:
        """What is sent within the block leaves in one write at its end."""
        cycle, held = self._cycle, _Held()
        transport, cycle.transport = cycle.transport, held
        try:
            yield
        finally:
            cycle.transport = transport
            transport.write(b"".join(held.parts))


class _Held:
    """In the place of a transport: keeps what is written."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Keeps it."""
        self.parts.append(data)
