"""What many connections have to send, sent at the end of a turn of the loop, one right behind the other.

A write wakes who reads, and to wake a processor that sleeps takes longer than the write. Between two writes lies the
work of a call, in which the reader is done and asleep again; right behind each other they find it awake.
"""

import asyncio
from typing import Protocol

MOST = 32  # who is first does not wait until a long turn of the loop is over


class Sender(Protocol):
    """A connection that has something to send."""

    def send(self) -> None:
        """Sends what there is; nothing is fine."""
        ...


class Outbox:
    """The connections of one loop that have something to send."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: list[Sender] = []

    def put(self, sender: Sender) -> None:
        """Has it send when all that is ready now has run, or as soon as `MOST` have something to send."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._send)
        self._waiting.append(sender)
        if len(self._waiting) >= MOST:
            self._send()

    def _send(self) -> None:
        waiting, self._waiting = self._waiting, []
        for sender in waiting:
            sender.send()
