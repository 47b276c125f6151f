"""A figure that goes into a bill, with where it comes from: measured, declared by somebody, or assumed."""

from typing import Literal

from insource.nouns import Noun

How = Literal["measured", "declared", "assumed"]
Said = tuple[float | None, How, str]


class Known(Noun, frozen=True, kw_only=True):
    """`value` in `unit`; `of` says in words where it comes from."""

    name: str
    value: float
    unit: str
    how: How
    of: str


def first(name: str, unit: str, *said: Said) -> Known:
    """The first of what is said that is not None. Raises `ValueError` where all are."""
    for value, how, of in said:
        if value is not None:
            return Known(name=name, value=value, unit=unit, how=how, of=of)
    raise ValueError(f"nobody says {name}")
