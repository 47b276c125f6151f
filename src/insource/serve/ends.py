"""What becomes of a call that the server cannot wait for: the caller is told, and it is counted."""

import asyncio

from starlette.types import ASGIApp, Receive, Scope, Send

from insource.serve.exchange import exchange_of
from insource.serve.faults import Stopping, error_response


class Ends:
    """Answers a call that was cancelled, which only a stopping server does, with 503 where no answer has begun."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes on."""
        try:
            await self.app(scope, receive, send)
        except asyncio.CancelledError:
            if scope["type"] != "http":
                raise
            await end(scope, receive, send)


async def end(scope: Scope, receive: Receive, send: Send) -> None:
    """Ends a call that was cancelled; `app.state.broken_off` counts them."""
    scope["app"].state.broken_off += 1
    if not exchange_of(scope).begun:
        await error_response(Stopping())(scope, receive, send)
