"""Every field of the evidence stands in the reference."""

import re
from pathlib import Path

from insource.govern.checklist import ITEMS, MEASURED
from insource.govern.declared import DECLARABLE

REFERENCE = Path(__file__).resolve().parents[2] / "docs" / "reference"


def names(page: str, heading: str) -> list[str]:
    text = (REFERENCE / page).read_text("utf-8")
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", text, re.DOTALL | re.MULTILINE)
    assert found, heading
    return re.findall(r"^\| `([^`]+)`", found[1], re.MULTILINE)


def test_every_field_and_item_is_documented():
    assert names("govern.md", "Items of the checklist") == list(ITEMS)
    assert names("govern.md", "Measured") == list(MEASURED)
    assert names("govern.md", "Declared") == list(DECLARABLE)
