"""What a run of `migrate` has found: each piece of work is a blob first, then a line of the run, and done once."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from insource.collect.purse import Purse
from insource.errors import StoreError
from insource.nouns import Dataset, Example, Noun, Task, canonical, to_json
from insource.nouns.assessment import Assessment, Criteria
from insource.settings import Settings
from insource.store import Store
from insource.store.stored import stored

T = TypeVar("T", bound=Noun)
Progress = Callable[[str, int, int], None]
Say = Callable[[str], None]
Make = Callable[[], Awaitable[T]]


@dataclass
class Kept:
    """A run under way. `rows` are the sampled rows with their places in the split; the `purse` pays for calls."""

    task: Task
    settings: Settings
    store: Store
    dataset: Dataset
    criteria: Criteria
    rows: list[tuple[int, Example]]
    run: Assessment
    purse: Purse
    say: Say
    progress: Progress

    async def piece(self, name: str, kind: type[T], make: Make[T]) -> T:
        """What the piece of work called `name` found; it is made where the run does not have it yet."""
        sha = self.run.pieces.get(name)
        if sha:
            return stored(self.store.blobs.get(sha), kind)
        found = await make()
        self.run = await self.store.assessments.note(self.run.id, name, self.store.blobs.put(to_json(found)))
        return found


def put_lines(store: Store, lines: list[Noun]) -> str:
    """Keeps nouns as canonical JSON lines; the same in the same order have the same SHA-256."""
    return store.blobs.put(b"".join(canonical(line) + b"\n" for line in lines))


def get_lines(store: Store, sha: str, kind: type[T]) -> list[T]:
    """The nouns of JSON lines. Raises `Missing`, or `StoreError` for what is no longer what was put."""
    return [stored(line, kind) for line in store.blobs.get(sha).splitlines()]


def get_list(store: Store, sha: str) -> list[str]:
    """A kept list of words. Raises `Missing`, `StoreError`."""
    try:
        return msgspec.json.decode(store.blobs.get(sha), type=list[str])
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise StoreError(f"the blob {sha} is no list: {error}") from error
