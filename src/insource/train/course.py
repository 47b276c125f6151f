"""What every kind of training has in common: rows in, a plan, a model to train, and what it leaves."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from insource.engines.artefact import Calibration, OutputHead
from insource.engines.held_out import Said
from insource.engines.local import LocalModel
from insource.engines.readout import Encoder
from insource.engines.windows import Window, cut
from insource.nouns import Example, Noun, Task
from insource.train.model import Model
from insource.train.recipe import Plan, Recipe
from insource.train.rows import Row

Splits = tuple[list[Example], list[Example]]


class Order(Noun, frozen=True, kw_only=True):
    """What is to be trained, into which folder; `threads` as in `Where`. Ranks wait `patience_s` for each other."""

    task: Task
    train: list[Example]
    dev: list[Example]
    base: LocalModel
    recipe: Recipe
    folder: Path
    threads: int = 0
    patience_s: float = 600.0


class Where(NamedTuple):
    """Where to compute: "cpu" or "cuda", the weights' dtype, and the threads torch may use (0 leaves them)."""

    device: str
    dtype: Any
    threads: int


class Data:
    """Encoded rows to learn from and to check on."""

    def __init__(self, rows: Sequence[Row], dev: Sequence[Row]) -> None:
        self.rows, self.dev = rows, dev


class Piece(NamedTuple):
    """A window of the text of example number `owner`; the only one where the text fits."""

    owner: int
    window: Window
    text: str
    alone: bool


class Answer(Said, frozen=True, kw_only=True):
    """The trainer's own answer to one dev row, its confidence calibrated, and whether it is right."""

    right: bool


class Learned(Noun, frozen=True, kw_only=True):
    """How the trained model is read, and what it answered to `asked`, the dev rows it was calibrated on."""

    heads: tuple[OutputHead, ...] = ()
    calibration: Calibration | None = None
    asked: tuple[Example, ...]
    answers: tuple[Answer, ...]


class Course(Protocol):
    """One kind of task, its rows encoded and its plan made."""

    plan: Plan
    data: Data

    def model(self, where: Where) -> Model:
        """What is to be trained, at its beginning."""
        ...

    def finish(self, model: Any, folder: Path) -> Learned:
        """Writes adapter/ and model/ into `folder`, calibrates on the dev rows and answers them."""
        ...


def pieces(encoder: Encoder, examples: Sequence[Example]) -> list[Piece]:
    """The windows of every example's text, in order, cut as they are when served."""
    found = []
    for owner, example in enumerate(examples):
        windows = cut(example.input, encoder.offsets(example.input), encoder.room)
        alone = len(windows) == 1
        found += [Piece(owner, window, example.input[window.start : window.stop], alone) for window in windows]
    return found
