"""The model "auto": the router says which task a call is for, among those that the caller may call."""

import asyncio
from collections.abc import Callable, Iterable

from insource.engines.router import CARD, Router
from insource.errors import Invalid, Missing
from insource.journeys.auto import router_folder
from insource.journeys.plan import policy_of
from insource.nouns.request import text_of
from insource.route import AUTO, HUMAN, Facts, Guess, choose, recognised
from insource.serve.chat_call import ChatCall
from insource.settings import Settings

SHOWN = 5


class Auto:
    """Names the task of calls that name none. A router that was trained meanwhile is taken up at the next call."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._router: Router | None = None
        self._seen = 0
        self._opening = asyncio.Lock()

    @property
    def here(self) -> bool:
        """Whether the workspace has a router."""
        return self._written() > 0

    async def name(self, call: ChatCall, tasks: Iterable[str], may_call: Callable[[str], bool]) -> tuple[str, str]:
        """The task that `call` is for, or the engine that takes what is not known, and why in words.

        `tasks` are those that are served; nothing is named that the caller may not call. Raises `Missing` without a
        router, `Invalid` with the likeliest tasks where it does not know and no engine may be asked.
        """
        router = await self._loaded()
        guess = Guess(ranked=router.rank(_input(call)), threshold=router.card.threshold)
        may = {task for task in tasks if may_call(task)}
        task, why = recognised(guess, may)
        if task is not None:
            return task, why
        asked = choose(None, Facts(length=0), policy_of(self._settings))
        for choice in asked:
            if choice.allowed and choice.engine != HUMAN and may_call(choice.engine):
                return choice.engine, why
        likely = [f"{name} ({chance:.2f})" for name, chance in guess.ranked if name in may][:SHOWN]
        hint = f"name the task as model: {', '.join(likely)}" if likely else "GET /v1/models lists what there is"
        raise Invalid("it is not known which task the call is for", hint=hint, at="model")

    async def _loaded(self) -> Router:
        written = self._written()
        async with self._opening:
            if self._router is None or written != self._seen:
                try:
                    self._router = await asyncio.to_thread(Router.load, router_folder(self._settings))
                except Missing as error:
                    raise Missing(f"there is no model {AUTO!r}", hint="insource train --router", at="model") from error
                self._seen = written
            return self._router

    def _written(self) -> int:
        """When the router was written, in nanoseconds; 0 where there is none."""
        try:
            return (router_folder(self._settings) / CARD).stat().st_mtime_ns
        except OSError:
            return 0


def _input(call: ChatCall) -> str:
    """The text of the last user message."""
    users = [message.content for message in call.messages if message.role == "user" and message.content is not None]
    return text_of(users[-1]) if users else ""
