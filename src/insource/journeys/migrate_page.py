"""The report of a run as one HTML file."""

from pathlib import Path

from insource.nouns.assessment import Assessed
from insource.store.files import write_whole


def write_page(found: Assessed, path: Path) -> Path:
    """Writes the page at `path`, whole or not at all. Raises `StoreError`."""
    from insource.measure.migration_page import html

    write_whole(path, html(found))
    return path
