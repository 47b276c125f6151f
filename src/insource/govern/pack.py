"""The evidence pack: every file of it as bytes. The same facts give the same bytes; no clock is read here."""

import json

from insource.govern import cyclonedx, dates, markdown
from insource.govern.checklist import Item, checklist, fields, lacking
from insource.govern.documents import documents, maps, metadata, write, write_map
from insource.govern.evidence import Field, Table
from insource.govern.facts import Facts
from insource.govern.page import counted, page
from insource.nouns import JsonObject, Noun, digest, to_json

SUMS = "SHA256SUMS"
INDEX = "index.html"
CARD = "model-card.md"
ABOUT = (
    "A field is measured, or read from the file that decides it, with where it can be looked up; declared, with who "
    "says so and when; or missing. None is made up."
)


class Pack(Noun, frozen=True, kw_only=True):
    """A pack: what it is about, its checklist and its files, each name with its bytes. `sha256` is of `SUMS`."""

    about: str
    items: tuple[Item, ...]
    fields: dict[str, Field]
    due: tuple[dates.Due, ...]
    files: dict[str, bytes]
    sha256: str

    @property
    def counts(self) -> dict[str, int]:
        """How many fields are measured, declared and missing."""
        return counted(self.fields)

    def lacking(self, required: tuple[str, ...]) -> list[str]:
        """The fields that are missing of what is required; of every item where that is empty. Raises `Invalid`."""
        return lacking(self.fields, required or tuple(item.name for item in self.items))


def pack(facts: Facts) -> Pack:
    """The pack of a release, or of a task that has none."""
    found, about = fields(facts), facts.about
    items, due = checklist(found), dates.due(facts)
    texts = {document.file: write(document, about, found) for document in documents()}
    texts[CARD] = f"{markdown.front(metadata(facts, found))}\n\n{texts[CARD]}"
    texts |= {one.file: write_map(one, about, found) for one in maps()}
    texts["checklist.md"] = _checklist(about, items, found)
    texts["bom.cdx.json"] = _json(cyclonedx.bill(facts, found))
    texts["facts.json"] = _json({"about": about, "checklist": items, "due": due, "fields": found})
    texts[INDEX] = page(about, items, found, due)
    files = {name: text.encode() for name, text in sorted(texts.items())}
    sums = "".join(f"{digest(data)}  {name}\n" for name, data in files.items()).encode()
    return Pack(
        about=about, items=tuple(items), fields=found, due=tuple(due), files={**files, SUMS: sums}, sha256=digest(sums)
    )


def _json(value: object) -> str:
    plain: JsonObject = json.loads(to_json(value))
    return json.dumps(plain, ensure_ascii=False, indent=1, sort_keys=True) + "\n"


def _checklist(about: str, items: list[Item], found: dict[str, Field]) -> str:
    """The checklist as Markdown: the items, then every field."""
    rows = [
        (one.title, "holds" if one.holds else "does not hold", ", ".join(one.missing) or "nothing") for one in items
    ]
    parts = [
        f"# Checklist of {markdown.plain(about)}",
        ABOUT,
        markdown.table(Table(columns=("item", "state", "missing"), rows=tuple(rows))),
        "## Every field",
    ]
    each = [f"- `{name}` {markdown.plain(one.title)}: {markdown.said(one)}" for name, one in sorted(found.items())]
    return "\n\n".join([*parts, "\n".join(each)]) + "\n"
