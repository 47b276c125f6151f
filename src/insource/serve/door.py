"""One call too many is turned away at the door: before it is parsed, before anything is known of it.

What is refused must cost next to nothing, else refusing is what the processor does instead of answering. So a call is
refused by its first bytes: that they begin a POST below /v1/, and how long its body is, which is then passed over.
Everything else goes the usual way, where the same limit is looked at before the body is read.
"""

import asyncio
import logging
import time
from typing import Any

from uvicorn.server import ServerState

from insource.errors import EngineBusy
from insource.nouns import to_json
from insource.route.admission import Admission, Look, Rules
from insource.serve.faults import NOT_KEPT, RETRY_AFTER_S, error_body
from insource.serve.metrics import Metrics
from insource.serve.outlet import OUTLET, Outlet
from insource.serve.patience import Patient

TICK_S = 0.005
SAY_S = 60.0  # one line of the log in so many seconds, however many calls are refused
CALL, VERSION, STAYS = b"POST /v1/", b" HTTP/1.1", b"\r\nconnection: keep-alive\r\n"
UNUSUAL = (b"transfer-encoding", b"connection", b"expect", b"upgrade")
LENGTH, DIGITS = b"content-length", 7
UNTOLD = -1


class Door:
    """Whether one more call is taken, `most` at once whatever happens. What is refused is counted in `metrics`.

    `reading` calls have a task and no whole body yet, `answered` ones a task that has only to end. They are not under
    way: who sends slowly keeps nobody out, and who has an answer may ask again.
    """

    def __init__(self, most: int, metrics: Metrics) -> None:
        self.admission = Admission(most, Rules(), time.monotonic)
        self._metrics = metrics
        self.reading = self.answered = self._refused = self._told = 0
        self._told_at = -SAY_S
        self.full = EngineBusy("as many calls are under way as can be answered in time", hint="try again in a second")
        body = to_json(error_body(self.full))
        said = NOT_KEPT | {"retry-after": RETRY_AFTER_S, "content-type": "application/json"}
        lines = [f"{name}: {value}\r\n" for name, value in (said | {"content-length": str(len(body))}).items()]
        self._begin, self._end = b"HTTP/1.1 429 Too Many Requests\r\n", "".join(lines).encode() + b"\r\n" + body

    def under_way(self, server: ServerState) -> int:
        """How many calls are being answered."""
        return len(server.tasks) - self.reading - self.answered

    def refuses(self, under_way: int) -> bool:
        """Whether a call that comes while so many are under way is one too many."""
        return under_way >= self.admission.limit

    def check(self, under_way: int) -> None:
        """Raises `EngineBusy` for one too many."""
        if self.refuses(under_way):
            self._refused += 1
            raise EngineBusy(str(self.full), hint=self.full.hint)

    def refusal(self, headers: list[tuple[bytes, bytes]]) -> bytes:
        """The whole answer to one too many, which is counted; `headers` are those of every answer of the server."""
        self._metrics.refused(self.full)
        self._refused += 1
        lines = b"".join([b"%b: %b\r\n" % header for header in headers])
        return self._begin + lines + self._end

    async def watch(self, server: ServerState) -> None:
        """Looks, until cancelled, how long ready work of this server's loop waits."""
        while True:
            await asyncio.sleep(TICK_S)
            began = time.perf_counter()
            await asyncio.sleep(0)  # twice round the loop: once behind what is ready, once behind what comes in
            await asyncio.sleep(0)
            waited_s, busy_s = time.perf_counter() - began, time.thread_time()
            under_way = self.under_way(server)
            self.admission.hear(Look(waited_s, under_way, server.total_requests, self._refused, busy_s))
            if self._refused > self._told and time.monotonic() > self._told_at + SAY_S:
                count = self._refused - self._told
                logging.getLogger("insource.serve").warning("refused since more came than can be answered: %d", count)
                self._told, self._told_at = self._refused, time.monotonic()


class Doorkeeper(Patient):
    """HTTP as a patient server speaks it, but a call too many is refused by its first bytes."""

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self._door: Door = self.config.app.state.door  # type: ignore[union-attr]
        self._between, self._reading = True, False  # no call is being read; one whose task has begun is
        self._pass_over = 0  # bytes of the body of a call that was refused

    def data_received(self, data: bytes) -> None:
        """Some bytes came."""
        if self._pass_over:
            passed = min(self._pass_over, len(data))
            self._pass_over -= passed
            data = data[passed:]
            if not data:
                return
        door = self._door
        if (
            door.refuses(door.under_way(self.server_state))
            and self._between
            and (not self.cycle or self.cycle.response_complete)
        ):
            rest = unread(data)
            if rest != UNTOLD:
                self._pass_over = rest
                self.transport.write(door.refusal(self.server_state.default_headers))
                return
        super().data_received(data)

    def on_message_begin(self) -> None:
        """A call begins."""
        self._between = False
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """A call has come but for its body."""
        super().on_headers_complete()
        self.scope[OUTLET] = Outlet(self.cycle)  # type: ignore[literal-required]
        if not self.pipeline:
            self._reading = True
            self._door.reading += 1

    def on_message_complete(self) -> None:
        """All of a call was read."""
        self._between = True
        self._read()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """A call was answered, by the task that this runs in."""
        task = asyncio.current_task()
        if task is not None and task in self.tasks:
            self._door.answered += 1
            task.add_done_callback(self._ended)
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """The caller is gone."""
        self._read()
        super().connection_lost(exc)

    def _ended(self, _: asyncio.Task[None]) -> None:
        self._door.answered -= 1

    def _read(self) -> None:
        if self._reading:
            self._reading = False
            self._door.reading -= 1


def unread(data: bytes) -> int:
    """How many bytes of a call's body are to come behind `data`, which begins with the call.

    `UNTOLD` where these bytes do not say so for certain: no plain call with all of its headers and one length.
    """
    end = data.find(b"\r\n\r\n")
    if end < 0 or not data.startswith(CALL) or not data[: data.find(b"\r\n")].endswith(VERSION):
        return UNTOLD
    head = data[: end + 2].lower().replace(STAYS, b"\r\n")
    if any(name in head for name in UNUSUAL) or head.count(b"\n") != head.count(b"\r\n"):
        return UNTOLD
    before, _, behind = head.partition(LENGTH + b":")
    digits = behind[: behind.find(b"\r\n")].strip(b" ")
    if not before.endswith(b"\r\n") or head.count(LENGTH) > 1 or not digits.isdigit() or len(digits) > DIGITS:
        return UNTOLD
    left = end + 4 + int(digits) - len(data)
    return left if left >= 0 else UNTOLD
