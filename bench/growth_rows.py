"""The README's rows of bench/growth.py."""

from collections.abc import Iterator
from typing import Any

Row = tuple[str, str, str, bool]
BAR_MS = 300


def growth(d: dict[str, Any]) -> Iterator[Row]:
    """The slowest page and the slowest listing of the largest store, and how they came there."""
    large = d["sizes"][-1]
    much = f"{large['records']:,} calls on record, {large['items']:,} review items, {large['releases']:,} releases"
    for name, what, parts in (
        ("pages", "console, every page", [one["pages"] for one in d["sizes"]]),
        ("listings", "command line, every listing", [one["listings"] for one in d["sizes"]]),
    ):
        worst, found = _slowest(parts[-1])
        curve = ", ".join(f"{one['records']:,}: {_slowest(part)[1]['p95_ms']:,.0f} ms"
                          for one, part in zip(d["sizes"], parts, strict=True))  # fmt: skip
        said = f"{found['p95_ms']:,.0f} ms (p50 {found['p50_ms']:,.0f}, n {found['n']}): {_called(name, worst)}, the "
        said += f"slowest of {len(parts[-1])}; by calls on record: {curve}; load average {d['load']:.1f}"
        where = f", {much}: p95" if name == "pages" else ", without its start: p95"
        yield ("… " if name == "listings" else "") + what + where, f"≤ {BAR_MS} ms", said, found["p95_ms"] <= BAR_MS
    worst, found = max(large["listings"].items(), key=lambda one: one[1]["typed_ms"])
    said = f"{found['typed_ms']:,.0f} ms (insource {_plain(worst)}); insource --help {large['help_ms']:,.0f}"
    yield "… the slowest as it is typed, p50", "shown", said, True
    said = "; ".join(f"{_plain(line)} {one['p50_ms'] / 1000:,.1f} s" for line, one in large["whole"].items())
    said += f"; all calls added up for the first time {large['first_usage_ms'] / 1000:,.1f} s"
    yield "… what looks at all there is, once", "shown", said, True
    said = f"{large['bytes'] / large['records']:,.0f} bytes a call with its entries; the chain of the smallest "
    yield "… on disk", "whole", said + ("whole" if d["chain_whole"] else "NOT whole"), bool(d["chain_whole"])


def _slowest(parts: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    return max(parts.items(), key=lambda one: float(one[1]["p95_ms"]))


def _called(kind: str, name: str) -> str:
    return f"/console/{_plain(name)}" if kind == "pages" else _plain(name)


def _plain(pattern: str) -> str:
    """A pattern as people read it."""
    for name in ("task", "release", "record", "report", "at"):
        pattern = pattern.replace("{" + name + "}", name.upper())
    return pattern
