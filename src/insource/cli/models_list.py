"""What `insource models list` says: the catalogue, and what is on this disk."""

from pathlib import Path

from insource.cli.models_card import context, size
from insource.cli.words import table
from insource.engines.catalogue import listed
from insource.engines.models import kept_models
from insource.nouns import JsonObject, visible


def listing(cache: Path) -> list[JsonObject]:
    """One row per model of the catalogue, then one per other model on this disk."""
    known = listed()
    kept = {item.name: (home, item) for home, item in kept_models(cache).items()}
    rows: list[JsonObject] = []
    for name in [*known, *(name for name in kept if name not in known)]:
        entry = known.get(name)
        home, item = kept.get(name, (None, None))
        rows.append(
            {
                "name": name,
                "about": entry.about if entry else "",
                "license": entry.license if entry else "",
                "parameters": entry.shape.parameters + entry.shape.vision if entry else 0,
                "active": entry.shape.active if entry else 0,
                "context": entry.shape.context if entry else 0,
                "fetch_bytes": entry.bytes if entry else 0,
                "disk_bytes": item.bytes if item else 0,
                "folder": (item.folder or str(home)) if item else "",
                "sha256": item.sha256 if item else entry.sha256 if entry else "",
            }
        )
    return rows


def listed_table(rows: list[JsonObject]) -> str:
    """The models of the catalogue as a table, then the others, whose names can be paths of any length."""
    cells, others = [], []
    for row in rows:
        disk = f"{row['disk_bytes'] / 1e6:,.0f} MB" if row["disk_bytes"] else "-"
        if not row["about"]:
            others.append(f"also here: {visible(row['name'])}, {disk}")
            continue
        work = f", {size(row['active'])} work" if row["active"] else ""
        terms = row["license"].partition(":")[0].partition(",")[0]
        what = row["about"].partition(";")[0]
        cells.append([row["name"], size(row["parameters"]) + work, context(row["context"]), disk, terms, what])
    head = ["MODEL", "PARAMETERS", "CONTEXT", "ON DISK", "LICENCE", "WHAT"]
    return "\n".join([table(head, cells, indent=""), *others])
