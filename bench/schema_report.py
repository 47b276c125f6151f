"""The figures of bench/schemas.py: shares with their intervals, spreads, and the words for them."""

from typing import Any

import numpy as np

from insource.stats import clopper_pearson_upper, wilson


def share(k: int, n: int) -> dict[str, Any]:
    """How many of n, with Wilson's interval."""
    low, high = wilson(k, n) if n else (0.0, 1.0)
    return {"k": k, "n": n, "value": k / n if n else 0.0, "low": low, "high": high}


def bound(k: int, n: int) -> float:
    """The one-sided 95% upper bound of a rate (Clopper and Pearson)."""
    return clopper_pearson_upper(k, n) if n else 1.0


def spread(values: list[float]) -> dict[str, Any]:
    """How values lie: mean, median, 99th percentile, largest."""
    if not values:
        return {"n": 0, "mean": 0.0, "p50": 0.0, "p99": 0.0, "max": 0.0}
    found = np.array(values)
    p50, p99 = np.percentile(found, [50, 99])
    return {
        "n": len(values),
        "mean": float(found.mean()),
        "p50": float(p50),
        "p99": float(p99),
        "max": float(found.max()),
    }


def together(splits: dict[str, Any]) -> dict[str, Any]:
    """The counts of all splits, ours and llguidance's; and of those that were given to XGrammar too."""
    parts = list(splits.values())
    found = {}
    for side in ("ours", "llguidance"):
        walks = [part[side]["walks"] for part in parts]
        total = {key: sum(walk[key] for walk in walks) for key in ("n", "malformed", "unfinished", "failed")}
        found[side] = {**_sum([part[side] for part in parts]),
                       "walks": {**total, "upper95": bound(total["malformed"], total["n"])}}  # fmt: skip
    beside = [part["beside"] for part in parts if "beside" in part]
    return {**found, "beside": {side: _sum([each[side] for each in beside]) for side in (beside or [{}])[0]}}


def _sum(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Some splits' figures of one side as one; of times the mean of all, and the median and p99 of the worst split."""
    violated = [sum(part["violated"][key] for part in parts) for key in ("k", "n")]
    n = sum(part["valid"]["n"] for part in parts)
    kept = {key: share(sum(part["valid"][key]["k"] for part in parts), n)
            for key in ("served", "capped", "rejected", "outside_form")}  # fmt: skip
    return {
        "honoured": share(*(sum(part["honoured"][key] for part in parts) for key in ("k", "n"))),
        "violated": {**share(*violated), "upper95": bound(*violated)},
        "valid": {"n": n, "format": sum(part["valid"]["format"] for part in parts), **kept},
        "compile_ms": _times([part["compile_ms"] for part in parts]),
        "mask_us": _times([part["mask_us"] for part in parts]),
    }


def _times(parts: list[dict[str, Any]]) -> dict[str, Any]:
    n = sum(part["n"] for part in parts)
    worst = {f"worst_{key}": max((part[key] for part in parts), default=0.0) for key in ("p50", "p99", "max")}
    return {"n": n, "mean": sum(part["mean"] * part["n"] for part in parts) / max(1, n), **worst}


def line(name: str, found: dict[str, Any]) -> str:
    """One split in a few lines."""
    own, alone = found["ours"], found["llguidance"]
    valid, walks, through = own["valid"], own["walks"], own["violated"]
    said = [
        f"{name}: honoured {own['honoured']['k']:,} of {found['schemas']:,} (llguidance {alone['honoured']['k']:,})",
        (f"let through {through['k']} of {through['n']:,} invalid instances; of {walks['n']:,} walks "
         f"{walks['malformed']} malformed, beside them {walks['unfinished']} unfinished and {walks['failed']} failed"),
        (f"of {valid['n']:,} valid instances {valid['served']['k']:,} served ({valid['rearranged']} rearranged), "
         f"{valid['capped']['k']} capped, {valid['rejected']['k']} rejected, {valid['format']} by format; "
         f"{valid['outside_form']['k']} outside a task's form"),
        (f"llguidance: let through {alone['violated']['k']} of {alone['violated']['n']:,}, rejects "
         f"{alone['valid']['rejected']['k']} of {alone['valid']['n']:,} ({alone['valid']['rearranged']} rearranged)"),
        f"{times(own)}; llguidance {times(alone)}",
    ]  # fmt: skip
    return "\n    ".join(said)


def times(side: dict[str, Any]) -> str:
    """What compiling and masks cost."""
    compiled, mask = side["compile_ms"], side["mask_us"]
    return (
        f"compile p50 {compiled['p50']:.1f} p99 {compiled['p99']:.0f} ms, "
        f"mask mean {mask['mean']:.0f} p99 {mask['p99']:.0f} µs"
    )


def show(document: dict[str, Any]) -> None:
    """The figures in words."""
    for name, found in document["splits"].items():
        print(line(name, found))
        for keyword, count in found["ours"]["refused"].items():
            print(f"        refused {count}: {keyword}")
        for example in found["ours"]["examples"][:10]:
            print(f"        {example['what']} {example['id']}: {example['value'][:120]}")
        for side, figures in found.get("beside", {}).items():
            valid, through, honoured = figures["valid"], figures["violated"], figures["honoured"]
            print(f"    beside each other, {side}: compiled {honoured['k']} of {honoured['n']}, {times(figures)}; let "
                  f"through {through['k']} of {through['n']}, rejects {valid['n'] - valid['served']['k']} of "
                  f"{valid['n']}")  # fmt: skip
    for side in ("ours", "llguidance"):
        total = document["total"][side]
        print(f"all, {side}: honoured {total['honoured']['k']:,} of {total['honoured']['n']:,}; let through "
              f"{total['violated']['k']} of {total['violated']['n']:,}; rejects {total['valid']['rejected']['k']} of "
              f"{total['valid']['n']:,}, {total['valid']['capped']['k']} more by a cap; "
              f"{total['walks']['malformed']} of {total['walks']['n']:,} walks malformed")  # fmt: skip
