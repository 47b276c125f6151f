"""An answer as it goes out: JSON, in two messages, with nothing worked out that is known already."""

from collections.abc import Mapping

from starlette.types import Receive, Scope, Send


class Said:
    """The ASGI app that says `body`, which is JSON, with status 200 and these headers beside those of its form."""

    __slots__ = ("_body", "_headers")

    def __init__(self, body: bytes, headers: Mapping[str, str]) -> None:
        self._body, self._headers = body, headers

    async def __call__(self, _: Scope, __: Receive, send: Send) -> None:
        """Says it."""
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in self._headers.items()]
        raw += ((b"content-length", b"%d" % len(self._body)), (b"content-type", b"application/json"))
        await send({"type": "http.response.start", "status": 200, "headers": raw})
        await send({"type": "http.response.body", "body": self._body})
