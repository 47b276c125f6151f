"""What waits for a person, and what the person says of it."""

import hmac
from collections.abc import Sequence

from msgspec.structs import replace

from insource.errors import Conflict, Invalid, Missing
from insource.journeys.answer import input_hash
from insource.journeys.scanned import Scans, watched
from insource.nouns import JsonObject, Noun, Pending, Record, Review, Task, Verdict, ask
from insource.review import Figures, corrected, unfit, verdict
from insource.review import figures as queue_figures
from insource.store import Store

NEWEST = 2_000


class Said(Noun, frozen=True, kw_only=True):
    """A person's word: the verdict, a note, and who.

    The correction is as typed (`LABEL` or `output=label`), or a value for each field that it is of.
    """

    verdict: Verdict
    correct: tuple[str, ...] | JsonObject = ()
    note: str = ""
    reviewer: str = ""


async def queue(task: Task, store: Store, limit: int = 50) -> list[Pending]:
    """What waits for a person, oldest first."""
    return await store.pending(task.name, limit)


async def settle(task: Task, store: Store, record: str, said: Said) -> Review:
    """Settles one record. A correction implies the verdict "wrong" was meant, and must be valid for the task.

    Raises `Missing` for an unknown record, `Conflict` when it does not wait, `Invalid` for a wrong correction.
    """
    pending = await store.waiting(record)
    review = judge(task, pending, said)
    await store.settle(review)
    return review


async def undo(task: Task, store: Store, record: str, reviewer: str) -> Pending:
    """Takes back what `reviewer` said last of the record, within a quarter of an hour: it waits again, held for them.

    The audit trail keeps it as withdrawn; a row that `insource improve` made of it meanwhile stays. Raises `Missing`
    for a record that is none of the task's, `Conflict` where there is nothing of theirs to take back, or no more.
    """
    if (await store.record(record)).task != task.name:
        raise Missing(f"{record} is no answer of {task.name}")
    return await store.unsettle(record, reviewer)


async def figures(task: Task, store: Store) -> Figures:
    """The task's queue in figures: how long people take, how far they agree, what nobody looked at in time.

    They are of the newest 2,000 verdicts, and of as many words where more than one person has to say one.
    """
    settled, all_of_them = await store.listings.verdicts(task.name, NEWEST)
    none = unfit(task, [review for _, review in settled])
    waits, words = await store.listings.queue(task.name), await store.listings.opinions(task.name, NEWEST)
    return replace(queue_figures(task.name, waits, settled, words, none), settled=all_of_them)


async def feedback(
    task: Task, store: Store, record: Record, said: Said, *, text: str = "", scans: Scans | None = None
) -> Review:
    """Settles an answer on what an application says of it, be it one that waits for a person or one that was given.

    `text` is the input again, which no record holds; what scans take out of a call is taken out of it. Raises
    `Invalid` where it is another than the record's, or the correction is none; `Conflict` where it is settled.
    """
    try:
        pending = await store.waiting(record.id)
    except Conflict:
        pending = await _given(task, record, store, text, scans)
    review = judge(task, pending, said)
    await store.settle_given(pending, review)
    return review


async def _given(task: Task, record: Record, store: Store, text: str, scans: Scans | None) -> Pending:
    """An answer that was given, as what a person sees."""
    if text:
        hashed = input_hash(await store.tenant_key(record.tenant), text.encode(errors="surrogatepass"))
        if not hmac.compare_digest(hashed, record.input_hash):
            raise Invalid("the input is another than the one of the record", hint="leave it out", at="input")
        watch = await watched(ask(task, text, id=record.id), scans)
        text = "" if watch.error is not None else watch.request.input
    said = record.answer
    return Pending(
        record=record.id,
        task=record.task or "",
        input=text,
        value=said.value if said else None,
        confidence=said.confidence if said else None,
        reason="feedback",
        created=record.created,
    )


def judge(task: Task, pending: Pending, said: Said) -> Review:
    """The review that a person's word makes of a waiting answer. Raises `Invalid`."""
    if isinstance(said.correct, dict):
        right: JsonObject | None = {**(pending.value or {}), **said.correct} or None
    else:
        right = corrected(task, pending, words) if (words := _words(said.correct)) else None
    return verdict(task, pending, said.verdict, right, note=said.note, reviewer=said.reviewer)


def _words(given: Sequence[str]) -> list[str]:
    return [word for word in given if word.strip()]
