"""How a task's doubtful answers are reviewed: by how many people, within which time, and what if nobody does."""

from typing import Annotated, Literal

from msgspec import Meta

from insource.nouns.base import Noun
from insource.nouns.task import Probability

SECONDS = {"": 0.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
Span = Annotated[str, Meta(pattern=r"^([1-9][0-9]{0,4}[mhd])?$")]


class Reviewing(Noun, frozen=True, kw_only=True):
    """`[review]` of a task's file.

    The share `double` of what waits is settled only when two people said their word, blind to each other; a third where
    they disagree. What nobody settled `within` a time ("90m", "8h", "2d"; empty: no limit) is settled `otherwise`: the
    "provisional" answer stands, "drop" says that there is none, "escalate" asks the `engine` of insource.toml.
    """

    double: Probability = 0.0
    within: Span = ""
    otherwise: Literal["provisional", "escalate", "drop"] = "provisional"
    engine: str = ""

    def __post_init__(self) -> None:
        if self.otherwise == "escalate" and not self.engine:
            raise ValueError('otherwise = "escalate" needs an engine of insource.toml')

    @property
    def within_s(self) -> float:
        """The time in seconds; 0 without a limit."""
        return float(self.within[:-1] or 0) * SECONDS[self.within[-1:]]
