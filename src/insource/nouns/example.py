"""Labelled work: one row and the set of rows."""

from typing import Literal

from insource.nouns.base import JsonObject, Noun, digest

Origin = Literal["human", "teacher", "traffic", "import"]


class Example(Noun, frozen=True, kw_only=True):
    """One labelled row. `target` maps each field of the task to its value.

    `group` names a set of near-duplicates (they never straddle a split); `tags` are slices for bias checks;
    `id` is the SHA-256 of task, input and target, so the same row has one identity wherever it comes from.
    """

    id: str
    task: str
    input: str
    target: JsonObject
    split: str = "train"
    origin: Origin = "import"
    group: str = ""
    tags: dict[str, str] = {}

    @staticmethod
    def identity(task: str, text: str, target: JsonObject) -> str:
        """The id of a row: SHA-256 over its task, input and target."""
        return digest([task, text, target])


class Dataset(Noun, frozen=True, kw_only=True):
    """A frozen set of examples, named by the SHA-256 of its canonical rows, with where it came from.

    `lineage` holds one object per imported file: path name, its SHA-256, rows read, kept and rejected, columns.
    `counts` is rows per split.
    """

    id: str
    task: str
    counts: dict[str, int]
    lineage: tuple[JsonObject, ...] = ()
    created: str = ""
