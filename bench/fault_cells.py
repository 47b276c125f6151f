"""Every fault of the table at every place of an answer: it ends in time, and nothing cut is passed off as whole.

A call goes to a server that plays the fault, and then to a sound one. What must hold, whatever the fault:

    in time     the call ends within its time and a second
    whole       an answer is the whole text; what is not, is an error
    fallback    as long as nothing was said, the second server answers
    clean       the next call to the first server, now sound, gets its own answer

`matrix` gives what did not hold. The control is an engine that trusts every end of a stream.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Iterable, Iterator
from dataclasses import dataclass

from insource.engines.bursts import Burst
from insource.engines.deployment import Deployment
from insource.engines.remote import Remote
from insource.engines.scripted_faults import ANSWERS, HARMLESS, PLACES, PLAYS, At
from insource.engines.scripted_server import Reply, ScriptedServer
from insource.errors import EngineDown, EngineError
from insource.journeys.answer import Path, Tier, answer, discard
from insource.journeys.relay import relay
from insource.journeys.turnstiles import turnstile
from insource.nouns import Message, Prediction, Record, Request
from insource.settings import EngineSettings

TEXT = "the whole of the answer, from its first word to its last"
AFTER = "what comes after"
AT_ONCE = 24


@dataclass(frozen=True)
class Cell:
    """A fault at a place of a streamed or a whole answer, on one wire."""

    play: str
    at: At
    stream: bool
    kind: str = "openai"
    patience_s: float = 2.0  # for the first byte, and between bytes; a sound server on a busy machine needs some

    @property
    def call_s(self) -> float:
        """Two engines, each with half of it."""
        return 6 * self.patience_s

    @property
    def waits(self) -> dict[str, float]:
        """As the settings have them."""
        each = dict.fromkeys(("connect_s", "first_byte_s", "idle_s"), self.patience_s)
        return {**each, "timeout_s": 3 * self.patience_s}

    def __str__(self) -> str:
        return f"{self.kind}, {self.play}, {self.at}, {'stream' if self.stream else 'plain'}"


def cells(kind: str = "openai", patience_s: float = 2.0) -> Iterator[Cell]:
    """A fault that stands for the whole answer has one place."""
    for play in ("refused", *PLAYS):
        for at in PLACES if play in PLAYS and play not in ANSWERS else PLACES[:1]:
            for stream in (False, True):
                yield Cell(play, at, stream, kind, patience_s)


def passed(id: str, text: str, cell: Cell) -> Request:
    """A call of words."""
    return Request(id=id, messages=(Message(role="user", content=text),), deadline=cell.call_s)


class Trusting(Remote):
    """The control: takes every end of a stream for the end of the answer."""

    async def bursts(self, request: Request) -> AsyncGenerator[Burst]:
        """What came, as if it were all."""
        said: list[str] = []
        try:
            async for burst in super().bursts(request):
                said += [piece for piece in burst if isinstance(piece, str)]
                yield burst
        except EngineDown:
            yield [Prediction(text="".join(said), engine=self.name)]


def engine(name: str, cell: Cell, url: str, made: type[Remote] = Remote) -> Deployment:
    """The engine for a server at `url`."""
    settings = EngineSettings(kind=cell.kind, base_url=url, model="m", breaker=False, **cell.waits)
    return Deployment(made(name, settings, ""), turnstile(name, settings, {}))


@dataclass
class Story:
    """What became of one cell."""

    pieces: list[str]
    record: Record | None
    error: Exception | None
    took: float
    next_text: str | None

    @property
    def could_fall_back(self) -> bool:
        """Whether the first server failed before a word had gone out, so that the second could answer."""
        answered_first = self.record is not None and self.record.tier == 1
        return not answered_first and (self.record is not None or not self.pieces)

    @property
    def fell_back(self) -> bool:
        """Whether the second answered, with the whole text."""
        said = self.record.answer if self.record else None
        return self.record is not None and self.record.tier == 2 and said is not None and said.text == TEXT


async def told(cell: Cell, made: type[Remote] = Remote) -> Story:
    """Plays one cell."""
    first = [Reply(match="broken", text=TEXT, play=cell.play, at=cell.at), Reply(text=AFTER)]
    first = [Reply(match="broken", status=500), Reply(text=AFTER)] if cell.play == "refused" else first
    async with ScriptedServer(first, kind=cell.kind) as bad, ScriptedServer([Reply(text=TEXT)], kind=cell.kind) as good:
        root = bad.base_url.removeprefix(bad.address)
        url = f"http://127.0.0.1:9{root}" if cell.play == "refused" else bad.base_url
        engines = engine("first", cell, url, made), engine("second", cell, good.base_url)
        path = Path(task=None, tiers=tuple(Tier(one) for one in engines))
        story = Story([], None, None, 0.0, None)
        began = time.perf_counter()
        try:
            if cell.stream:
                async for piece in relay(passed("1", "broken", cell), path, discard):
                    if isinstance(piece, str):
                        story.pieces.append(piece)
                    else:
                        story.record = piece
            else:
                story.record = await answer(passed("1", "broken", cell), path, discard)
        except EngineError as error:
            story.error = error
        story.took = time.perf_counter() - began
        if cell.play != "refused":
            said = await engines[0].complete(passed("2", "and now", cell))
            story.next_text = said.text
        for one in engines:
            await one.close()
        return story


def faults_of(cell: Cell, story: Story) -> list[str]:
    """What did not hold."""
    heard, answered = "".join(story.pieces), story.record.answer if story.record else None
    whole = answered.text if answered else ""
    twice = cell.play == "twice" and cell.stream
    holds = {
        f"took {story.took:.1f} s": story.took <= cell.call_s + 1,
        "neither an answer nor an error": (story.record is None) != (story.error is None),
        f"heard {heard!r} is not {whole!r}": not answered or not cell.stream or heard == whole,
        f"cut: {whole!r}": not answered or whole == TEXT or (twice and is_within(TEXT, whole)),
        "an end that is none": not answered or answered.finish == "stop",
        f"no fallback: {story.error!r}": not story.error or heard != "",
        "a harmless one was not answered": cell.play not in HARMLESS or (answered and story.record.tier == 1),
        f"the next call got {story.next_text!r}": story.next_text == AFTER or cell.play == "refused",
    }
    return [words for words, held in holds.items() if not held]


def is_within(text: str, longer: str) -> bool:
    """Whether the letters of `text` stand in `longer` in their order: something came twice, nothing is missing."""
    letters = iter(longer)
    return all(letter in letters for letter in text)


@dataclass
class Matrix:
    """What did not hold, by cell; how often the second server could answer, and how often it did."""

    failed: dict[str, list[str]]
    possible: int
    fell_back: int


async def matrix(chosen: Iterable[Cell], made: type[Remote] = Remote, at_once: int = AT_ONCE) -> Matrix:
    """Plays the cells, so many at once."""
    seats, chosen = asyncio.Semaphore(at_once), list(chosen)

    async def one(cell: Cell) -> Story:
        async with seats:
            return await asyncio.wait_for(told(cell, made), 30)

    stories = await asyncio.gather(*[one(cell) for cell in chosen], return_exceptions=True)
    failed: dict[str, list[str]] = {}
    ended: list[Story] = []
    for cell, story in zip(chosen, stories, strict=True):
        if isinstance(story, BaseException):
            failed[str(cell)] = [repr(story)]
            continue
        ended.append(story)
        if said := faults_of(cell, story):
            failed[str(cell)] = said
    possible = [story for story in ended if story.could_fall_back]
    return Matrix(failed, len(possible), sum(story.fell_back for story in possible))
