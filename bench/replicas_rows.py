"""The README's rows of bench/replicas.py."""

from collections.abc import Iterator
from typing import Any

from insource.stats import clopper_pearson_upper

Row = tuple[str, str, str, bool]
NAMES = {"rate": "calls in any 60 s", "once": "at once", "money": "USD in a day"}
FAULTS = {"killed": "SIGKILL of one", "restarted": "PostgreSQL stopped and started", "cut": "the network between cut"}
RECOVERED_S = 10.0


def replicas(d: dict[str, Any]) -> Iterator[Row]:
    """Limits raced from three gateways, faults under calls, and two gateways against one."""
    mine, control = d["limits"], d["control"]
    admitted = sum(mine[name]["answered"] for name in NAMES)
    above = [name for name in NAMES if mine[name]["most"] > mine[name]["limit"] + 1e-9]
    found = "; ".join(f"{mine[name]['most']:g} of {mine[name]['limit']:g} {words}" for name, words in NAMES.items())
    found += f"; {admitted:,} admitted, {mine['refused']:,} refused, {len(above)} above (below "
    found += f"{clopper_pearson_upper(len(above), admitted):.3%} of calls)"
    yield "3 gateways + PostgreSQL, limits and budget raced from all", "never exceeded", found, not above
    found = "; ".join(f"{control[name]['most']:g} of {control[name]['limit']:g} {NAMES[name]}" for name in NAMES)
    over = any(control[name]["most"] > control[name]["limit"] for name in NAMES)
    yield "… negative control: each gateway counts alone", "exceeds", found, over
    faults = d["faults"]
    took = {name: values for name, values in faults["recovery_s"].items() if values}
    what = ", ".join(FAULTS[name] for name in took)
    found = (
        f"{faults['lost']} lost of {faults['answers']:,} (below {faults['lost_upper95']:.3%}), {faults['twice']} twice"
    )
    found += f", {faults['spooled']:,} by way of a spool, {faults['chain_faults']} faults of {faults['chains']} chains"
    holds = not (faults["lost"] or faults["twice"] or faults["chain_faults"]) and "cut" in took
    yield f"under calls, {faults['rounds']} times each: {what}", "0 lost, 0 twice", found, holds
    found = "; ".join(f"{FAULTS[name]}: {max(values):.1f} s, n {len(values)}" for name, values in took.items())
    longest = max(max(values) for values in took.values())
    yield (
        "… until every gateway is ready and what was spooled is in, the longest",
        f"≤ {RECOVERED_S:g} s",
        found,
        longest <= RECOVERED_S,
    )
    forgets = d["forgets"]
    found = f"{forgets['lost']:,} lost of {forgets['answers']:,}"
    yield "… negative control: a spool that forgets", "loses", found, forgets["lost"] > 0
    speed = d["speed"]
    one, two = speed["one"], speed["two"]
    taken = ", ".join(f"{kind} {cores:.2f}" for kind, cores in two["cores"].items())
    between = f"{min(speed['ratios']):.2f} to {max(speed['ratios']):.2f} in {len(speed['ratios'])} rounds"
    found = f"{speed['ratio']:.2f} times ({between}): {one['calls_per_s']:,.0f} and {two['calls_per_s']:,.0f} calls/s"
    found += f" on {speed['machine_cores']} cores, of which with two: {taken}"
    same = two["calls_per_core_s"] / one["calls_per_core_s"]
    named = same >= 0.8 and two["cores"]["gateways"] < 1.6
    found += f"; a second gateway of its own core-second answers {same:.2f} times what one does alone"
    if speed["ratio"] < 1.6 and named:
        found += f". The bottleneck is the cores: the gateways were given {two['cores']['gateways']:.2f} of two"
    yield "two gateways on two cores against one on one", "≥ 1.6 times, or why", found, speed["ratio"] >= 1.6 or named
