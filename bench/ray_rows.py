"""The README's rows of bench/ray_batch.py."""

from collections.abc import Iterator
from typing import Any

Row = tuple[str, str, str, bool]


def ray_batch(d: dict[str, Any]) -> Iterator[Row]:
    """How a batch on a cluster compares with Ray Data's own, and what a killed node leaves of it."""
    rounds, runs = d["rounds"], d["kills"]["killed"]
    own = sum(one["batch"] for one in rounds) / len(rounds)
    peer = sum(one["ray_data"] for one in rounds) / len(rounds)
    count = sum(one["documents"] for one in rounds)
    found = f"{d['ratio']:.2f} ({d['low']:.2f} to {d['high']:.2f}, {len(rounds)} rounds, {count:,} documents):"
    found += f" {own:.1f} documents a second, Ray Data {peer:.1f}; {d['base']}, {d['machine']}"
    yield (
        "batch on 3 Ray nodes, a record of every call, against Ray Data on the same nodes",
        "≥ 0.9",
        found,
        (d["ratio"] >= 0.9),
    )
    wanted = d["kills"]["local"][0]["digest"]
    same = sum(one["digest"] == wanted for one in runs)
    lost = sum(one["lost"] for one in runs)
    missing, twice = (sum(one[name] for one in runs) for name in ("missing", "twice"))
    found = f"{same} of {len(runs)} runs; {missing} missing, {twice} twice of {sum(one['documents'] for one in runs):,}"
    found += f"; the node was at work in {lost} of them (rate of faulty ones below {d['upper95']:.0%})"
    right = same == len(runs) and lost > 0 and not (missing or twice)
    yield "… one node SIGKILLed: same digest as on this machine alone", "every run", found, right
    failed = [one["failed"] for one in d["kills"]["control"]]
    found = f"{sum(failed):,} documents failed in {sum(n > 0 for n in failed)} of {len(failed)} runs"
    yield "… control: what a lost node had is not asked again, same kills", "found out", found, all(failed)
