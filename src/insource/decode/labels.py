"""A closed set of labels as a trie of tokens: what they share is computed once."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from insource.errors import Invalid


class Trie:
    """Token sequences that share their beginnings. Node numbers grow away from the root; parents come first.

    `tokens[n]` is the token of node n, `parents[n]` the node before it (-1 for the first tokens), `depths[n]` its
    distance from the root (0 for the first tokens), `leaves[i]` the node where sequence i ends. With `end` every
    sequence gets that token at its end, so that a label which begins another one is still a leaf of its own.
    Raises `Invalid` when two sequences are equal or one begins another.
    """

    def __init__(self, sequences: Sequence[Sequence[int]], *, end: int | None = None) -> None:
        self.tokens: list[int] = []
        self.parents: list[int] = []
        self.depths: list[int] = []
        self.leaves: list[int] = []
        index: dict[tuple[int, int], int] = {}
        for sequence in sequences:
            node = -1
            for token in [*sequence, *([] if end is None else [end])]:
                node = self._child(index, node, token)
            self.leaves.append(node)
        taken = {-1, *self.parents}
        for i, leaf in enumerate(self.leaves):
            if leaf in taken:
                raise Invalid(f"label number {i + 1} cannot be told from another one by its tokens")
            taken.add(leaf)

    def __len__(self) -> int:
        return len(self.tokens)

    @cached_property
    def children(self) -> list[list[int]]:
        """The nodes after each node; the last entry holds the first tokens (so `children[-1]` is the root's)."""
        after: list[list[int]] = [[] for _ in range(len(self) + 1)]
        for node, parent in enumerate(self.parents):
            after[parent].append(node)
        return after

    @cached_property
    def inner(self) -> list[int]:
        """The nodes that something follows: the ones a model must read to score the rest."""
        return [node for node in range(len(self)) if self.children[node]]

    @cached_property
    def kinship(self) -> NDArray[np.bool_]:
        """[inner, inner]: whether the column's node lies on the way to the row's node, itself included."""
        place = {node: i for i, node in enumerate(self.inner)}
        kin = np.eye(len(self.inner), dtype=np.bool_)
        for i, node in enumerate(self.inner):
            if self.parents[node] != -1:
                kin[i] |= kin[place[self.parents[node]]]
        return kin

    def path(self, node: int) -> list[int]:
        """The nodes from a first token to `node`, itself included."""
        nodes: list[int] = []
        while node != -1:
            nodes.append(node)
            node = self.parents[node]
        return nodes[::-1]

    def chain(self, node: int) -> list[int]:
        """`node` and what must follow it, up to the next choice or the leaf."""
        nodes = [node]
        while len(self.children[nodes[-1]]) == 1:
            nodes.append(self.children[nodes[-1]][0])
        return nodes

    def _child(self, index: dict[tuple[int, int], int], parent: int, token: int) -> int:
        node = index.get((parent, token))
        if node is None:
            node = index[parent, token] = len(self.tokens)
            self.tokens.append(token)
            self.parents.append(parent)
            self.depths.append(0 if parent == -1 else self.depths[parent] + 1)
        return node
