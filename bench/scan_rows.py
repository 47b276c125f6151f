"""The README's rows of bench/pii.py."""

from collections.abc import Iterator
from typing import Any

Row = tuple[str, str, str, bool]


def pii(d: dict[str, Any]) -> Iterator[Row]:
    """Personal data found and missed."""
    for name, kinds in (("Presidio's synthetic set", d["kinds"]), ("5,000 of our own", d["generated"])):
        for kind in ("card", "iban"):
            one = kinds[kind]
            holds = one["recall"]["value"] >= 0.98 and one["precision"]["value"] >= 0.95
            found = f"recall {_said(one['recall'])}, precision {_said(one['precision'])}"
            yield f"personal data: {kind} numbers, {name}", "recall ≥ .98, precision ≥ .95", found, holds
    yield "… every covered kind, Presidio's set", "shown", f"recall {_said(d['covered']['recall'])}", True
    beside = d["presidio"]["customised"]
    bar = f"shown beside Presidio with a model for names, customised: {beside['recall']:.3f}"
    yield "… everything labelled there, with no model for names", bar, f"recall {_said(d['all']['recall'])}", True
    cut = d["splits"]
    found = f"{cut['different']} of {cut['n']:,} ({cut['cuts']:,} cuts), rate below {cut['upper95']:.2%}"
    yield "… streams that a cut changes", "0 of 2,000", found, cut["different"] == 0


def _said(share: dict[str, Any]) -> str:
    return f"{share['value']:.3f} ({share['low']:.3f} to {share['high']:.3f}, n {share['n']:,})"
