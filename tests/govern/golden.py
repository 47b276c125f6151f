"""The golden pack: facts of a real workspace, kept as they were gathered, and what is written of them.

python tests/govern/golden.py            writes the pack anew from the kept facts
python tests/govern/golden.py --gather   gathers the facts anew first
"""

import asyncio
import sys
import tempfile
from pathlib import Path

import msgspec

from insource.govern.facts import Facts
from insource.govern.pack import pack
from insource.journeys.facts import about, gather
from insource.nouns import from_json
from insource.settings import Settings
from insource.store import Store

FOLDER = Path(__file__).with_name("golden")
FACTS = FOLDER / "gathered.json"
SUMMED = ("index.html", "facts.json")  # only their sums are kept


def facts() -> Facts:
    """The facts as they were gathered."""
    return from_json(FACTS.read_bytes(), Facts)


def gathered() -> Facts:
    """The facts of a workspace made for it."""
    from governed import built

    async def look(settings: Settings) -> Facts:
        async with await Store.open(settings) as store:
            return await gather("defects", settings, store, release=await about("defects", "", store))

    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(look(built(Path(folder) / "plant")))
    assert found.report
    return msgspec.structs.replace(found, report=msgspec.structs.replace(found.report, rows=()))


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    if "--gather" in sys.argv:
        FACTS.write_bytes(msgspec.json.format(msgspec.json.encode(gathered()), indent=1) + b"\n")
    for name, data in pack(facts()).files.items():
        if name not in SUMMED:
            (FOLDER / name).write_bytes(data)
