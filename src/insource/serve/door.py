"""One call too many is turned away at the door: before it is parsed, before anything is known of it.

What is refused must cost next to nothing, else refusing is what the processor does instead of answering. So a call is
refused by its first bytes: that they begin a POST below /v1/, and how long its body is, which is then passed over.
Everything else goes the usual way, where the same limit is looked at before the body is read.
"""

import asyncio
import logging
import time
from collections.abc import Callable

from uvicorn.server import ServerState

from insource.errors import EngineBusy
from insource.nouns import to_json
from insource.route.admission import Admission, Look, Rules
from insource.serve.faults import NOT_KEPT, RETRY_AFTER_S, error_body
from insource.serve.metrics import Metrics

TICK_S = 0.005
SAY_S = 60.0  # one line of the log in so many seconds, however many calls are refused
CALL, VERSION, STAYS = b"POST /v1/", b" HTTP/1.1", b"\r\nconnection: keep-alive\r\n"
UNUSUAL = (b"transfer-encoding", b"connection", b"expect", b"upgrade")
LENGTH, DIGITS = b"content-length", 7
UNTOLD = -1


class Door:
    """Whether one more call is taken, `most` at once whatever happens. What is refused is counted in `metrics`.

    `under_way` calls have come whole and have no whole answer yet, as connections count them.
    """

    def __init__(self, most: int, metrics: Metrics) -> None:
        self.admission = Admission(most, Rules(), time.monotonic)
        self._metrics = metrics
        self.under_way = self._refused = self._told = 0
        self._told_at = -SAY_S
        self.full = EngineBusy("as many calls are under way as can be answered in time", hint="try again in a second")
        body = to_json(error_body(self.full))
        said = NOT_KEPT | {"retry-after": RETRY_AFTER_S, "content-type": "application/json"}
        lines = [f"{name}: {value}\r\n" for name, value in (said | {"content-length": str(len(body))}).items()]
        self._begin, self._end = b"HTTP/1.1 429 Too Many Requests\r\n", "".join(lines).encode() + b"\r\n" + body

    @property
    def full_now(self) -> bool:
        """Whether a call that comes now is one too many."""
        return self.under_way >= self.admission.limit

    def check(self, under_way: int) -> None:
        """Raises `EngineBusy` for one too many, while so many are under way."""
        if under_way >= self.admission.limit:
            self._refused += 1
            raise EngineBusy(str(self.full), hint=self.full.hint)

    def refusal(self, every_head: bytes) -> bytes:
        """The whole answer to one too many, which is counted; `every_head` are the lines of every answer's head."""
        self._metrics.refused(self.full)
        self._refused += 1
        return self._begin + every_head + self._end

    async def watch(self, server: ServerState, behind: Callable[[], float]) -> None:
        """Looks, until cancelled, how long ready work waits: in the loop, and for `behind` seconds before that."""
        while True:
            await asyncio.sleep(TICK_S)
            began = time.perf_counter()
            await asyncio.sleep(0)  # twice round the loop: once behind what is ready, once behind what comes in
            await asyncio.sleep(0)
            waited_s, busy_s = time.perf_counter() - began + behind(), time.thread_time()
            self.admission.hear(Look(waited_s, self.under_way, server.total_requests, self._refused, busy_s))
            if self._refused > self._told and time.monotonic() > self._told_at + SAY_S:
                count = self._refused - self._told
                logging.getLogger("insource.serve").warning("refused since more came than can be answered: %d", count)
                self._told, self._told_at = self._refused, time.monotonic()


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
