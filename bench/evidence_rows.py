"""The README's rows of bench/evidence.py."""

from collections.abc import Iterator
from typing import Any

Row = tuple[str, str, str, bool]


def evidence(d: dict[str, Any]) -> Iterator[Row]:
    """Built again, without its sources, and against the schema."""
    counts = ", ".join(f"{n} {state}" for state, n in d["counts"].items())
    said = f"{d['same']} of {d['builds']}, and from a restored backup {'the same' if d['restored_same'] else 'others'};"
    said += f" {d['files']} files, {d['rows']:,} rows, p50 {d['p50_s']:.1f} s; fields: {counts}"
    yield (
        "evidence pack, built again: every file byte for byte",
        "all",
        said,
        d["same"] == d["builds"] and bool(d["restored_same"]),
    )
    said = f"{d['still']} of {d['stood']}, rate below {d['upper95']:.1%}; {d['made_up']} made up;"
    said += f" {len(d['taken'])} sources"
    holds = d["still"] == 0 and d["made_up"] == 0
    yield "… each source taken away: fields that still stand on it", "0", said, holds
    said = f"{d['schema_faults']} of {d['bills']} bills of materials"
    yield "… faults by the official schema of CycloneDX 1.6", "0", said, d["schema_faults"] == 0
