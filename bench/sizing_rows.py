"""The README's rows of bench/sizing.py."""

from collections.abc import Iterator
from typing import Any

Row = tuple[str, str, str, bool]
WITHIN, NEAR = 0.05, 0.20
NAMES = {"clerks": "clerks of a known distribution", "workers": "a specialist, each worker a gateway with one thread"}


def sizing(d: dict[str, Any]) -> Iterator[Row]:
    """Memory by formula beside what is taken, and rates by the queue beside those that the load test found."""
    yield from _memory(d["memory"])
    for name in dict.fromkeys(line["of"] for line in d["queue"]):
        lines = [line for line in d["queue"] if line["of"] == name]
        said = [f"{_replicas(one)} {one['said']:.1f}/s, found {one['found']:.1f} ({one['off']:+.0%}, "
                f"{one['off_between'][0]:+.0%} to {one['off_between'][1]:+.0%})" for one in lines]  # fmt: skip
        said[-1] += f", {lines[0]['rounds']} rounds"
        what = f"rate at which p95 meets {lines[0]['target_ms']:.0f} ms, by the queue and under load: {NAMES[name]}"
        yield what, "within 20%", "; ".join(said), all(abs(one["off"]) <= NEAR for one in lines)


def _memory(cells: list[dict[str, Any]]) -> Iterator[Row]:
    if not cells:
        return
    worst = max(cells, key=lambda cell: abs(cell["off"]))
    models, formats, contexts = (len({cell[key] for cell in cells}) for key in ("model", "format", "context"))
    what = f"weights + keys and values against memory taken: {models} models, {formats} formats, {contexts} contexts"
    found = f"at most {abs(worst['off']):.1%} off ({worst['model']}, {worst['format']}, {worst['context']:,} tokens)"
    yield what, "within 5%", f"{found}, n {len(cells)}", abs(worst["off"]) <= WITHIN
    alone = {part: [cell[f"said_{part}"] / cell[part] - 1 for cell in cells] for part in ("weights", "cache")}
    shown = (f"weights {min(alone['weights']):+.1%} to {max(alone['weights']):+.1%}, "
             f"keys and values {min(alone['cache']):+.1%} to {max(alone['cache']):+.1%}")  # fmt: skip
    yield "… each alone", "shown", shown, True


def _replicas(line: dict[str, Any]) -> str:
    return "1 replica" if line["replicas"] == 1 else f"{line['replicas']} replicas"
