"""The reference of base models is complete and says what the tables say."""

import re
from pathlib import Path

import msgspec
import pytest

from insource.engines.catalogue import Listed
from insource.measure.probes import probes
from insource.nouns import Attention, Shape
from insource.price.sizing import FORMATS

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "reference" / "models.md").read_text("utf-8")


def rows(heading: str) -> dict[str, list[str]]:
    """The rows of the table under a heading, by their first cell."""
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#+ |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    assert found, heading
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in found[1].splitlines() if line[:3] == "| `"
    ]
    return {first.strip("`"): rest for first, *rest in cells}


@pytest.mark.parametrize(("heading", "kind"), [("The catalogue", Listed), ("Shape", Shape), ("Attention", Attention)])
def test_every_column_is_documented(heading: str, kind: type[msgspec.Struct]) -> None:
    assert sorted(rows(heading)) == sorted(field.encode_name for field in msgspec.structs.fields(kind))


def test_every_format_is_documented_with_its_bits() -> None:
    found = {name: (float(bits), float(tables)) for name, (bits, tables, *_) in rows("Memory").items()}
    assert found == {name: (form.layers, form.tables) for name, form in FORMATS.items()}


def test_every_kind_of_probe_is_documented() -> None:
    assert set(rows("Probes")) == {probe.kind for probe in probes().probe}
