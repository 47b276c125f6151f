"""The README's rows of bench/gateway.py."""

from collections.abc import Iterator
from typing import Any

Row = tuple[str, str, str, bool]


def gateway(d: dict[str, Any]) -> Iterator[Row]:
    """Requests a second beside others, added latency, memory."""
    results, ratios = d["results"], d["ratios"]
    mine, direct = results["insource"], results["direct"]
    low, high = mine["32"]["range"]["rps"]
    found = f"{mine['32']['rps']:,.0f} ({low:,.0f} to {high:,.0f}), {ratios['nginx']:.1%} of nginx's"
    failed = sum(of["failed"] + of["broken"] for of in mine.values())
    what = "gateway, requests/s on one core, 32 connections, key, limits, durable audit"
    yield what, "≥ 12% of nginx passing on", f"{found} {results['nginx']['32']['rps']:,.0f}", ratios["nginx"] >= 0.12
    yield "… calls that failed", "0", f"{failed:.0f}", not failed
    if "sources" in ratios:
        its = results["sources"]["32"]["rps"]
        yield "… not compiled", "shown", f"{its:,.0f}, {its / results['nginx']['32']['rps']:.1%} of nginx's", True
    if "portkey" in ratios:
        found = f"{ratios['portkey']:.1f} times its {results['portkey']['32']['rps']:,.0f}"
        yield "… beside Portkey", "≥ 6 times", found, ratios["portkey"] >= 6
    if "litellm" in ratios:
        found = f"{ratios['litellm']:.0f} times its {results['litellm']['32']['rps']:,.0f}"
        yield "… beside LiteLLM's proxy", "shown", found, True
    kept = ratios["256 to 32"]
    yield "… at 256 connections", "≥ 80% of that", f"{mine['256']['rps']:,.0f}, {kept:.0%}", kept >= 0.8
    p50, p99 = (mine["1"][name] - direct["1"][name] for name in ("p50_ms", "p99_ms"))
    found = f"p50 {p50:.2f} ms, p99 {p99:.2f} ms"
    yield "… added to a call, one connection", "p50 ≤ 1.0 ms, p99 ≤ 5 ms", found, p50 <= 1.0 and p99 <= 5
    if "relaxed" in results:
        p50 = results["relaxed"]["1"]["p50_ms"] - direct["1"]["p50_ms"]
        found = f"p50 {p50:.2f} ms"
        yield '… the same with sync = "second"', "p50 ≤ 0.5 ms", found, p50 <= 0.5
    memory = d["memory_mb"]["insource"]
    yield "… memory after 256 connections", "≤ 150 MB", f"{memory:.0f} MB", memory <= 150


def kills(d: dict[str, Any]) -> Iterator[Row]:
    """Answers that outlive SIGKILL, and the control that loses some."""
    mine, control = d["kept"], d["control"]
    found = f"{mine['lost']} lost of {mine['answers']:,} (below {mine['lost_upper95']:.3%}), {mine['twice']} twice"
    found += f", {mine['chain_faults']} faults of the audit chain"
    holds = not (mine["lost"] or mine["twice"] or mine["chain_faults"]) and mine["answers"] >= 20_000
    yield f"SIGKILL under calls, {mine['kills']} times: answers on record", "0 lost, 0 twice of 20,000", found, holds
    found = f"{control['lost']:,} lost of {control['answers']:,} in {control['kills']} kills"
    yield "… negative control: records written after the answer", "loses", found, control["lost"] > 0
    ready = mine["ready_s"]
    found = f"p95 {ready['p95']:.1f} s, p50 {ready['p50']:.1f} s, n {mine['kills']}"
    yield "… started and ready again", "p95 ≤ 5 s", found, ready["p95"] <= 5


def streams(d: dict[str, Any]) -> Iterator[Row]:
    """Events a second beside others, what one costs, and how much later the first comes."""
    results, mine = d["results"], d["results"]["insource"]
    low, high = mine["paced"]["range"]["events_s"]
    beside = ", ".join(f"{name} {results[name]['paced']['events_s']:,.0f}" for name in ("direct", "nginx"))
    found = f"{mine['paced']['events_s']:,.0f} ({low:,.0f} to {high:,.0f}); {beside}"
    what = "gateway, streamed events/s on one core, 256 callers, 5 ms apart, durable audit"
    yield what, "≥ 25,000", found, mine["paced"]["events_s"] >= 25_000
    beside = ", ".join(f"{name} {results[name]['burst']['events_s']:,.0f}" for name in ("direct", "nginx"))
    yield "… 32 callers, without pauses", "shown", f"{mine['burst']['events_s']:,.0f}; {beside}", True
    found = f"{mine['paced']['cpu_us']:.0f} paced, {mine['burst']['cpu_us']:.0f} without pauses"
    yield "… µs of the processor an event, the call's own part included", "shown", found, True
    p50, p99 = (d["added"]["insource"][name] for name in ("first_p50_ms", "first_p99_ms"))
    found = f"p50 {p50:.2f} ms, p99 {p99:.2f} ms"
    if "nginx" in d["added"]:
        found += f"; nginx p50 {d['added']['nginx']['first_p50_ms']:.2f} ms"
    yield "… added to the first event, one caller", "p50 ≤ 1.5 ms", found, p50 <= 1.5
    failed = sum(of["failed"] for of in mine.values())
    found = f"{failed:.0f} of {sum(of['answers'] for of in mine.values()):,.0f}"
    yield "… answers cut or failed", "0", found, not failed
    for name in ("portkey", "litellm"):
        if name in results:
            ours = mine["paced"]["events_s"]
            its = results[name]["paced"]["events_s"]
            found = f"{ours / its:.0f} times its {its:,.0f}" if its else "it answers no stream here"
            yield f"… beside {name}, 256 callers", "shown", found, True
