"""The report of a run as one page."""

from insource.nouns.assessment import Assessed


def html(found: Assessed) -> str:
    """The page."""
    return f"<!doctype html><title>{found.verdict.sentence}</title>"
