"""A choice among thousands of paths is one trie: made and walked as cheaply as a few labels, and nothing else."""

import gzip
import json
import random
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from insource.decode.grammar import for_labels, for_task
from insource.decode.mask import GrammarMask, Vocabulary
from insource.nouns import Output, Task
from mask_walk import Walker
from pace import within

END = 2
Tree = tuple[str, ...]


def made_up() -> Tree:
    """5,000 paths of two to five levels, among them inner nodes, names that begin others, and odd characters."""
    dice = random.Random(5)  # noqa: S311 - seeded on purpose
    words = ("pump", "pumps", "seal", "valve (3/2)", "Lager für Öl", "a|b", "x*", "🛠 tools", 'the "big" one', "50% mix")
    paths: dict[str, None] = {}
    while len(paths) < 5_000:
        depth = dice.randint(2, 5)
        paths[" / ".join(f"{dice.choice(words)} {dice.randrange(12)}" for _ in range(depth))] = None
    return tuple(paths)


def naics(shared: Path) -> Tree:
    """Every node of the industry codes as the path of titles that leads there."""
    folder = shared / "naics2012"
    if not folder.exists():
        pytest.skip("no naics2012 in ../shared/data")
    with gzip.open(folder / "nodes.jsonl.gz", "rt", encoding="utf-8") as file:
        titles = {str(node["code"]): node["title"] or "" for node in map(json.loads, file)}
    ways = {code: [titles[code[:n]] for n in range(2, len(code) + 1) if code[:n] in titles] for code in titles}
    return tuple(dict.fromkeys(" / ".join([*way, code]) for code, way in ways.items()))


@pytest.fixture(scope="module")
def tree() -> Tree:
    """The generated paths."""
    return made_up()


def held(paths: Tree, vocabulary: Vocabulary) -> GrammarMask:
    """The mask of the choice, made within a second of the processor's time."""
    for_labels.cache_clear()
    start = time.process_time()
    mask = GrammarMask(vocabulary, for_labels(paths))
    assert within(time.process_time() - start, 1.0)
    return mask


def through(mask: GrammarMask, vocabulary: Vocabulary, texts: Sequence[str]) -> list[str]:
    """Those of `texts` that the mask lets through whole."""
    return [text for text in texts if mask.takes(vocabulary.tokens.tokenize_str(text))]


def neighbours(paths: Tree, dice: random.Random) -> list[str]:
    """Texts one step away from a path: half of it, another ending, two paths' halves, a letter more or less."""
    found = []
    for path in dice.sample(paths, 300):
        head, _, tail = path.rpartition(" / ")
        other = dice.choice(paths)
        found += [head, f"{head} / {other.rpartition(' / ')[2]}", f"{path} ", path[:-1], f"{path} / {tail}", path + "0"]
    known = set(paths)
    return [text for text in found if text not in known]


def test_every_path_passes_and_no_neighbour_does(tree: Tree, vocabulary: Vocabulary) -> None:
    mask = held(tree, vocabulary)
    assert len(through(mask, vocabulary, tree)) == 5_000
    beside = neighbours(tree, random.Random(6))  # noqa: S311
    assert len(beside) > 1_000
    assert through(mask, vocabulary, beside) == []


def test_whatever_is_drawn_is_a_path(tree: Tree, vocabulary: Vocabulary) -> None:
    mask, walker = held(tree, vocabulary), Walker(vocabulary, END, closing=0.0, seed=7)
    said = [walker.say(mask.start()) for _ in range(200)]
    assert set(said) <= set(tree)
    assert len(set(said)) > 100


def test_a_mask_costs_what_it_costs_for_ten_labels(tree: Tree, vocabulary: Vocabulary) -> None:
    """Processor time of the masks along 200 paths; a list tried one by one would cost 500 times as much."""

    def spent(paths: Tree, walked: Sequence[str]) -> float:
        mask, times = held(paths, vocabulary), []
        for path in walked:
            walk = mask.start()
            for token in vocabulary.tokens.tokenize_str(path):
                start = time.thread_time()
                walk.allowed()
                times.append(time.thread_time() - start)
                walk.advance(token)
        return float(np.median(times))

    assert spent(tree, tree[:200]) < 10 * spent(tree[:10], tree[:10] * 20)


def test_a_task_with_the_tree_as_its_output_says_a_path(tree: Tree, vocabulary: Vocabulary) -> None:
    task = Task(name="t", kind="classify", outputs=(Output(name="category", labels=tree),))
    mask = GrammarMask(vocabulary, for_task(task) or "")
    assert Walker(vocabulary, END, closing=0.0, seed=1).say(mask) in tree


def test_the_industry_codes_are_a_tree_too(shared: Path, vocabulary: Vocabulary) -> None:
    paths = naics(shared)
    assert len(paths) > 2_000
    mask = held(paths, vocabulary)
    assert len(through(mask, vocabulary, paths)) == len(paths)
    assert through(mask, vocabulary, neighbours(paths, random.Random(8))) == []  # noqa: S311
    walker = Walker(vocabulary, END, closing=0.0, seed=9)
    assert {walker.say(mask.start()) for _ in range(60)} <= set(paths)
