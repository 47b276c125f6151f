"""The pack's first page: one file of HTML, no script, no request; dark and light, narrow and on paper."""

from collections.abc import Mapping, Sequence
from typing import get_args

import jinja2

from insource.govern.checklist import Item
from insource.govern.dates import Due
from insource.govern.documents import documents, mapped, maps
from insource.govern.evidence import Field, State
from insource.nouns import visible

DATA = {"bom.cdx.json": "CycloneDX ML-BOM", "facts.json": "Every field, as data", "checklist.md": "The checklist",
        "SHA256SUMS": "SHA-256 of every file"}  # fmt: skip


def page(about: str, items: Sequence[Item], found: Mapping[str, Field], due: Sequence[Due]) -> str:
    """The page; every text of strangers is escaped."""
    pages = jinja2.Environment(
        loader=jinja2.PackageLoader("insource.govern"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    whole = pages.get_template("pack.html").render(
        about=about,
        items=items,
        fields=found,
        due=due,
        counts=counted(found),
        headline=headline(items),
        documents=[(one.file, one.title.format(about=about), one.about) for one in documents()],
        maps=[(one.file, one.title.format(about=about), one.about, mapped(one, found)) for one in maps()],
        data=DATA,
        missing=[one for one in found.values() if one.state == "missing"],
    )
    return visible(whole)


def counted(found: Mapping[str, Field]) -> dict[str, int]:
    """How many fields are measured, declared and missing."""
    return {state: sum(one.state == state for one in found.values()) for state in get_args(State)}


def headline(items: Sequence[Item]) -> str:
    """What the checklist comes to, in one sentence."""
    open_ = [item.title for item in items if not item.holds]
    if not open_:
        return f"All {len(items)} items of the checklist hold."
    return f"{len(items) - len(open_)} of {len(items)} items of the checklist hold; open: {', '.join(open_)}."
