"""What a call says of the answers that were given before, in its `Cache-Control` (RFC 9111, section 5.2.1)."""

from collections.abc import Sequence
from dataclasses import replace

from insource.journeys.answer import Path

Headers = Sequence[tuple[bytes, bytes]]


def as_wished(path: Path, sent: Headers) -> Path:
    """The path for a call with these headers: after "no-store" its answer is neither looked for nor kept.

    After "no-cache" it gets an answer of its own, which may be kept.
    """
    if path.answers is None:
        return path
    said = {one.strip().lower() for name, value in sent if name == b"cache-control" for one in value.split(b",")}
    if b"no-store" in said:
        return replace(path, answers=None)
    return replace(path, answers=path.answers.renewing()) if b"no-cache" in said else path
