"""Training rows as token ids, and their order: like lengths together, the same for the same seed."""

import random
from collections.abc import Sequence

from insource.engines.readout import Encoder
from insource.nouns import Example, Noun, Output, Task

POOL = 64


class Row(Noun, frozen=True, kw_only=True):
    """`ids` are the text, the cue at whose end, position `read`, the answer begins, and what of the answer is read.

    For labels that is the tokens of all outputs but the last; the first output is read at `read`, the next at
    `read` + 1 and so on, and `targets` are the label numbers. A written answer is in `ids` whole, with the token that
    ends it; `parts` are the positions behind each of its fields, the last behind all of it.
    """

    ids: list[int]
    read: int
    targets: tuple[int, ...] = ()
    parts: tuple[int, ...] = ()


def encode(task: Task, examples: Sequence[Example], encoder: Encoder, tokens: Sequence[Sequence[int]]) -> list[Row]:
    """One Row per example, in order."""
    numbers = [{label: i for i, label in enumerate(output.labels)} for output in task.outputs]
    rows = []
    encoded = encoder.encode([example.input for example in examples])
    for example, (ids, _) in zip(examples, encoded, strict=True):
        targets = tuple(of[str(example.target[o.name])] for o, of in zip(task.outputs, numbers, strict=True))
        chain = [tokens[k][target] for k, target in enumerate(targets[:-1])]
        rows.append(Row(ids=[*ids, *chain], read=len(ids) - 1, targets=targets))
    return rows


def label_rows(task: Task, encoder: Encoder) -> list[Row]:
    """Each label's own name as an example of it; only for a single output, where it is a whole target."""
    if len(task.outputs) != 1:
        return []
    labels = task.outputs[0].labels
    encoded = encoder.encode([label_text(task.outputs[0], label) for label in labels])
    return [Row(ids=ids, read=len(ids) - 1, targets=(i,)) for i, (ids, _) in enumerate(encoded)]


def label_text(output: Output, label: str) -> str:
    """A label as words: the leaf of a taxonomy path, underscores as blanks."""
    return (label.rsplit(" / ", maxsplit=1)[-1] if output.taxonomy else label).replace("_", " ")


def batches(rows: Sequence[Row], size: int, seed: int, epoch: int) -> list[list[Row]]:
    """The batches of one epoch: shuffled, then like lengths together within pools, then the batches shuffled."""
    rng = random.Random(f"{seed}:{epoch}")  # noqa: S311 - an order, not a secret
    order = list(range(len(rows)))
    rng.shuffle(order)
    found = []
    for start in range(0, len(order), size * POOL):
        pool = sorted(order[start : start + size * POOL], key=lambda i: len(rows[i].ids))
        found += [[rows[i] for i in pool[k : k + size]] for k in range(0, len(pool), size)]
    rng.shuffle(found)
    return found
