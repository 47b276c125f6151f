"""The README's rows of bench/console.py."""

from collections.abc import Iterator
from typing import Any

Row = tuple[str, str, str, bool]


def console(d: dict[str, Any]) -> Iterator[Row]:
    """What is seen of every page, how quick a key is, and what a page costs who calls."""
    looks, review, beside = d["looks"], d["review"], d["beside"]
    bad = looks["violations"] + looks["complaints"] + looks["too_wide"] + looks["elsewhere"]
    found = f"{looks['violations']} faults by axe-core, {looks['complaints']} complaints of the browser, "
    found += f"{looks['too_wide']} too wide, {looks['elsewhere']} of {looks['requests']:,} requests elsewhere"
    found += f" (below {d['upper95']:.1%} of {looks['looks']} looks)"
    yield f"console, {looks['pages']} pages in both themes, 360 and 1,280 pixels, Chromium", "0", found, not bad
    found = f"{review['a_minute']:,.0f} keys a minute, one by one, p50 {review['p50_ms']:.0f} ms to the next answer; "
    found += f"{review['left']} left, verdicts {'as pressed' if review['as_pressed'] else 'NOT as pressed'}"
    held = review["a_minute"] >= 20 and review["as_pressed"] and not (review["left"] or review["chain_faults"])
    yield f"… {review['items']} answers reviewed by keyboard alone", "≥ 20 a minute", found, held
    found = f"p50 {beside['read_p50_ms']:.2f} ms and p99 {beside['read_p99_ms']:.1f}, without "
    found += f"{beside['alone_p50_ms']:.2f} and {beside['alone_p99_ms']:.1f}; a page {beside['page_p50_ms']:.0f} ms, "
    found += f"{d['records']:,} calls on record"
    yield "… a caller's times while five pages a second are opened", "shown", found, True
