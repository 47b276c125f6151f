"""What a stronger model said of an input without a label: one call of a teacher, what it cost and what became of it."""

from typing import Literal

from insource.nouns.base import JsonObject, Noun

Part = Literal["teacher", "second"]
Became = Literal[
    "asked", "label", "unsure", "disputed", "invalid", "refused", "blocked", "failed", "agrees", "differs", "withdrawn"
]
SET_ASIDE: tuple[Became, ...] = ("invalid", "refused", "blocked", "failed")
CALLER = "insource teach"  # who calls, on the records of teaching; no key's name has a blank
UNSURE, DISPUTED = "its teacher is not sure", "two teachers differ"
TEACHING = (UNSURE, DISPUTED)  # why something waits for a person that was never a call of production
ANSWERED: tuple[Became, ...] = (
    "label", "unsure", "disputed", "invalid", "refused", "blocked", "agrees", "differs",
)  # fmt: skip


class Lesson(Noun, frozen=True, kw_only=True):
    """One call, under the id of its record. `row` is the pool's row, `target` and `confidence` what was answered.

    `key` is the SHA-256 of the input, the task as it was asked, and the engine: what was answered once is not paid for
    again. `prompt` is the SHA-256 of all that was said beside the input. `most` is what the call may cost at most and
    was reserved for it, `usd` what it did cost; where it is not `known` that, `usd` is `most`: nobody can say whether
    a call that broke off is on the bill.
    A teacher's answer is "asked" until its end is known, then a "label", or "unsure" or "disputed" (a person sees it),
    or aside as "invalid", "refused", "blocked" (by a scan) or "failed", `why` in words; "withdrawn" when it was taken
    back. A second opinion "agrees" or "differs". It is `closed` once the dataset has it, or need not.
    """

    id: str
    task: str
    row: str
    key: str
    part: Part = "teacher"
    engine: str
    model: str = ""
    prompt: str = ""
    became: Became = "asked"
    target: JsonObject | None = None
    confidence: float | None = None
    why: str = ""
    most: float = 0.0
    usd: float = 0.0
    known: bool = True
    tokens: tuple[int, int] = (0, 0)
    seconds: float = 0.0
    created: str = ""
    closed: bool = False
