"""The order in which a person sees things, and the labels within reach of one key."""

from collections import Counter
from collections.abc import Iterable, Mapping
from hashlib import blake2b

from insource.nouns import JsonObject, Output, Pending, Record, Review, Task, same

LOOKED_OVER = 30  # labels that a person looks over at once: of more, none is offered for want of a better one
ANY = 1.0
FEW = 20  # rows of a label, of which a trainer that saw fewer knows little
DISPUTE, NOVELTY = 0.5, 0.25  # what is left of the chance that an answer is right, taken away by each
SPAN = 2**64
Rare = Mapping[str, Mapping[str, float]]


def worth(confidence: float | None, *, novel: float = 0.0, disputed: bool = False) -> float:
    """What a person's look at a doubtful answer is worth, 0 to 1: the chance that it is wrong, as the engine sees it.

    More where the engines of the path gave different answers, and where it is `novel` (0 to 1): of either the engine's
    confidence knows nothing. 1 for one without an answer or a confidence, and for those that are looked at whatever the
    confidence (`ANY`): drawn by chance, or answered otherwise by a release on trial. Among those the order must not
    hang on the answers, for they are counted.
    """
    if confidence is None:
        return 1.0
    return 1.0 - confidence * (1.0 - DISPUTE * disputed) * (1.0 - NOVELTY * novel)


def novelty(value: JsonObject | None, rare: Rare) -> float:
    """How little training knew of the labels in an answer, 0 to 1; `rare` as of `rarity`."""
    known = (rare.get(name, {}).get(str(label), 0.0) for name, label in (value or {}).items())
    return max(known, default=0.0)


def rarity(task: Task, targets: Iterable[JsonObject]) -> dict[str, dict[str, float]]:
    """Of each output the labels with fewer than 20 rows among `targets`: 1 for none, 0 for 20."""
    times = Counter((name, str(label)) for target in targets for name, label in target.items())
    return {
        output.name: {
            label: 1.0 - n / FEW for label in output.labels if (n := times[output.name, label]) < FEW
        }
        for output in task.outputs
    }  # fmt: skip


def is_disputed(record: Record) -> bool:
    """Whether two engines that were asked gave valid answers that are not the same."""
    made = [one.prediction.value for one in record.attempts if one.prediction is not None]
    values = [value for value in made if value is not None]
    return any(not same(value, values[0]) for value in values[1:])


def eyes(record: str, double: float) -> int:
    """How many people have to see an item: 2 for the share `double`, by the record's name, so the same wherever."""
    if double <= 0.0:
        return 1
    said = blake2b(f"eyes {record}".encode(errors="surrogatepass"), digest_size=8).digest()
    return 2 if int.from_bytes(said) < double * SPAN else 1


def frequent_labels(
    output: Output, pending: Pending, settled: list[tuple[Pending, Review]], count: int = 9
) -> list[str]:
    """Up to `count` labels to offer: what the engine held likely first, then what people chose most, then the rest.

    The proposed label itself comes first, so that its key is always 1. Of many labels there is no rest: the first of
    thousands would only stand in the way of looking for one.
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
    rest = output.labels if len(output.labels) <= LOOKED_OVER else ()
    ranked = [*proposed, *likely, *[label for label, _ in chosen.most_common()], *rest]
    known = set(output.labels)
    return [label for label in dict.fromkeys(ranked) if label in known][:count]
