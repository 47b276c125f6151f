"""Labels share what they have in common, and stay apart."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insource.decode.labels import Trie
from insource.errors import Invalid

SETS = st.lists(st.lists(st.integers(0, 3), min_size=0, max_size=5), min_size=1, max_size=12, unique_by=tuple)


@given(SETS)
def test_every_sequence_is_spelled_by_the_way_to_its_leaf(sequences: list[list[int]]) -> None:
    trie = Trie(sequences, end=9)
    assert [[trie.tokens[node] for node in trie.path(leaf)] for leaf in trie.leaves] == [[*s, 9] for s in sequences]


@given(SETS)
def test_each_beginning_is_one_node_and_parents_come_first(sequences: list[list[int]]) -> None:
    trie = Trie(sequences, end=9)
    beginnings = {tuple([*s, 9][: i + 1]) for s in sequences for i in range(len(s) + 1)}
    assert len(trie) == len(beginnings)
    assert all(parent < node for node, parent in enumerate(trie.parents))
    assert set(trie.inner) | set(trie.leaves) == set(range(len(trie)))
    assert [trie.depths[node] + 1 for node in range(len(trie))] == [len(trie.path(node)) for node in range(len(trie))]


@given(SETS)
def test_kinship_is_the_way_to_each_node(sequences: list[list[int]]) -> None:
    trie = Trie(sequences, end=9)
    for i, node in enumerate(trie.inner):
        assert [trie.inner[j] for j in trie.kinship[i].nonzero()[0]] == trie.path(node)


def test_a_chain_goes_to_the_next_choice_or_the_leaf() -> None:
    trie = Trie([[1, 2, 3, 4], [1, 2, 3, 5, 6]])
    assert [trie.tokens[node] for node in trie.chain(0)] == [1, 2, 3]
    last = trie.children[trie.chain(0)[-1]][1]
    assert [trie.tokens[node] for node in trie.chain(last)] == [5, 6]


@pytest.mark.parametrize("sequences", [[[1, 2], [1, 2]], [[1], [1, 2]], [[]]])
def test_labels_that_tokens_cannot_tell_apart_are_refused(sequences: list[list[int]]) -> None:
    with pytest.raises(Invalid, match="cannot be told"):
        Trie(sequences)


def test_an_end_token_tells_a_label_from_one_it_begins() -> None:
    assert len(Trie([[1], [1, 2]], end=0)) == 4
