"""An answer as it goes out: JSON, whole, past what ASGI takes apart and puts together again."""

from collections.abc import Mapping

from starlette.types import Receive, Scope, Send

from insource.serve.exchange import exchange_of


class Said:
    """The ASGI app that says `body`, which is JSON, with status 200 and these headers beside those of its form."""

    __slots__ = ("_body", "_headers")

    def __init__(self, body: bytes, headers: Mapping[str, str]) -> None:
        self._body, self._headers = body, headers

    async def __call__(self, scope: Scope, _: Receive, __: Send) -> None:
        """Says it."""
        await exchange_of(scope).answer(self._headers, self._body)
