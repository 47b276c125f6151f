"""Rows put to a teacher, some at a time: paid for out of one purse, noted before they are asked, tried again.

What is reserved for a call is on the disk before the call is made. Killed at any moment, the next run finds each call
that has no end, and counts it as what it may have cost at most.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import msgspec

from insource.collect.purse import Purse
from insource.errors import (
    Blocked,
    Denied,
    EngineBusy,
    EngineError,
    InsourceError,
    OutputInvalid,
    ScanFailed,
    StoreError,
)
from insource.journeys.answer import answer
from insource.journeys.lineup import Progress
from insource.journeys.scanned import watched
from insource.journeys.teacher import Teacher, unbilled
from insource.nouns import Example, Pending, Record, record_id, stamp
from insource.nouns.lesson import UNSURE, Became, Lesson
from insource.review import worth
from insource.store import Store

BROKE = "the budget is used up"
TRIES, ROUNDS = 3, 5  # of a row; in which every call at once fails
PAUSE_S, LONGEST_PAUSE_S = 0.5, 60.0
ASIDE: dict[str, Became] = {"refusal": "refused", "length": "invalid", "invalid": "invalid", "stop": "invalid"}
Heard = Callable[[Lesson, Example], Awaitable[None]]


@dataclass
class Asking:
    """One teacher and the rows it is asked. `spare` says what must be left in the purse for what comes after.

    That hangs on how many `labels` there are so far. Of answers less sure than `sure` a person is asked. `stopped` says
    in words why not every row was asked, empty where all were.
    """

    teacher: Teacher
    store: Store
    purse: Purse
    progress: Progress
    at_once: int = 8
    sure: float = 0.0
    spare: Callable[[int], float] = lambda _: 0.0
    stopped: str = ""
    labels: int = 0
    lessons: list[Lesson] = field(default_factory=list)
    _in_a_row: int = 0
    _rests_until: float = 0.0
    _began: float = field(default_factory=time.monotonic)
    _settled: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def all(self, rows: Sequence[tuple[Example, Lesson | None]], heard: Heard | None = None) -> None:
        """Asks for the label of each row, or where a lesson is beside it for a second opinion on that.

        What each call came to is kept, in `lessons` too; `heard` is told of it. Ends early where the purse is empty
        or the engine fails again and again. Raises `StoreError`, and what the engine raises for a call that is none.
        """
        todo, done = iter(rows), 0
        self._say(0, len(rows))

        async def one_after_another() -> None:
            nonlocal done
            for row, about in todo:
                lesson = None if self.stopped else await self._lesson(row, about)
                if lesson is None:
                    return
                self.lessons.append(lesson)
                self.labels += lesson.became == "label"
                if heard is not None:
                    await heard(lesson, row)
                done += 1
                self._say(done, len(rows))

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._seats):
                    group.create_task(one_after_another())
        except ExceptionGroup as several:
            raise several.exceptions[0] from several

    @property
    def _seats(self) -> int:
        """Calls at a time."""
        return min(self.at_once, self.teacher.settings.max_concurrent)

    async def _lesson(self, row: Example, about: Lesson | None) -> Lesson | None:
        """What came of the row, after as many tries as it takes; None where there is no money for it, or no engine.

        To be turned away by a busy engine is no try: all wait until it is not.
        """
        tries = 0
        while True:
            await asyncio.sleep(max(0.0, self._rests_until - time.monotonic()))
            lesson = await self._reserved(row, about)
            if lesson is None:
                return None
            lesson, error, pending = await self._asked(row, lesson)
            tries += not isinstance(error, EngineBusy)
            self._count(error)
            await self.store.lessons.note([lesson], pending)
            await self._settle(lesson)
            self._distrust(lesson)
            if error is None or not error.retryable or tries == TRIES or self.stopped:
                return lesson
            self.lessons.append(lesson)

    async def _reserved(self, row: Example, about: Lesson | None) -> Lesson | None:
        """A lesson with its price taken and noted; waits while calls under way may give enough back."""
        teacher, name = self.teacher, record_id()
        most = teacher.most(row.input) if teacher.costs else 0.0
        async with self._settled:
            while not self.stopped and not self.purse.take(name, most, self.spare(self.labels)):
                if not self.purse.held:
                    self.stopped = BROKE
                    break
                await self._settled.wait()
        if self.stopped:
            self.purse.settle(name, 0.0)
            return None
        lesson = Lesson(
            id=name,
            task=teacher.task.name,
            row=row.id,
            key=teacher.key(row),
            part="second" if about else "teacher",
            engine=teacher.name,
            model=teacher.settings.model,
            prompt=teacher.prompt,
            most=most,
            usd=most,
            known=most == 0.0,
            created=stamp(time.time()),
        )
        await self.store.lessons.note([lesson])
        return lesson

    async def _asked(self, row: Example, lesson: Lesson) -> tuple[Lesson, InsourceError | None, Pending | None]:
        """The call made: the lesson as it ended, the error where it failed, and what a person is to see."""
        kept: list[Record] = []

        async def keep(record: Record, _: Pending | None) -> None:
            kept.append(record)
            await self.store.append(record)

        request, began = self.teacher.request(row, lesson.id), time.monotonic()
        try:
            record = await answer(request, self.teacher.path, keep)
        except StoreError:
            raise
        except (EngineError, OutputInvalid, Denied, ScanFailed) as error:
            became: Became = "blocked" if isinstance(error, Blocked) else "failed"
            once = self.teacher.most(row.input, 1) if self.teacher.costs else 0.0
            paid = _paid(lesson, kept[-1] if kept else None, error, once)
            # its words may quote the text, and a lesson holds none
            return msgspec.structs.replace(paid, became=became, why=error.code), _passing(error), None
        lesson = _paid(lesson, record, None, lesson.most)
        lesson = msgspec.structs.replace(lesson, seconds=time.monotonic() - began)
        lesson = _heard(lesson, record, self.sure)
        if lesson.became != "unsure" or lesson.part == "second":
            return lesson, None, None
        watch = await watched(request, self.teacher.path.scans)
        return lesson, None, _pending(lesson, record, watch.request.input)

    async def _settle(self, lesson: Lesson) -> None:
        async with self._settled:
            self.purse.settle(lesson.id, lesson.usd)
            self._settled.notify_all()

    def _distrust(self, lesson: Lesson) -> None:
        """Who counts more tokens than a call can have breaks what the budget stands on: nobody asks it again."""
        if lesson.usd > lesson.most * (1 + 1e-9):
            over = f"{self.teacher.name} counts ${lesson.usd:,.4f} for a call that can cost ${lesson.most:,.4f} at most"
            self.stopped = self.stopped or over

    def _count(self, error: InsourceError | None) -> None:
        """After a failure nobody asks before the time that the engine names, or that grows; after many nobody asks."""
        if error is None:
            self._in_a_row = 0
            return
        self._in_a_row += 1
        if self._in_a_row >= ROUNDS * self._seats:
            self.stopped = self.stopped or f"{self.teacher.name} failed {self._in_a_row} times in a row: {error}"
            return
        named = error.again_s or 0.0 if isinstance(error, EngineError) else 0.0
        grown = PAUSE_S * 2 ** (self._in_a_row // self._seats) * random.uniform(0.5, 1.5)  # noqa: S311 - no secret
        self._rests_until = max(self._rests_until, time.monotonic() + min(LONGEST_PAUSE_S, max(named, grown)))

    def _say(self, done: int, total: int) -> None:
        rate = f" {done / max(time.monotonic() - self._began, 1e-3):.1f}/s" if done else ""
        spent = f", ${self.purse.spent:.4f} {self.purse.of}" if self.teacher.costs else ""
        self.progress(f"{self.teacher.name}{rate}{spent}".rstrip(), done, total)


def _heard(lesson: Lesson, record: Record, sure: float) -> Lesson:
    """The lesson with what was answered: a label, or why it is none."""
    said, decision = record.answer, record.attempts[-1].decision
    if said is None or said.value is None or (not decision.accepted and said.finish != "stop"):
        finish = said.finish if said else "invalid"
        return msgspec.structs.replace(lesson, became=ASIDE[finish], why=decision.reason.partition(": ")[0])
    became: Became = "label" if decision.accepted else "unsure"
    why = "" if decision.accepted else decision.reason.partition(": ")[0]
    if decision.accepted and said.confidence is not None and said.confidence < sure:
        became, why = "unsure", f"confidence {said.confidence:.2f} is below {sure:.2f}"
    return msgspec.structs.replace(lesson, became=became, why=why, target=said.value, confidence=said.confidence)


def _paid(lesson: Lesson, record: Record | None, error: InsourceError | None, most: float) -> Lesson:
    """The lesson with what the call cost, `most` where nobody can say.

    What was turned away cost nothing. An answer without a count of its tokens, one that stayed invalid (the last try
    may have broken off), and a call that broke off or came too late may stand on the bill with more than we heard of.
    """
    unknown = msgspec.structs.replace(lesson, usd=most)
    said = record.answer if record else None
    if error is not None and said is None:
        return msgspec.structs.replace(lesson, usd=0.0, known=True) if unbilled(error) else unknown
    if record is None or said is None:
        return unknown
    tokens = (said.usage.input_tokens, said.usage.output_tokens)
    if not all(tokens) or said.finish == "invalid":
        return msgspec.structs.replace(unknown, tokens=tokens)
    return msgspec.structs.replace(lesson, tokens=tokens, usd=record.usd, known=True)


def _passing(error: InsourceError) -> InsourceError | None:
    """The error, where it says something of the engine or of what scans, and not of this one text."""
    return None if isinstance(error, Blocked | OutputInvalid) else error


def _pending(lesson: Lesson, record: Record, text: str) -> Pending:
    said = record.answer
    return Pending(
        record=lesson.id,
        task=lesson.task,
        input=text,
        value=lesson.target,
        confidence=lesson.confidence,
        alternatives=said.alternatives if said else {},
        reason=UNSURE,
        created=record.created,
        worth=worth(lesson.confidence),
    )
