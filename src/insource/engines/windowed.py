"""A text longer than its engine reads at once, in windows; and where what was found stands in it.

An engine around an engine: the server, the batch and every measurement ask it as they would ask the one inside.
"""

import asyncio
import re
import time
from collections.abc import Sequence

import msgspec

from insource.decode.prompt import messages
from insource.engines.base import Bounded, Engine
from insource.engines.merge import merged
from insource.engines.together import together
from insource.engines.windows import Window, cut
from insource.nouns import Message, Prediction, Request, Task

AT_ONCE = 16
SHORT = 20_000
ANSWER = 1024
PIECE = re.compile(r"[A-Za-z]{1,4}|\s+|.", re.DOTALL)


class Estimate:
    """The reach of a model elsewhere, whose tokenizer is not at hand: `context` tokens, counted high.

    A token is up to four letters, a run of blanks, or any other character; the prompt and room for an answer (a
    quarter of the context, at most 1,024 tokens) are taken off.
    """

    def __init__(self, context: int) -> None:
        self.context = context

    def room(self, task: Task, /) -> int:
        """How many tokens of an input of `task` are read."""
        around = sum(len(self.offsets(str(message.content))) for message in messages(task, ""))
        return max(1, self.context - around - min(ANSWER, self.context // 4))

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """The characters of each token, so counted."""
        return [found.span() for found in PIECE.finditer(text)]


class Windowed:
    """`engine` for texts of any length. Without a `reach` it is given every text whole.

    Calls without a task and tasks to generate go through as they are. The windows of one text are asked 16 at a time,
    each within what is left of the call's deadline; an error in one is the call's.
    """

    def __init__(self, engine: Engine, reach: Bounded | None = None) -> None:
        self.engine, self.name = engine, engine.name
        self._reach = reach or (engine if isinstance(engine, Bounded) else None)
        self._room: tuple[Task, int] | None = None

    async def complete(self, request: Request) -> Prediction:
        """The answer to the whole text, with its places. Raises what the engine raises."""
        task = request.task
        if task is None or task.kind == "generate":
            return await self.engine.complete(request)
        start = time.perf_counter()
        text = request.input
        windows = await self._windows(task, text)
        if len(windows) == 1:
            said = [await self.engine.complete(request)]
        else:
            said = await self._ask(request, text, windows, start)
        if len(text) <= SHORT:
            whole = merged(task, text, windows, said)
        else:  # a long text is searched for what was found: nobody else shall wait for it
            whole = await asyncio.to_thread(merged, task, text, windows, said)
        return msgspec.structs.replace(whole, latency_ms=(time.perf_counter() - start) * 1000)

    async def close(self) -> None:
        """Closes the engine."""
        await self.engine.close()

    async def _windows(self, task: Task, text: str) -> list[Window]:
        """The text cut to the engine's reach. No token is shorter than a byte, so most texts need no counting."""
        reach = self._reach
        size = len(text.encode("utf-8", "replace"))
        if reach is None:
            return [Window(start=0, stop=len(text), tokens=size)]
        if self._room is None or self._room[0] is not task:
            self._room = task, max(1, reach.room(task))
        room = self._room[1]
        if size <= room:
            return [Window(start=0, stop=len(text), tokens=size)]
        if size <= SHORT:
            return cut(text, reach.offsets(text), room)
        return await asyncio.to_thread(lambda: cut(text, reach.offsets(text), room))

    async def _ask(self, request: Request, text: str, windows: Sequence[Window], start: float) -> list[Prediction]:
        seats = asyncio.Semaphore(AT_ONCE)

        async def one(window: Window) -> Prediction:
            async with seats:
                left = request.deadline - (time.perf_counter() - start)
                return await self.engine.complete(_about(request, text[window.start : window.stop], max(left, 0.0)))

        return await together([one(window) for window in windows])


def _about(request: Request, text: str, deadline: float) -> Request:
    """The same call with `text` as its input."""
    last = max(i for i, message in enumerate(request.messages) if message.role == "user")
    turn = Message(role="user", content=text)
    turns = (*request.messages[:last], turn, *request.messages[last + 1 :])
    return msgspec.structs.replace(request, messages=turns, deadline=deadline)
