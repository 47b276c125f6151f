"""The README's rows of bench/batch.py."""

from collections.abc import Iterator
from typing import Any

Row = tuple[str, str, str, bool]


def batch(d: dict[str, Any]) -> Iterator[Row]:
    """How near a batch is to its engine, and what kills leave of it."""
    rounds = d["rounds"]
    engine = sum(one["engine"] for one in rounds) / len(rounds)
    own = sum(one["batch"] for one in rounds) / len(rounds)
    count = sum(one["documents"] for one in rounds)
    found = f"{d['share']:.1%} ({d['low']:.1%} to {d['high']:.1%}, {len(rounds)} rounds, {count:,} documents):"
    found += f" {own:.1f} of {engine:.1f} documents a second; {d['machine']}"
    yield "batch of short documents, SmolLM2 specialist, against the engine alone", "≥ 90%", found, d["share"] >= 0.9
    if d["kills"] is None:
        return
    killed, unbroken, control = d["kills"]["killed"], d["kills"]["unbroken"], d["kills"]["control"]
    right = not (killed["missing"] or killed["twice"] or killed["broken"]) and killed["in_order"]
    same = killed["digest"] == unbroken["digest"]
    again = killed["calls"] - killed["documents"]
    found = f"{killed['missing']} missing, {killed['twice']} twice of {killed['documents']:,} after {killed['kills']}"
    found += f" kills (rate of faulty files below {d['upper95']:.0%}), digest {'the same' if same else 'another'};"
    found += f" {again:,} calls begun again, {killed['open']} left open"
    yield "… SIGKILL at random moments: one result a document, digest as unbroken", "0 faults", found, right and same
    faulty = control["missing"] + control["twice"] + control["broken"]
    found = f"{control['missing']} missing, {control['twice']} twice, {control['broken']} broken lines"
    yield "… control: goes on behind as many inputs as answers, same kills", "found out", found, faulty > 0
