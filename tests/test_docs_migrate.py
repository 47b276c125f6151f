"""What a migration can be told is documented: `[migrate]` of a task's file."""

import re
from pathlib import Path

import msgspec

from insource.nouns.assessment import Migrating

SETTINGS = Path(__file__).resolve().parents[1] / "docs" / "reference" / "settings.md"


def test_every_key_of_the_section_is_documented() -> None:
    text = SETTINGS.read_text("utf-8")
    part = re.search(r"^### `\[migrate\]`\n(.*?)(?=^#)", text, re.DOTALL | re.MULTILINE)
    assert part is not None
    rows = re.findall(r"^\| `([^`]+)`", part[1], re.MULTILINE)
    assert sorted(rows) == sorted(field.encode_name for field in msgspec.structs.fields(Migrating))
