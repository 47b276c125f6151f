"""The headers in which an answer tells its record, who gave it, and how sure that is."""

from functools import lru_cache
from urllib.parse import quote

from insource.journeys.relay import Begins, Begun
from insource.nouns import JsonObject, Record
from insource.serve import wire
from insource.serve.faults import NOT_KEPT

AGAIN = NOT_KEPT | {"x-insource-cache": "hit"}


def headers(record: Record) -> dict[str, str]:
    """What every answer carries."""
    return headers_of(wire.facts(record))


def headers_of(facts: JsonObject) -> dict[str, str]:
    """What it carries of the facts that `wire.facts` gives."""
    confidence = facts["confidence"]
    return (AGAIN if "cache" in facts else NOT_KEPT) | {
        "x-request-id": facts["record"],
        "x-insource-record": facts["record"],
        "x-insource-release": _quoted(str(facts["release"])),
        "x-insource-tier": str(facts["tier"]),
        "x-insource-confidence": "" if confidence is None else f"{confidence:.6f}",
        "x-insource-decision": str(facts["decision"]),
    }


@lru_cache(maxsize=1024)
def _quoted(name: str) -> str:
    return quote(name, safe="@+")


def live_headers(name: str, model: str) -> dict[str, str]:
    """What is known of a call before its first word; with that `names` says who answers."""
    said = {"x-request-id": name, "x-insource-record": name, "x-insource-release": _quoted(model)}
    return said | {"x-insource-tier": "1", "x-insource-confidence": "", "x-insource-decision": "answered"}


def names(said: dict[str, str]) -> Begins:
    """What puts into the headers `said` who answers a stream: they leave with the first word, so they can tell."""

    def name(begun: Begun) -> None:
        said["x-insource-release"] = _quoted(begun.release)
        said["x-insource-tier"] = str(begun.tier)
        if begun.tier > 1:
            said["x-insource-decision"] = "escalated"
        if begun.cached:
            said.update(AGAIN)

    return name
