"""The page of schemas says what the code does."""

from pathlib import Path

from insource.decode.bounds import ITEMS, KEYS, TEXT
from insource.decode.keywords import ASSERTIONS, FORMATS, NOTES
from insource.engines.base_model import STRUCTURED

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "schemas.md").read_text("utf-8")


def test_every_keyword_and_format_is_documented() -> None:
    assert [word for word in sorted(ASSERTIONS | NOTES | FORMATS) if f"`{word}`" not in PAGE] == []


def test_the_bounds_are_the_documented_ones() -> None:
    assert f"{TEXT:,} characters" in PAGE
    assert f"{ITEMS} items" in PAGE
    assert f"{KEYS} further" in PAGE
    assert f"{STRUCTURED:,} tokens" in PAGE
