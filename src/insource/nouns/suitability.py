"""Is a task one for a small model: what people say of it, what its rows and calls show, and what comes of both."""

from typing import Annotated, Literal

from msgspec import Meta

from insource.nouns.base import Noun

Weighs = Literal["for", "care", "against", "open"]
Rate = Annotated[float, Meta(ge=0, le=1e12)]


class Answers(Noun, frozen=True, kw_only=True):
    """`[suitability]` of a task's file: what nobody but people can say. None is not answered.

    `operator` is who runs it, looks at doubtful answers and trains it again: "nobody" where nobody does. `creative`:
    many answers would be equally right. `across_domains`: one answer takes reasoning in several fields at once.
    `synthesis`: an answer draws on parts all over a document. `changes_per_year` is how often what is asked changes so
    that older labels are wrong. `defined`: two people who know the work would say the same.
    """

    calls_per_day: Rate | None = None
    operator: str | None = None
    creative: bool | None = None
    across_domains: bool | None = None
    synthesis: bool | None = None
    changes_per_year: Rate | None = None
    defined: bool | None = None


class Share(Noun, frozen=True, kw_only=True):
    """A share that was counted, 0 to 1, with its 95% interval (Wilson) and n."""

    value: float
    low: float
    high: float
    n: int


class Labels(Noun, frozen=True, kw_only=True):
    """One output's labels in the rows.

    `entropy` is Shannon's, in bits, `even` its share of what it would be were all labels as frequent, 0 to 1.
    `commonest` is the share of the commonest label; `rare` counts labels with fewer than 5 rows.
    """

    output: str
    labels: int
    entropy: float
    even: float
    commonest: float
    rare: int


class Novelty(Noun, frozen=True, kw_only=True):
    """The newest fifth beside what came before it. `of` says of what: rows by a tag that holds dates, or calls.

    `new_labels` is the share of the newest whose label nothing before them has. `unknown` is the share of their words
    that nothing before them has, `chance` the same for as many taken at random: what is beyond it is time's doing.
    `moved` is how far labels (calls: unknown words) are from before, 0 to 1, and `p` how easily so by luck.
    """

    of: Literal["rows", "calls"]
    since: str
    n: int
    new_labels: Share | None
    unknown: float | None
    chance: float | None
    moved: float
    p: float


class Shown(Noun, frozen=True, kw_only=True):
    """What the data itself shows. Lengths are in tokens, one for each 4 characters; None is what it does not show.

    `contradicting` are rows whose text, but for case, blanks and punctuation, stands there with another target too;
    `at_odds` rows whose target is not that of most of their near duplicates. `calls_per_day` is counted over
    `call_days` days of records. `context` is what the model reads at once, in tokens.
    """

    rows: int = 0
    labels: tuple[Labels, ...] = ()
    tokens_median: int | None = None
    tokens_p95: int | None = None
    context: int = 0
    contradicting: Share | None = None
    at_odds: Share | None = None
    novelty: Novelty | None = None
    calls_per_day: float | None = None
    call_days: float = 0.0


class Ground(Noun, frozen=True, kw_only=True):
    """One reason: which rule, how it weighs, in words, and who says so. "open" waits for an answer to `asks`."""

    rule: str
    weighs: Weighs
    why: str
    of: Literal["people", "rows", "calls", "the task's file", "nobody yet"]
    asks: str = ""


class Suitability(Noun, frozen=True, kw_only=True):
    """Whether the task is one for a small model: "no" with one ground against it, "open" while one is open, else "yes".

    `summary` says it in a line. `answers` and `shown` are all that it was told from.
    """

    task: str
    verdict: Literal["yes", "no", "open"]
    summary: str
    grounds: tuple[Ground, ...]
    answers: Answers
    shown: Shown

    @property
    def open(self) -> tuple[str, ...]:
        """The questions of `Answers` that decide and are not answered, by their key."""
        return tuple(ground.asks for ground in self.grounds if ground.weighs == "open" and ground.asks)
