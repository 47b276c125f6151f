"""Reviewing at the terminal: one key decides, and the next answer is there."""

import asyncio
from collections.abc import Callable

import msgspec

from insource.cli.words import bold, dim
from insource.errors import InsourceError
from insource.journeys.review import Said, judge, undo
from insource.nouns import JsonObject, Output, Pending, Review, Task, visible
from insource.review import frequent_labels
from insource.store import Store

LEGEND = (
    "1-9 choose · t type it · x wrong, but I cannot say · n none of these fits · ? unsure · s skip · u undo · q quit"
)
AHEAD, HELD_S = 25, 900.0
LEARNT_FROM = 500  # verdicts that say which labels people choose most


class Desk:
    """Goes through the queue of `task`, some items at a time that are this person's alone meanwhile.

    `key` gives one key, `line` asks for a line, `say` shows text.

    A decision is written at once, and `u` takes back the last, then the one before: it waits again, and is shown.
    """

    def __init__(
        self, task: Task, store: Store, reviewer: str, *, say: Callable[[str], object],
        key: Callable[[], str], line: Callable[[str], str],
    ) -> None:  # fmt: skip
        self.task, self.store, self.reviewer = task, store, reviewer
        self._say, self._key, self._line = say, key, line
        self._done: list[tuple[int, str]] = []

    async def work(self) -> int:
        """Shows answer after answer until the queue or the person's patience ends. Returns how many were settled."""
        waiting = await self._more([])
        settled = await self.store.newest_reviews(self.task.name, LEARNT_FROM)
        at, total = 0, await self.store.listings.waiting(self.task.name)
        nothing = f"nothing of {self.task.name} waits for a person"
        some = f"{total} wait{'s' * (total == 1)}. {LEGEND}"
        self._say(some if waiting else f"{nothing}: others look at {total}" if total else nothing)
        try:
            while True:
                waiting += await self._more(waiting) if at == len(waiting) else []
                if at == len(waiting) and not self._done:
                    break
                step = await self._turn(waiting, at, settled)
                if step is None:
                    break
                at = step
        finally:
            await self.store.let_go(self.reviewer)
        return len(self._done)

    async def _more(self, seen: list[Pending]) -> list[Pending]:
        """Items that were not seen yet, held for this person; what was skipped is held as well, and not shown again."""
        known = {pending.record for pending in seen}
        found = await self.store.lease(self.task.name, self.reviewer, AHEAD + len(known) - len(self._done), HELD_S)
        return [pending for pending in found if pending.record not in known]

    async def _turn(self, waiting: list[Pending], at: int, settled: list[tuple[Pending, Review]]) -> int | None:
        """One answer, or after the last the chance to take it back. Returns which to show next, None to leave."""
        if at < len(waiting):
            self._show(waiting[at], at, len(waiting))
            return await self._one(waiting[at], at, settled)
        self._say(dim("that was the last: u takes it back, any other key ends"))
        return await self._move("u" if await asyncio.to_thread(self._press) == "u" else "q", at)

    async def _one(self, pending: Pending, at: int, settled: list[tuple[Pending, Review]]) -> int | None:
        """Asks about one answer. Returns which to show next, None to leave."""
        value: JsonObject = {}
        for output in self.task.outputs or (None,):
            labels = frequent_labels(output, pending, settled) if output else []
            self._offer(output, labels, pending)
            said = await asyncio.to_thread(self._ask, output, labels)
            if said in ("q", "s", "u"):
                return await self._move(said, at)
            if said == "n" and output is not None:
                missing = self._line("which label is missing").strip()
                return await self._decide(pending, at, Said(verdict="none_of_these", note=missing))
            if said in ("x", "?"):
                return await self._decide(pending, at, Said(verdict="wrong" if said == "x" else "unsure"))
            if output is None:
                return await self._decide(pending, at, _free(said))
            value[output.name] = said[1:]
        right = value == pending.value
        correct = () if right else tuple(f"{name}={label}" for name, label in value.items())
        return await self._decide(pending, at, Said(verdict="right" if right else "wrong", correct=correct))

    def _ask(self, output: Output | None, labels: list[str]) -> str:
        """A command key as it is, or "=" and the value that was chosen or typed."""
        while True:
            key = self._press()
            if key in ("q", "s", "u", "x", "?") or (key == "n" and output is not None):
                return key
            if key.isdecimal() and 0 < int(key) <= len(labels):
                return "=" + labels[int(key) - 1]
            if key == "y" and output is None:
                return "="
            if key == "t":
                said = self._typed(output)
                if said:
                    return "=" + said
            self._say(dim(LEGEND))

    def _press(self) -> str:
        try:
            return self._key()
        except (EOFError, KeyboardInterrupt):
            return "q"

    def _typed(self, output: Output | None) -> str:
        said = self._line("what is right" if output is None else output.name).strip()
        if output is None or said in output.labels or not said:
            return said
        near = [label for label in output.labels if said.lower() in label.lower()]
        if len(near) == 1:
            return near[0]
        self._say("no such label" if not near else "several: " + ", ".join(near[:9]))
        return ""

    async def _decide(self, pending: Pending, at: int, said: Said) -> int:
        try:
            review = judge(self.task, pending, msgspec.structs.replace(said, reviewer=self.reviewer))
        except InsourceError as error:
            self._say(visible(str(error)))
            return at
        try:
            await self.store.settle(review)
            self._done.append((at, pending.record))
        except InsourceError as error:
            self._say(f"not written: {error}")
        return at + 1

    async def _move(self, key: str, at: int) -> int | None:
        if key == "q":
            return None
        if key == "s":
            return at + 1
        if not self._done:
            self._say("nothing to undo")
            return at
        back, record = self._done.pop()
        try:
            await undo(self.task, self.store, record, self.reviewer)
        except InsourceError as error:
            self._say(f"not taken back: {error}")
            return at
        return back

    def _show(self, pending: Pending, at: int, total: int) -> None:
        self._say(f"\n{dim(f'{at + 1} of {total}')}  {dim(pending.reason)}\n\n  {bold(visible(pending.input))}\n")

    def _offer(self, output: Output | None, labels: list[str], pending: Pending) -> None:
        if output is None:
            self._say(f"  proposed: {visible(str(pending.value))}\n  y right · t type fields as field=value")
            return
        proposed = (pending.value or {}).get(output.name)
        for number, label in enumerate(labels, 1):
            self._say(f"  {number} {visible(label)}{dim('  proposed') if label == proposed else ''}")


def _free(said: str) -> Said:
    """What was said of an answer without closed labels: "=" alone is right, else the correction."""
    return Said(verdict="right") if said == "=" else Said(verdict="wrong", correct=(said[1:],))
