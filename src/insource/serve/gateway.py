"""The ASGI app, with a straight way for the route that nearly all traffic takes."""

import asyncio
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.types import ASGIApp, Receive, Scope, Send

from insource.errors import InsourceError
from insource.serve.auth import CALLER, admit
from insource.serve.chat import chat
from insource.serve.ends import end
from insource.serve.faults import on_bug, on_ours
from insource.serve.hosts import check

CHAT = "/v1/chat/completions"


class Gateway(Starlette):
    """Starlette, but for chat calls: they pass the same checks without the layers that find a route and guard bugs.

    Those layers take longer than all the rest of a call that is passed through.
    """

    def __init__(self, *, network: bool, **more: Any) -> None:
        super().__init__(**more)
        self._network = network

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one call."""
        if scope["type"] == "http" and scope["path"] == CHAT and scope["method"] == "POST":
            scope["app"] = self
            await self._chat(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    async def _chat(self, scope: Scope, receive: Receive, send: Send) -> None:
        """What Starlette would do for this route: admit, call, and turn what goes wrong into an answer."""
        answer: ASGIApp
        http = HttpRequest(scope, receive)
        try:
            try:
                check(scope, network=self._network)
                await admit(scope, CALLER)
                answer = await chat(http)
            except InsourceError as error:
                answer = await on_ours(http, error)
            except Exception as error:  # a bug costs its own call, which is told of it; the server puts it into its log
                await (await on_bug(http, error))(scope, receive, send)
                raise error  # by name: see tests/test_compiled.py
            await answer(scope, receive, send)
        except asyncio.CancelledError:
            await end(scope, receive, send)
