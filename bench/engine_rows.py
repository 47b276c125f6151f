"""The README's rows of bench/engines.py, bench/first_token.py and bench/adapters.py."""

from collections.abc import Iterator
from typing import Any

Row = tuple[str, str, str, bool]
SIMILAR = 0.99
FOUR_BITS = ("int4", "q4_0")  # what they lose is shown; whether it is too much is for a task's own gate to say


def engines(d: dict[str, Any]) -> Iterator[Row]:
    """One specialist on every engine."""
    lines = {line["engine"]: line for line in d["engines"]}
    best = lines[d["best"]]
    speed = f"{best['rows_per_s']:.1f} rows/s ({d['best']}), {best['against_torch']:.2f} times torch"
    yield "BANKING77 specialist, rows/s on this CPU", "≥ 1.5 times torch", speed, best["against_torch"] >= 1.5
    for name, line in lines.items():
        if name == "torch" or "agreement" not in line:
            continue
        share = line["rows_per_s"] / best["rows_per_s"]
        rate = f"{line['rows_per_s']:.1f} rows/s"
        if name.startswith("gateway"):
            yield f"… through the {name}", "≥ 80% of that", f"{rate}, {share:.0%}", share >= 0.8
            continue
        same, accuracy = line["agreement"], line["accuracy"]
        value, low, high = (line["difference"][key] * 100 for key in ("value", "low", "high"))
        disk = f", {line['disk_mb']:.0f} MB on disk" if "disk_mb" in line else ""
        found = (f"{same['value']:.2%} of {same['n']:,} labels as torch (≥ {same['low']:.2%}), accuracy "
                 f"{accuracy['value']:.2%} ({accuracy['low']:.2%} to {accuracy['high']:.2%}), against torch "
                 f"{value:+.2f} points ({low:+.2f} to {high:+.2f}); {rate}{disk}")  # fmt: skip
        small = name.endswith(FOUR_BITS)
        yield f"… as {name}", "shown" if small else "≥ 99% the same", found, small or same["value"] >= SIMILAR
    for name, times in (("llama.cpp server", 5), ("vLLM", 4)):
        peer = next((line for given, line in lines.items() if given.startswith(name)), None)
        if peer is not None:
            ratio = best["rows_per_s"] / peer["rows_per_s"]
            found = f"{ratio:.1f} times: {peer['rows_per_s']:.1f} rows/s, n {peer['rows']:,}"
            yield f"… against {peer['engine']}", f"≥ {times} times", found, ratio >= times


def first_token(d: dict[str, Any]) -> Iterator[Row]:
    """Time to the first token, embedded; the soonest of ours first."""
    own = {name: each for name, each in d["engines"].items() if name != "llama.cpp server"}
    order = sorted(own, key=lambda name: own[name]["p95_ms"]) + [name for name in d["engines"] if name not in own]
    each = [f"{name} {d['engines'][name]['p95_ms']:.0f} ms (p50 {d['engines'][name]['p50_ms']:.0f})" for name in order]
    best = own[order[0]]
    what = f"first token, {d['prompt_tokens']} tokens most of them the task's, p95"
    yield what, "< 200 ms", f"{'; '.join(each)}; n {best['n']}", best["p95_ms"] < 200


def adapters(d: dict[str, Any]) -> Iterator[Row]:
    """Many specialists, one base in memory."""
    size, count, speed = d["memory"], d["specialists"], d["speed"]
    one, many = size["shared"]["1"]["pss"], size["shared"][str(count)]["pss"]
    found = (f"{many:,.0f} MB; one alone {one:,.0f} MB, one more {size['shared_step_mb']:.0f} MB; merged "
             f"{size['merged_all_mb']:,.0f} MB, by the step from one to three")  # fmt: skip
    yield f"{count} specialists on one base, memory", "one base + adapters", found, many < one + count * one / 10
    found = (f"{speed['switch']['ms']:.2f} ms in memory; to open one that is not {speed['open_shared']['ms']:.0f} ms, "
             f"merged {speed['swap_merged']['ms']:.0f} ms")  # fmt: skip
    yield "… from one specialist to another", "shown", found, True
