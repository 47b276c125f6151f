"""The graphics cards that are known, from cards.toml."""

import tomllib
from importlib.resources import files

import msgspec

from insource.nouns import Noun


class Card(Noun, frozen=True, kw_only=True):
    """A card: `gb` of memory (10^9 bytes), `gb_s` of bandwidth, `tflops` of dense 16-bit matrix products.

    `source` is its maker's page, `checked` where its figures were seen again; `unverified` names those that were not.
    """

    name: str
    gb: float
    gb_s: float
    tflops: float
    source: str
    checked: str = ""
    unverified: tuple[str, ...] = ()


def cards() -> dict[str, Card]:
    """Every card of the table by its short name, smallest memory first."""
    text = files("insource.price").joinpath("cards.toml").read_text("utf-8")
    found = {name: msgspec.convert(entry, type=Card) for name, entry in tomllib.loads(text).items()}
    return dict(sorted(found.items(), key=lambda item: (item[1].gb, item[1].gb_s)))
