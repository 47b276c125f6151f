"""What can be seen of a gateway from outside: numbers, spans and lines of a log, all from the records it keeps.

No text of a caller or an engine is in any of them: they are made of fields of the record, which has none.
"""

import sys
from collections.abc import Callable
from types import TracebackType

import msgspec
from starlette.datastructures import Headers
from starlette.types import Scope

from insource.errors import InsourceError
from insource.journeys.answer import Path
from insource.nouns import Record, Request
from insource.serve.log import line_of, log_as_json, refusal
from insource.serve.metrics import Metrics
from insource.serve.traces import Traces
from insource.settings import Settings

ON_RECORD = "this call is on record"


class Seeing:
    """Hears of every call of a gateway, once. `write` takes the lines of the log, where one is asked for.

    Raises `EngineDown` where spans are asked for and what sends them is not installed, `Invalid` for an address or a
    header that is none.
    """

    def __init__(self, settings: Settings, write: Callable[[bytes], object] | None = None) -> None:
        self.metrics = Metrics()
        self._traces = Traces(settings) if settings.observe.otlp else None
        self._write = (write or to_stderr) if settings.observe.log_json else None
        self._open: dict[str, Watched] = {}

    def arrived(self, scope: Scope) -> None:
        """Hears of a call before it is read: the caller may trace it."""
        if self._traces is not None:
            self._traces.heard(Headers(scope=scope).get("traceparent", ""))

    def call(self, request: Request, what: str = "chat") -> "Watched":
        """Watches one call for `what`, for as long as the block lasts that this opens."""
        if self._traces is not None:
            request = self._traces.begin(request, what)
        return Watched(self._open, request, self._traces)

    def path(self, path: Path) -> Path:
        """The path, with a span for every engine that is asked."""
        return path if self._traces is None else self._traces.path(path)

    def kept(self, record: Record, write_s: float) -> None:
        """Hears of a record that is durable; writing it took `write_s` seconds."""
        self.metrics.kept(record, write_s)
        watched = self._open.get(record.id)
        if watched is not None:
            watched.on_record = True
        trace = self._traces.end(record) if self._traces is not None else ""
        if self._write is not None:
            self._write(line_of(record, trace))

    def unwritten(self) -> None:
        """Hears that the store did not take a record."""
        self.metrics.unwritten()

    def refused(self, error: InsourceError) -> None:
        """Hears of an error that a caller got; one of a call on record was heard of already."""
        if ON_RECORD in getattr(error, "__notes__", ()):
            return
        self.metrics.refused(error)
        if self._write is not None:
            self._write(refusal(error))

    async def close(self) -> None:
        """Sends the spans that wait."""
        if self._traces is not None:
            await self._traces.close()


class Watched:
    """One call under way. `on_record` says that its record is kept."""

    def __init__(self, among: "dict[str, Watched]", request: Request, traces: Traces | None) -> None:
        self._among, self._request, self._traces = among, request, traces
        self.on_record = False

    def __enter__(self) -> Request:
        self._among[self._request.id] = self
        return self._request

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        del self._among[self._request.id]
        if self._traces is not None and not self.on_record:
            self._traces.drop(self._request.id, error)
        if self.on_record and isinstance(error, InsourceError):
            error.add_note(ON_RECORD)


def watched(settings: Settings, *, log_json: bool) -> Settings:
    """The settings, with a log of JSON where `log_json` or they ask for one; the process then logs nothing else."""
    if not (log_json or settings.observe.log_json):
        return settings
    log_as_json()
    return msgspec.structs.replace(settings, observe=msgspec.structs.replace(settings.observe, log_json=True))


def to_stderr(line: bytes) -> None:
    """Writes a line of the log."""
    sys.stderr.buffer.write(line)
    sys.stderr.buffer.flush()
