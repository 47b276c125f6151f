"""What waits for a person, and what the person says of it."""

from collections.abc import Sequence

from insource.nouns import Noun, Pending, Review, Task, Verdict
from insource.review import corrected, verdict
from insource.store import Store


class Said(Noun, frozen=True, kw_only=True):
    """A person's word: the verdict, the correction as typed (`LABEL` or `output=label`), a note, and who."""

    verdict: Verdict
    correct: tuple[str, ...] = ()
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


def judge(task: Task, pending: Pending, said: Said) -> Review:
    """The review that a person's word makes of a waiting answer. Raises `Invalid`."""
    right = corrected(task, pending, words) if (words := _words(said.correct)) else None
    return verdict(task, pending, said.verdict, right, note=said.note, reviewer=said.reviewer)


def _words(given: Sequence[str]) -> list[str]:
    return [word for word in given if word.strip()]
