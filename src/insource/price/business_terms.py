"""The figures of a case as they are put together: inputs with their sources, and what formulas make of them."""

from collections.abc import Mapping

from insource.nouns.business import Figure
from insource.nouns.pricing import ApiPrice, MachineRate
from insource.price.compare import Priced
from insource.price.formula import evaluate, names
from insource.price.formula import words as read
from insource.price.known import Known
from insource.price.tables import OWN

KNOWN: Mapping[str, str] = {
    "calls": "calls a day",
    "hours": "hours a day",
    "days": "days a month",
    "peak": "peak over mean",
    "tokens.in": "input tokens of a call to an API",
    "tokens.cached": "of them cached",
    "tokens.out": "output tokens of a call to an API",
    "speed": "calls a machine answers",
    "escalated": "escalated share",
    "reviewed": "reviewed share",
    "reviewed.api": "reviewed share of an API's",
    "review.minutes": "minutes of a review",
    "review.rate": "reviewers' rate",
    "hand.share": "share done by hand today",
    "hand.left": "share left by hand",
    "hand.minutes": "minutes of a case by hand",
    "hand.rate": "rate of those who do it",
    "rows": "rows to label",
    "label": "price of a label",
    "training.hours": "hours of a training",
    "training.rate": "an hour of training",
    "trainings": "trainings a year",
    "fte": "engineers",
    "salary": "engineer's salary",
}
CALLED: Mapping[str, str] = {"tokens.cached": "input tokens that the API read before"}
EFFORT: Mapping[str, tuple[str, str]] = {
    "rows": ("rows to label", "rows"),
    "label": ("price of a label", "US$"),
    "training.hours": ("hours of a training", "hours"),
    "training.rate": ("an hour of training", "US$ an hour"),
    "trainings": ("trainings a year", "times"),
    "fte": ("engineers", "FTE"),
    "salary": ("engineer's salary", "US$ a year"),
    "set-up": ("all else, once", "US$"),
}


class Terms:
    """Figures by key, in the order in which they were named. What is of something missing is missing itself."""

    def __init__(self, found: Priced, owner: str) -> None:
        self.figures: dict[str, Figure] = {}
        self.file = f"tasks/{found.task}.toml"
        self._owner = f", declared by {owner}" if owner else ""
        self._known = {one.name: one for one in found.known}

    def put(self, figure: Figure) -> str:
        """Adds a figure, once; how a formula names it."""
        self.figures.setdefault(figure.key, figure)
        return f"{{{figure.key}}}"

    def known(self, key: str, value: float, name: str = "", unit: str = "") -> str:
        """An input of the comparison, with the source that it has there; of effort, else, the task's file says it.

        Raises `ValueError` where nobody says where it comes from.
        """
        one = self._known.get(KNOWN.get(key, ""))
        if one is None and key not in EFFORT:
            raise ValueError(f"{KNOWN.get(key, key)} has no source")
        if one is None:
            of = f"{self.file} [price.effort]{self._owner}"
            return self.put(Figure(key=key, name=name, value=value, unit=unit, how="declared", of=of))
        called = CALLED.get(key, one.name)
        return self.put(Figure(key=key, name=called, value=value, unit=one.unit, how=one.how, of=self.source(one)))

    def declared(self, key: str, name: str, value: float | None, unit: str, where: str) -> str:
        """What the task's file says under `where`, or that it does not."""
        if value is None:
            return self.lacking(key, name, unit, f"{where} in {self.file}")
        of = f"{self.file} {where}{self._owner}"
        return self.put(Figure(key=key, name=name, value=value, unit=unit, how="declared", of=of))

    def lacking(self, key: str, name: str, unit: str, of: str) -> str:
        """A figure that nobody gave; `of` says what would."""
        return self.put(Figure(key=key, name=name, unit=unit, how="missing", of=of))

    def listed(self, key: str, name: str, value: float, unit: str, row: ApiPrice | MachineRate) -> str:
        """A figure of a row of a table."""
        own = row.source == OWN
        day = f"read on {row.checked}" if row.checked else "no date"
        of = OWN if own else f"{row.source or 'a table without a source'}, {day}"
        of += ", unverified" if any(part in row.unverified for part in (key.rpartition(".")[2], name)) else ""
        return self.put(Figure(key=key, name=name, value=value, unit=unit, how="declared" if own else "listed", of=of))

    def computed(self, key: str, name: str, unit: str, formula: str, of: str = "") -> Figure:
        """What a formula of other figures comes to; `of` says it in words where the formula itself is too long."""
        of_these = [self.figures[one] for one in names(formula)]
        gone = [one.name for one in of_these if one.value is None]
        said = of or read(formula, {one.key: one.name for one in of_these})
        known = {one.key: one.value or 0.0 for one in of_these}
        figure = Figure(
            key=key,
            name=name,
            unit=unit,
            how="missing" if gone else "computed",
            of=f"{said}: needs {', '.join(gone)}" if gone else said,
            formula=formula,
            value=None if gone else evaluate(formula, known),
        )
        self.put(figure)
        return self.figures[key]

    def value(self, key: str) -> float:
        """The value of a figure that has one; 0 of one that is missing."""
        return self.figures[key].value or 0.0

    @property
    def inputs(self) -> tuple[Figure, ...]:
        """What is not computed."""
        return tuple(one for one in self.figures.values() if one.given)

    def source(self, one: Known) -> str:
        """Where a figure of the comparison comes from, with the file that says it."""
        if one.how != "declared":
            return one.of
        if one.of.startswith("--"):
            return f"the command line, {one.of}"
        if one.of.endswith("in insource.toml"):
            return one.of
        return f"{self.file} {one.of}{self._owner}"
