"""The README's rows of the drills for bad days: overload, faults, outages, callers who leave, kills, a long run."""

from collections.abc import Iterator
from typing import Any

Row = tuple[str, str, str, bool]


def overload(d: dict[str, Any]) -> Iterator[Row]:
    """Three times the peak, by the clock. A round whose load was late itself does not count."""
    mine, control = d["ours"], d["control"]["rounds"][0]
    rounds, good = [one for one in mine["rounds"] if one["counts"]], mine["goodput"]
    what = f"overload: {d['times']:.0f} times the peak by the clock, one core, a server of {d['service_ms']:.0f} ms"
    found = f"{good['median']:.0%} ({good['low']:.0%} to {good['high']:.0%}) of {mine['peak_per_s']['median']:,.0f}/s"
    found += f", {len(rounds)} rounds"
    if len(rounds) < len(mine["rounds"]):
        found += f" of {len(mine['rounds'])}: in the others the load was late itself"
    yield f"{what}: still answered", "≥ 90% of the peak", found, good["median"] >= 0.9
    ratio, p99 = mine["p99_ratio"], mine["over_p99_ms"]
    found = f"{ratio['median']:.2f} times ({ratio['low']:.2f} to {ratio['high']:.2f}): {p99['median']:.0f} ms"
    found += f", {mine['usual_p99_ms']['median']:.0f} ms at three quarters of the peak"
    yield "… p99 of what is answered", "≤ 2 times the usual", found, ratio["median"] <= 2
    refused, most = mine["refused_p99_ms"], max((one["over"]["refused"]["most_ms"] for one in rounds), default=0)
    n = sum(one["over"]["refused"]["n"] for one in rounds)
    found = f"p99 {refused['median']:.1f} ms, most {most:.0f} ms, n {n:,}"
    found += f"; sent late by {mine['late_p99_ms']['high']:.1f} ms"
    yield "… refusals", "≤ 50 ms", found, refused["high"] <= 50
    broken = sum(one["otherwise"] for one in rounds)
    yield "… neither answered nor refused", "0", f"{broken:,}", bool(rounds) and not broken
    back = mine["recovery_s"]
    yield "… well again", "≤ 10 s", f"{back['median']:.1f} s, most {back['high']:.1f} s", back["high"] <= 10
    found = f"{control['goodput']:.0%} of its peak, p99 {control['over']['answered']['p99_ms']:,.0f} ms"
    yield "… control: a limit that never falls", "fails", found, control["counts"] and control["p99_ratio"] > 2
    slow = d["slow engine"]["rounds"][0]
    refused_ms = slow["over"]["refused"]["p99_ms"]
    found = f"{slow['goodput']:.0%} of {slow['peak']['per_s']:,.0f}/s, p99 {slow['p99_ratio']:.2f} times, refusals p99 "
    found += f"{refused_ms:.1f} ms, well again after {slow['recovery_s']:.1f} s"
    holds = slow["counts"] and slow["goodput"] >= 0.9 and slow["p99_ratio"] <= 2 and refused_ms <= 50
    what = "… an engine of eight places, as many wait"
    yield what, "the same", found, holds and slow["recovery_s"] <= 10


def bad_days(d: dict[str, Any]) -> Iterator[Row]:
    """Faults at every place, a minute's outage, callers who leave."""
    faults, cuts = d["faults"], d["cuts"]
    found = f"{faults['hangs']} and {faults['cut_short']} of {faults['cells']:,} calls, {faults['kinds']} kinds"
    found += f"; anything else amiss {faults['failed']}, rate below {faults['upper95']:.3%}"
    what = "upstream faults, plain and streamed, at four places, on three wires: hangs, silent truncations"
    yield what, "0", found, not faults["failed"]
    could, fell = faults["could_fall_back"], faults["fell_back"]
    found = f"{fell:,} of {could:,}, failures below {faults['no_fallback_upper95']:.3%}"
    what = "… the next engine answered where no word had gone out"
    yield what, "≥ 99.9%", found, faults["no_fallback_upper95"] <= 0.001
    yield from (_outage(one) for one in d.get("outages", ()))
    found = f"{cuts['on_record']} of {cuts['cuts']} on record, missing ones below {cuts['unrecorded_upper95']:.2%}"
    holds = cuts["on_record"] == cuts["records"] == cuts["cuts"] and not cuts["in_flight"]
    yield f"callers who leave at any moment, {cuts['cuts']}", "100% on record", found, holds
    asked = cuts["cuts"] - cuts["never_asked"]
    found = f"p50 {cuts['p50_s'] * 1000:.0f} ms, most {cuts['most_s'] * 1000:.0f} ms, n {asked}, "
    found += f"later ones below {cuts['late_upper95']:.2%}"
    yield "… the server behind sees it", "≤ 1 s", found, not cuts["late"] and cuts["seen"] == asked


def _outage(one: dict[str, Any]) -> Row:
    """One way of being out."""
    added, crowd = one["added_ms"], ", 100 calls at each probe" if one["crowds"] else ""
    what = f"outage of the first engine ({one['mode']}{crowd}): asked, probes at once, added to a call"
    found = (
        f"{one['before_it_opened']} before it rested and {one['probes']} probes, {one['most_probes_at_once']} at once"
    )
    found += f", p50 {added['p50']:.1f} ms, p99 {added['p99']:.1f} ms, {one['answered']:,} of {one['calls']:,} answered"
    holds = one["most_probes_at_once"] <= 1 and added["p99"] <= 50 and one["answered"] == one["calls"]
    return what, "threshold + probes, 1, ≤ 50 ms", found, holds


def kill_points(d: dict[str, Any]) -> Iterator[Row]:
    """Answers that outlive SIGKILL at named moments."""
    total = d["sum"]
    found = f"{total['lost']} lost of {total['answers']:,} (below {total['lost_upper95']:.3%}), {total['twice']} twice"
    found += f", {total['audit_faults']} faults of the audit, {total['wrong']} of keys and new stores"
    found += f"; ready again p95 {total['ready_p95_s']:.1f} s"
    wrong = sum(total[name] for name in ("lost", "twice", "audit_faults", "wrong", "missed"))
    holds = not wrong and total["points"] >= 10 and total["ready_p95_s"] <= 5
    what = f"SIGKILL at {total['points']} named points, {total['kills']} times: answers on record"
    yield what, "0 lost, 0 twice", found, holds


def soak(d: dict[str, Any]) -> Iterator[Row]:
    """Memory over a long run."""
    minutes = d["mb_by_minute"]
    what = f"memory over {d['minutes']:.0f} minutes, {d['connections']} connections, keys and records replaced"
    found = f"at most {d['most_mb']:.0f} MB after {d['calls']:,} calls"
    yield what, "≤ 150 MB", found, d["most_mb"] <= 150
    found = f"{d['growth']:+.1%}, from {minutes[min(2, len(minutes) - 1)]:.1f} to {minutes[-1]:.1f} MB"
    found += f", {d['mb_a_minute'] * 1000:+.0f} kB a minute"
    yield "… grown from the third minute to the last", "< 5%", found, d["growth"] < 0.05
    found = f"{sum(d['amiss'].values())} of {d['calls']:,} answers, {len(d['audit_faults'])} faults of the audit"
    holds = not d["amiss"] and not d["audit_faults"] and d["removed_through"] > 0
    yield "… other than was to come", "0", found, holds
