"""The order in which a person sees things, and the labels within reach of one key."""

from collections import Counter

from insource.nouns import Output, Pending, Review


def frequent_labels(
    output: Output, pending: Pending, settled: list[tuple[Pending, Review]], count: int = 9
) -> list[str]:
    """Up to `count` labels to offer: what the engine held likely first, then what people chose most, then the rest.

    The proposed label itself comes first, so that its key is always 1.
    """
    proposed = [str((pending.value or {}).get(output.name, ""))]
    likely = [label for label, _ in pending.alternatives.get(output.name, ())]
    chosen = Counter(
        str(target[output.name])
        for waited, review in settled
        if (target := review.corrected or (waited.value if review.verdict == "right" else None))
        and output.name in target
    )
    ranked = [*proposed, *likely, *[label for label, _ in chosen.most_common()], *output.labels]
    known = set(output.labels)
    return [label for label in dict.fromkeys(ranked) if label in known][:count]
