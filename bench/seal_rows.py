"""The README's rows of what a damaged file or a lost disk comes to: bench/bitflips.py."""

from collections.abc import Iterator
from typing import Any

Row = tuple[str, str, str, bool]


def bitflips(d: dict[str, Any]) -> Iterator[Row]:
    """Damaged artefacts, the controls, and the drill."""
    sizes = " and ".join(f"{one['bytes'] / 1e6:,.1f} MB" for one in d["artefacts"].values())
    found = f"{d['loaded']} of {d['flips']:,} loaded, below {d['upper95']:.2%}; artefacts of {sizes}, signed"
    yield "one bit of an artefact is another: loaded by the gateway", "0 of 1,000", found, not d["loaded"]
    linear = d["artefacts"]["linear"]
    free, forged = linear["unchecked"], linear["resealed"]
    seen = f"{free['loaded']} of {free['flips']} loaded"
    yield "… control: the same files read without their digests", "loaded", seen, free["loaded"] > 0
    seen = f"{forged['loaded_unsigned']} of {forged['flips']} loaded; with a trusted key {forged['passed_signed']}"
    holds = forged["loaded_unsigned"] > 0 and not forged["passed_signed"]
    yield "… control: manifest and store made anew over it", "loaded; 0 with a signature asked for", seen, holds
    drills = [one["drill"] for one in d["artefacts"].values()]
    answers, differ = (sum(n) for n in zip(*((one["answers"], len(one["differ"])) for one in drills), strict=True))
    took = " and ".join(f"{one['recovered_s']:.1f} s" for one in drills)
    seen = f"{differ} of {answers:,} answers differ in value or confidence, in {took} with {sizes}"
    yield "a backup restored elsewhere answers the test rows", "identically", seen, all(one["whole"] for one in drills)
