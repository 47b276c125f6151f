"""What a gateway shows of itself, and what the callers of a task are promised."""

from typing import Annotated

from msgspec import Meta

from insource.nouns.base import Noun

Share = Annotated[float, Meta(gt=0.0, le=1.0)]
Ms = Annotated[float, Meta(gt=0.0, le=86_400_000.0)]


class Observe(Noun, frozen=True, kw_only=True):
    """`[observe]`: a line of JSON on stderr for each call, and where spans go (OTLP over HTTP; empty: nowhere).

    `otlp_headers_env` names the environment variable with more headers for them, "name=value,name=value". `sample` is
    the share of calls that are traced, of those whose caller has not decided that already.
    """

    log_json: bool = False
    otlp: str = ""
    otlp_headers_env: str = ""
    sample: Annotated[float, Meta(ge=0, le=1)] = 1.0


class Levels(Noun, frozen=True, kw_only=True):
    """The service levels of a task; None promises nothing.

    `format` is the share of answers that keep the task's contract, `availability` the share of calls that got an
    answer; the others are milliseconds within which that share of the answers came.
    """

    format: Share | None = None
    availability: Share | None = None
    p50_ms: Ms | None = None
    p95_ms: Ms | None = None
    p99_ms: Ms | None = None
