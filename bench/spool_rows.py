"""The README's rows of bench/spool.py."""

from collections.abc import Iterator
from typing import Any

Row = tuple[str, str, str, bool]


def spool(d: dict[str, Any]) -> Iterator[Row]:
    """Answers that outlive a store that is down and a kill, and the controls that refuse and lose."""
    mine, without, forgets = d["spool"], d["without"], d["forgets"]
    found = f"{mine['lost']} lost of {mine['answers']:,} (below {mine['lost_upper95']:.3%}), {mine['twice']} twice"
    found += f", {mine['spooled']:,} by way of the spool, {mine['chain_faults']} faults of the audit chain"
    holds = not (mine["lost"] or mine["twice"] or mine["chain_faults"] or mine["files_refused"]) and mine["spooled"] > 0
    yield f"the store down under calls, then SIGKILL, {mine['outages']} times", "0 lost, 0 twice", found, holds
    yield "… calls refused meanwhile", "0", f"{mine['refused']:,}", not mine["refused"]
    well, down = mine["call_ms"]["well"], mine["call_ms"]["down"]
    found = f"p50 {down['p50']:.0f} ms, p99 {down['p99']:.0f}; while it is up {well['p50']:.0f}, {well['p99']:.0f}"
    yield "… a call while it is down, 24 callers", "shown", found, True
    found = f"p95 {mine['start_s']['p95']:.1f} s, p50 {mine['start_s']['p50']:.1f} s, n {mine['start_s']['n']}"
    yield "… started and ready again, the spool carried in", "p95 ≤ 5 s", found, mine["start_s"]["p95"] <= 5
    found = f"{without['refused']:,} refused and {without['lost']} lost in {without['outages']} outages"
    holds = without["refused"] > 0 and not without["lost"]
    yield "… without a spool", "refuses, loses none", found, holds
    found = f"{forgets['lost']:,} lost of {forgets['answers']:,}"
    yield "… negative control: a spool that forgets", "loses", found, forgets["lost"] > 0
