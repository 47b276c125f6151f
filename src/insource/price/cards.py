"""The graphics cards that are known, from cards.toml."""

import tomllib
from importlib.resources import files

import msgspec

from insource.nouns import Noun

PRODUCTS, READING = 0.5, 0.7  # of a maker's figures


class Card(Noun, frozen=True, kw_only=True):
    """A card: `gb` of memory (10^9 bytes), `gb_s` of bandwidth, `tflops` of dense 16-bit matrix products.

    `source` is its maker's page, `checked` where its figures were seen again; `unverified` names those that were not.
    Figures that were `measured` are what it does, those of a maker what it could do at most.
    """

    name: str
    gb: float
    gb_s: float
    tflops: float
    source: str
    checked: str = ""
    unverified: tuple[str, ...] = ()
    measured: bool = False

    @property
    def products_s(self) -> float:
        """Operations a second that matrix products get of it."""
        return self.tflops * 1e12 * (1 if self.measured else PRODUCTS)

    @property
    def read_s(self) -> float:
        """Bytes a second that are read of its memory."""
        return self.gb_s * 1e9 * (1 if self.measured else READING)


def cards() -> dict[str, Card]:
    """Every card of the table by its short name, smallest memory first."""
    text = files("insource.price").joinpath("cards.toml").read_text("utf-8")
    found = {name: msgspec.convert(entry, type=Card) for name, entry in tomllib.loads(text).items()}
    return dict(sorted(found.items(), key=lambda item: (item[1].gb, item[1].gb_s)))
