"""What a batch says of a document and of the whole."""

import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path as FilePath

import msgspec

from insource.journeys.answer import Path
from insource.nouns import WAITS, JsonObject, Noun, Record

NO_ANSWER = "no valid answer: "


class Row(Noun, frozen=True, kw_only=True):
    """One line out. `error` says why there is no valid output; it is None otherwise.

    Of what is out of scope there is no output and no error: it waits for a person.
    An extraction also has `fields`, the confidence of each, and `places`, where each value stands in the input
    (`nouns.Prediction`).
    """

    id: str | None
    output: JsonObject | None = None
    confidence: float | None = None
    fields: dict[str, float] | msgspec.UnsetType = msgspec.UNSET
    places: JsonObject | msgspec.UnsetType = msgspec.UNSET
    decision: str | None = None
    release: str | None = None
    record: str | None = None
    error: str | None = None


class Summary(Noun, frozen=True, kw_only=True, omit_defaults=True):
    """What became of the file. `reused` were answered by an earlier run, `bad` could not be read, `failed` answered.

    Of the failed, `dead` are not asked again, and `why` is what was said of most. `usd` is what this run cost. Where it
    was `stopped`, which says by what, about `left` are still to be answered.
    """

    task: str
    out: str
    rows: int
    reused: int
    answered: int
    review: int
    bad: int
    failed: int
    dead: int = 0
    usd: float = 0.0
    stopped: str = ""
    left: int = 0
    why: str = ""


@dataclass
class Tally:
    """The run so far."""

    rows: int = 0
    reused: int = 0
    answered: int = 0
    review: int = 0
    bad: int = 0
    failed: int = 0
    dead: int = 0
    usd: float = 0.0
    fresh: int = 0  # answered by this run
    errors: Counter[str] = field(default_factory=Counter)
    began: float = field(default_factory=time.monotonic)

    def add(self, row: Row, *, reused: bool = False) -> None:
        """Counts what a document came to, by this run or, `reused`, by an earlier one."""
        self.rows += 1
        waits = row.decision in WAITS
        self.review += waits
        self.answered += row.error is None and not waits
        self.failed += row.error is not None
        if row.error is not None:
            self.errors[row.error] += 1
        self.reused += reused and row.error is None
        self.dead += reused and row.error is not None
        self.fresh += not reused and row.error is None

    def set_aside(self) -> None:
        """Counts a document that cannot be read."""
        self.rows += 1
        self.bad += 1

    def words(self) -> str:
        """How quick it is, and what it cost so far."""
        done = self.rows - self.reused - self.dead - self.bad
        rate = done / max(time.monotonic() - self.began, 1e-3)
        said = f"answering, {rate:,.0f} a second" if done else "answering"
        return said + (f", {self.usd:,.2f} USD" if self.usd else "")

    def summary(self, task: str, out: FilePath, total: int, stopped: str) -> Summary:
        """What is told at the end."""
        more = {"dead": self.dead, "usd": self.usd, "stopped": stopped}
        more["why"] = next((error for error, _ in self.errors.most_common(1)), "")
        more["left"] = max(0, total - self.rows) if stopped else 0
        return Summary(
            task=task,
            out=str(out),
            rows=self.rows,
            reused=self.reused,
            answered=self.answered,
            review=self.review,
            bad=self.bad,
            failed=self.failed,
            **{name: value for name, value in more.items() if value},  # type: ignore[arg-type]
        )


def row_of(id: str | None, record: Record, path: Path) -> Row:
    """The line out for an answered call."""
    said = record.answer
    value = said.value if said and not record.withheld else None
    placed = said is not None and value is not None and path.task is not None and path.task.kind == "extract"
    return Row(
        id=id,
        output=value,
        confidence=said.confidence if said else None,
        fields=said.fields if said and placed else msgspec.UNSET,
        places=said.places if said and placed else msgspec.UNSET,
        decision=record.outcome,
        release=record.release or record.attempts[record.tier - 1].decision.engine,
        record=record.id,
        error=None if value is not None or record.withheld else f"{NO_ANSWER}{record.attempts[-1].decision.reason}",
    )
