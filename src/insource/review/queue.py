"""The order in which a person sees things, and the labels within reach of one key."""

from collections import Counter

from insource.nouns import Output, Pending, Review

ANY = 1.0


def worth(confidence: float | None) -> float:
    """What a person's look at a doubtful answer is worth, 0 to 1: the chance that it is wrong, as the engine sees it.

    1 for one without an answer or a confidence, and for those that are looked at whatever the confidence (`ANY`): drawn
    by chance, or answered otherwise by a release on trial. Among those the order must not hang on the answers, for they
    are counted.
    """
    return 1.0 if confidence is None else 1.0 - confidence


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
        if not review.fallback
        and (target := review.corrected or (waited.value if review.verdict == "right" else None))
        and output.name in target
    )
    ranked = [*proposed, *likely, *[label for label, _ in chosen.most_common()], *output.labels]
    known = set(output.labels)
    return [label for label in dict.fromkeys(ranked) if label in known][:count]
