"""Labels as people look for them: a few words, in any order, of any level of the tree. Pure."""

from collections.abc import Sequence

LEVELS = " / "


def matching(labels: Sequence[str], words: str, count: int = 20) -> list[str]:
    """Up to `count` labels that hold every word, best first.

    That is where the words stand in this order, then where the last level begins with the first, then the shorter.
    """
    wanted = words.casefold().split()
    found = [label for label in labels if all(word in label.casefold() for word in wanted)]
    return sorted(found, key=lambda label: _rank(label.casefold(), wanted))[:count] if wanted else found[:count]


def _rank(label: str, wanted: Sequence[str]) -> tuple[int, bool, int, str]:
    leaf = label.rpartition(LEVELS)[2]
    return -_in_order(label.split(), wanted), not leaf.startswith(wanted[0]), len(label), label


def _in_order(words: Sequence[str], wanted: Sequence[str]) -> int:
    """How many of the wanted words begin words of the label, one behind the other; twice for those that are whole."""
    left, found = iter(words), 0
    for each in wanted:
        met = next((word for word in left if word.startswith(each)), None)
        if met is None:
            break
        found += 2 if met == each else 1
    return found
