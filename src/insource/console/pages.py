"""Templates into pages: every text of the data is escaped, and what would steer a reader's eye is spelled out."""

import hashlib
import json
import re
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse, Response

from insource.console.guard import OPERATOR, REVIEWER, Visit
from insource.nouns import JsonValue, visible

STATIC = {"console.css": "text/css; charset=utf-8", "console.js": "text/javascript; charset=utf-8"}
COMMAND = re.compile(r"(insource(?: (?!shows |says |makes )[^\s,;]+)+)")
BARE = {"visit": None, "said": "", "here": ""}
OUTCOMES = {"answered": "●", "escalated": "▲", "review": "◆", "out_of_scope": "◇", "failed": "✗", "interrupted": "✗"}


def page(visit: Visit, template: str, *, status: int = 200, **values: object) -> Response:
    """The page, with what was to be told once."""
    said, visit.session.said = visit.session.said, ""
    values |= {"visit": visit, "said": said, "can_review": visit.can(REVIEWER), "can_operate": visit.can(OPERATOR)}
    return HTMLResponse(render(template, values), status)


def render(template: str, values: dict[str, object]) -> str:
    """The text of a page."""
    return visible(_templates().get_template(template).render(BARE | values))


@cache
def asset(name: str) -> bytes:
    """A file that pages ask for. KeyError where there is none of that name."""
    if name not in STATIC:
        raise KeyError(name)
    return files("insource.console").joinpath("static", name).read_bytes()


@cache
def asset_path(name: str) -> str:
    """Where a page asks for it: the address changes with the file, so that browsers may keep it for good."""
    return f"/console/static/{hashlib.sha256(asset(name)).hexdigest()[:12]}/{name}"


@cache
def _templates() -> Environment:
    pages = Environment(
        loader=PackageLoader("insource.console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters |= {
        "thousands": "{:,}".format, "percent": _percent, "when": when, "ago": ago, "spelled": spelled,
        "ms": _ms, "usd": _usd, "parted": parted,
    }  # fmt: skip
    pages.globals |= {"asset": asset_path, "address": address, "marks": OUTCOMES}
    return pages


def address(path: str, **query: object) -> str:
    """A path with those parameters that are not empty."""
    given = {name: str(value) for name, value in query.items() if value not in ("", None, 0)}
    return f"{path}?{urlencode(given)}" if given else path


def when(time: str) -> str:
    """A time of UTC for people, to the minute."""
    return time[:16].replace("T", " ") + (" UTC" if len(time) > 10 else "") if time else "never"


def ago(time: str) -> str:
    """How long ago that was, roughly."""
    if not time:
        return "never"
    then = datetime.fromisoformat(time)
    seconds = (datetime.now(UTC) - (then if then.tzinfo else then.replace(tzinfo=UTC))).total_seconds()
    for size, name in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size:
            n = int(seconds // size)
            return f"{n:,} {name}{'s' * (n != 1)} ago"
    return "just now"


def parted(words: str) -> list[str]:
    """Words and, in every second place, what of them is to be typed."""
    return COMMAND.split(words)


def spelled(value: JsonValue) -> str:
    """A value for people: a text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _percent(share: float, digits: int = 1) -> str:
    return f"{share * 100:.{digits}f}%"


def _ms(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.2f} ms" if value < 10 else f"{value:,.0f} ms" if value < 10_000 else f"{value / 1000:,.1f} s"


def _usd(value: float) -> str:
    return f"${value:,.2f}" if value >= 1 or not value else f"${value:.4f}"
