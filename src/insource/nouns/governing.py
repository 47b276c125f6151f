"""What is said of a task by people, for those who must answer for it: nothing of it is measured."""

from datetime import date
from typing import Annotated

from msgspec import Meta

from insource.nouns.base import Noun


class Governing(Noun, frozen=True, kw_only=True):
    """`[govern]` of a task's file.

    `slices` names tags of its rows, over which it is to do as well. What is `required` of the evidence keeps a release
    from callers as long as it is missing; empty keeps none. `declared` maps fields of the evidence to what is so, said
    `by` a person `on` a day: without both, nothing of it counts.
    """

    slices: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    by: str = ""
    on: date | None = None
    declared: dict[str, str] = {}


class Declaration(Noun, frozen=True, kw_only=True):
    """What a person said a field of a task's evidence is, and when (UTC, ISO 8601). An empty one takes it back."""

    task: str
    field: str
    value: Annotated[str, Meta(max_length=10_000)]
    by: Annotated[str, Meta(min_length=1, max_length=200)]
    created: str
