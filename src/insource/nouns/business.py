"""The case for a change, in figures of which each says where it comes from."""

from typing import Literal

from insource.nouns.base import Noun

How = Literal["measured", "declared", "listed", "assumed", "computed", "missing"]


class Figure(Noun, frozen=True, kw_only=True):
    """One figure, and `of` in words where it comes from: without that it cannot be built.

    `how` says whose word it is: `listed` is a row of a table of prices, `assumed` is nobody's. What is `computed` has a
    `formula` of other figures' keys in braces, as a spreadsheet would have it. What is `missing` has no value, and `of`
    says what would fill it; where it would be computed, its formula stands already. `low` and `high` are the
    ends of a 95% interval of `n` rows or calls.

    Raises `ValueError` for a figure without a source, or whose value or formula is not what `how` says.
    """

    key: str
    name: str
    unit: str
    how: How
    of: str
    value: float | None = None
    formula: str = ""
    low: float | None = None
    high: float | None = None
    n: int | None = None

    def __post_init__(self) -> None:
        if not self.of.strip():
            raise ValueError(f"{self.name} has no source")
        if (self.value is None) != (self.how == "missing"):
            raise ValueError(f"{self.name} is {self.how}, and its value is {self.value}")
        if self.how != "missing" and bool(self.formula) != (self.how == "computed"):
            raise ValueError(f"{self.name} is {self.how}: a formula is for what is computed, and for nothing else")

    @property
    def given(self) -> bool:
        """True of an input, be it there or missing."""
        return not self.formula


class Told(Noun, frozen=True, kw_only=True):
    """What is said in words instead of in a figure, with its source. Raises `ValueError` without one."""

    name: str
    words: str
    how: How
    of: str

    def __post_init__(self) -> None:
        if not self.of.strip():
            raise ValueError(f"{self.name} has no source")


class Section(Noun, frozen=True, kw_only=True):
    """A part of the case: what it comes to in a sentence, and its figures."""

    title: str
    finding: str
    figures: tuple[Figure, ...]


class Counted(Noun, frozen=True, kw_only=True):
    """The share of `n` answers of `who` that were wrong, with its 95% interval where it was measured."""

    who: str
    share: float
    low: float | None = None
    high: float | None = None
    n: int | None = None
    how: How
    of: str


class Quality(Noun, frozen=True, kw_only=True):
    """What is known of wrong answers, before and after; None of what nobody measured.

    `less` is the share before less the share after on the same rows, where both answered them. `others` are shares that
    bear on risk and have no price: (what, share). `wrong_usd` is what a wrong answer costs, as somebody declared.
    """

    now: Counted | None = None
    then: Counted | None = None
    less: Counted | None = None
    others: tuple[tuple[str, Counted], ...] = ()
    wrong_usd: float | None = None


class Stage(Noun, frozen=True, kw_only=True):
    """A stage of the way in-house: done, here or ahead, and what its gate asks: (what, how it stands, met)."""

    name: str
    state: str
    needs: tuple[tuple[str, str, bool], ...]


class Pilot(Noun, frozen=True, kw_only=True):
    """The bounded pilot in a sentence, and what it has to show. Without criteria `criteria` is one that is missing."""

    finding: str
    criteria: tuple[Told, ...]


class Paid(Noun, frozen=True, kw_only=True):
    """A month of the cash flow in US dollars: what is paid now, what then, and what is saved up to its end.

    `payback` is the month from which nothing is owed any more, as far as the months up to this one tell; below 0 where
    something still is.
    """

    month: int
    now: Figure
    then: Figure
    saved: Figure
    payback: Figure


class Business(Noun, frozen=True, kw_only=True):
    """The case. `first` is the line that decides, `lines` stand below it; `verdict` is the newest migration's word.

    `inputs` are all figures that others are computed from. The five `sections` are costs today, what is proposed, the
    work of people, quality and risk in money, and the plan.
    """

    task: str
    created: str
    first: str
    lines: tuple[str, ...]
    verdict: str
    now: str
    then: str
    months: int
    inputs: tuple[Figure, ...]
    sections: tuple[Section, ...]
    cash: tuple[Paid, ...]
    stages: tuple[Stage, ...]
    governance: tuple[Told, ...]
    pilot: Pilot
    warnings: tuple[str, ...] = ()
