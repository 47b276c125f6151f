"""One call past its policy: what is asked, before any engine sees it; what is answered, before the caller does.

What is asked is scanned first. Blocked, no engine is asked; else engines see what the scan lets go on. Each answer is
scanned in its turn: one that is blocked, or that a person is to see, passes the call to the next engine. What was taken
out of the question goes back into the answer that is given. Records say kinds, counts and places, and no text.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from insource.errors import Blocked, InsourceError, ScanFailed
from insource.journeys.scanned_back import Back, put_back, put_back_call, put_back_value, shifted
from insource.journeys.scanned_parts import Finder
from insource.nouns import Attempt, Decision, Hit, Message, Prediction, Record, Request, Scan, ScanPolicy, to_json
from insource.scan.originals import Originals
from insource.scan.scanner import Scanner, Stream

T = TypeVar("T")
AT_ONCE = 16_000  # characters that are scanned while others wait; more goes to a thread
RULE = "scan"


@dataclass(frozen=True)
class Scans:
    """What scans the calls of a path: `asked` what comes in, `said` what goes out; None where nothing is looked for."""

    asked: Scanner | None
    said: Scanner | None
    restore: bool = True


def open_scans(scan: Scan) -> Scans | None:
    """What looks for what `scan` names, made once, in about a second; None where it names nothing.

    Raises `EngineDown` where the extra is not installed, `Invalid` for terms that are none: then no call is answered.
    """
    if not scan.input.actions and not scan.output.actions:
        return None
    asked = _scanner(scan.input, scan.own_terms)
    said = asked if scan.output == scan.input else _scanner(scan.output, scan.own_terms)
    return Scans(asked, said, scan.restore)


async def watched(request: Request, scans: Scans | None) -> "Watched":
    """The call once what is asked has been scanned; what is wrong with it is its `error`, and nothing is raised."""
    if scans is None:
        return Watched(request)
    watch = _Scanned(request, scans)
    if scans.asked is not None:
        size = len(request.input) if request.task else len(to_json([request.messages, request.tools]))
        await _run(watch.look, size)
    return watch


class Watched:
    """A call on its way. `request` is what engines may see, `found` what was found in what the caller sent.

    This is one in which nothing is looked for.
    """

    found: tuple[Hit, ...] = ()
    error: InsourceError | None = None

    def __init__(self, request: Request) -> None:
        self.request = request

    @property
    def refusal(self) -> tuple[Attempt, ...]:
        """What is on record where no engine was asked."""
        return () if self.error is None else (Attempt(decision=_refused(self.error)),)

    @property
    def clean(self) -> bool:
        """Whether nothing was found in what is asked, and nothing of it was replaced."""
        return True

    async def heard(self, attempt: Attempt, error: InsourceError | None) -> tuple[Attempt, InsourceError | None]:
        """The attempt with what may go on of its answer. What may not, or what a person is to see, is not accepted."""
        return attempt, error

    def hushed(self, error: InsourceError) -> InsourceError:
        """An engine's complaint, without its words where they hold what no answer may."""
        return error

    def ruled(self, attempts: tuple[Attempt, ...]) -> tuple[Attempt, ...]:
        """The attempts, of which none is accepted where a person is to see what came in."""
        return attempts

    def noted(self, record: Record) -> Record:
        """The record with what was found in what the caller sent."""
        return record

    def given(self, record: Record) -> Record:
        """The record as the caller gets it: into the answers goes back what was taken out of the question."""
        return record

    def stream(self) -> "Watching":
        """For an answer that comes in pieces."""
        return Watching(None, Originals(), None)


class _Scanned(Watched):
    """One in which something is looked for, in what is asked or in what is answered."""

    def __init__(self, request: Request, scans: Scans) -> None:
        super().__init__(request)
        self._scans = scans
        self._originals = Originals()
        self._json = str((request.response_format or {}).get("type")).startswith("json")

    def look(self) -> None:
        """Scans what is asked, all of it that an engine would get."""
        if self._scans.asked is None:
            return
        finder = Finder(self._scans.asked, self._originals)
        try:
            if self.request.task is None:
                self.request = finder.request(self.request)
            else:  # the last user's message is all that a task's engine reads
                text = finder.text(self.request.input, "input")
                self.request = msgspec.structs.replace(self.request, messages=(Message(role="user", content=text),))
        except InsourceError as error:
            self.error = error
        self.found = finder.hits()
        if blocked := _kinds(self.found, "block"):
            self.error = Blocked(f"the input holds what may not pass: {blocked}", hint="leave it out", at="messages")

    @property
    def clean(self) -> bool:
        return self.error is None and not self.found and not len(self._originals)

    async def heard(self, attempt: Attempt, error: InsourceError | None) -> tuple[Attempt, InsourceError | None]:
        said, error = attempt.prediction, error and self.hushed(error)
        attempt = msgspec.structs.replace(attempt, decision=self._unquoting(attempt.decision))
        if said is None:
            return attempt, error
        prediction, found, failed = await _run(lambda: self._answer(said), len(said.text))
        decision = attempt.decision
        if failed is not None:
            decision = msgspec.structs.replace(decision, accepted=False, reason=f"{failed.code}: {failed}")
        elif self.request.task and (kinds := _kinds(found, "review")) and decision.accepted:
            reason = f"a person is to see the answer, for what was found in it is {kinds}"
            decision = msgspec.structs.replace(decision, accepted=False, reason=reason)
        withheld = failed is not None
        attempt = Attempt(decision=decision, prediction=prediction, found=found, withheld=withheld)
        return attempt, failed or error

    def hushed(self, error: InsourceError) -> InsourceError:
        scanner = self._scans.said
        if scanner is None or isinstance(error, Blocked | ScanFailed) or _may_pass(str(error), scanner):
            return error
        return type(error)("the engine's complaint may not be shown", hint=error.hint, at=error.at)

    def ruled(self, attempts: tuple[Attempt, ...]) -> tuple[Attempt, ...]:
        kinds = _kinds(self.found, "review") if self.request.task else ""
        if not kinds or not attempts[-1].decision.accepted:
            return attempts
        reason = f"a person is to see the input, for what was found in it is {kinds}"
        decision = msgspec.structs.replace(attempts[-1].decision, accepted=False, reason=reason)
        return (*attempts[:-1], msgspec.structs.replace(attempts[-1], decision=decision))

    def noted(self, record: Record) -> Record:
        return msgspec.structs.replace(record, found=self.found) if self.found else record

    def given(self, record: Record) -> Record:
        if not len(self._originals) or not self._scans.restore:
            return record
        attempts = tuple(
            msgspec.structs.replace(each, prediction=each.prediction and self._restored(each.prediction))
            for each in record.attempts
        )
        return msgspec.structs.replace(record, attempts=attempts)

    def stream(self) -> "Watching":
        scanner = self._scans.said
        restore = self._scans.restore and len(self._originals)
        return Watching(scanner, self._originals, Back(self._originals, as_json=self._json) if restore else None)

    def _unquoting(self, decision: Decision) -> Decision:
        """The decision, without what an engine said where its reason quotes what no answer may hold."""
        scanner = self._scans.said
        if scanner is None or _may_pass(decision.reason, scanner):
            return decision
        code = decision.reason.partition(": ")[0]
        return msgspec.structs.replace(decision, reason=f"{code}: what was said may not be shown")

    def _answer(self, said: Prediction) -> tuple[Prediction, tuple[Hit, ...], InsourceError | None]:
        scanner = self._scans.said
        said = shifted(said, self.request.input, self._originals)
        if scanner is None:
            return said, (), None
        finder = Finder(scanner, self._originals.beyond())
        try:
            made = finder.prediction(said, self.request.task)
        except InsourceError as error:
            return _emptied(said), finder.hits(), error
        found = finder.hits()
        if blocked := _kinds(found, "block"):
            return _emptied(said), found, answer_blocked(blocked)
        return made, found, None

    def _restored(self, said: Prediction) -> Prediction:
        return msgspec.structs.replace(
            said,
            text=put_back(said.text, self._originals, as_json=self._json),
            value=put_back_value(said.value, self._originals),
            tool_calls=tuple(put_back_call(call, self._originals) for call in said.tool_calls),
        )


class Watching:
    """An answer in pieces: however they are cut, what goes on is the same. `found` is what was found so far."""

    def __init__(self, scanner: Scanner | None, originals: Originals, back: Back | None) -> None:
        answer = originals.beyond()
        self._stream = Stream(scanner, answer) if scanner else None
        self._finder = Finder(scanner, answer) if scanner else None
        self._back = back

    @property
    def found(self) -> tuple[Hit, ...]:
        """What was found so far."""
        return self._finder.hits() if self._finder else ()

    @property
    def plain(self) -> bool:
        """Whether what comes may go on as it comes: nothing is looked for in it, and nothing was taken out."""
        return self._stream is None and self._back is None

    def feed(self, piece: str) -> Iterable[str]:
        """What may go on now. Raises `Blocked` after the last of what may, `ScanFailed` when the scan is broken."""
        if self.plain:
            return (piece,) if piece else ()
        return self._go(piece, ended=False)

    def close(self, said: Prediction) -> Iterator[str | Prediction]:
        """The rest, then the whole prediction with calls that may go on."""
        yield from self._go("", ended=True)
        if self._finder is not None:
            said = self._finder.calls(said)
            self._check()
        yield said

    def _go(self, piece: str, *, ended: bool) -> Iterator[str]:
        if self._stream is not None and self._finder is not None:
            done = self._stream.close(piece) if ended else self._stream.feed(piece)
            self._finder.add("content", done.findings)
            piece, ended = done.text, ended or done.action == "block"
        if self._back is not None:
            piece = self._back.close(piece) if ended else self._back.feed(piece)
        if piece:
            yield piece
        self._check()

    def _check(self) -> None:
        if blocked := _kinds(self.found, "block"):
            raise answer_blocked(blocked)


def answer_blocked(kinds: str) -> Blocked:
    """The error that a caller gets in the place of an answer."""
    return Blocked(f"the answer held what may not pass: {kinds}", hint="the record says where")


def _may_pass(text: str, scanner: Scanner) -> bool:
    try:
        return scanner.scan(text).action in (None, "note")
    except InsourceError:
        return False


def _scanner(policy: ScanPolicy, terms: tuple[str, ...]) -> Scanner | None:
    return Scanner(policy, terms=terms) if policy.actions else None


def _kinds(found: tuple[Hit, ...], action: str) -> str:
    return ", ".join(hit.kind for hit in found if hit.action == action)


def _refused(error: InsourceError) -> Decision:
    return Decision(engine="", rule=RULE, accepted=False, reason=f"{error.code}: {error}")


def _emptied(said: Prediction) -> Prediction:
    """What is left of an answer that may not go on: what it cost."""
    return Prediction(text="", engine=said.engine, usage=said.usage, latency_ms=said.latency_ms, finish="refusal")


async def _run(work: Callable[[], T], size: int) -> T:
    return await asyncio.to_thread(work) if size > AT_ONCE else work()
