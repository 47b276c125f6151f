"""The log as lines of JSON. A line is made of fields that are ours: no text of a caller, and of an error its kind."""

import json
import logging
import traceback
from datetime import UTC, datetime

from insource.errors import InsourceError
from insource.nouns import Record, to_json
from insource.serve.told import status_of


def line_of(record: Record, trace: str = "") -> bytes:
    """The line of a call; `trace` is the id of its trace, empty where there is none."""
    line = {
        "time": record.created,
        "level": "info",
        "event": "call",
        "record": record.id,
        "task": record.task,
        "release": record.release,
        "tier": record.tier,
        "outcome": record.outcome,
        "status": status_of(record),
        "ms": round(record.latency_ms, 1),
        "tenant": record.tenant,
        "caller": record.caller,
    }
    line |= ({"cache": "hit"} if record.cached else {}) | ({"trace": trace} if trace else {})
    return to_json(line) + b"\n"


def refusal(error: InsourceError) -> bytes:
    """The line of a call that was turned away."""
    line = {"time": _now(), "level": "info", "event": "refused", "code": error.code, "status": error.status}
    return to_json(line) + b"\n"


def notice(words: str) -> bytes:
    """The line of what the gateway says of itself."""
    return to_json({"time": _now(), "level": "info", "event": "notice", "message": words}) + b"\n"


class JsonLines(logging.Formatter):
    """What libraries and we log otherwise. Of an exception it says the kind and the place, and not its words."""

    def format(self, record: logging.LogRecord) -> str:
        """One line of JSON."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": "log",
            "logger": record.name,
        }
        error = record.exc_info[1] if record.exc_info else None
        if error is None:
            return json.dumps(line | {"message": record.getMessage()}, ensure_ascii=False)
        places = traceback.extract_tb(error.__traceback__)
        where = [f"{place.filename.rpartition('/')[2]}:{place.lineno} {place.name}" for place in places[-5:]]
        return json.dumps(line | {"error": type(error).__name__, "where": where}, ensure_ascii=False)


def log_as_json() -> None:
    """Makes everything that this process logs lines of JSON on stderr."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    logging.getLogger().handlers[:] = [handler]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
