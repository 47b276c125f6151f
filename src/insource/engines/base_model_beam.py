"""Finding the likeliest labels of a very large set without reading them all: a beam over the trie of their tokens."""

from typing import Any

from insource.decode.labels import Trie
from insource.engines.base_model_cache import roomy_cache
from insource.engines.base_model_net import Network, Session


class _Row:
    """One row of a session alone, with a cache of its own to which the beam's tokens are added.

    `sees` [slots, slots of the beam] says which of the beam's slots lie on the way to which.
    """

    def __init__(self, network: Network, session: Session, row: int) -> None:
        self.network = network
        real = session.visible[row]
        layers = [
            (each.keys[row : row + 1, :, real], each.values[row : row + 1, :, real]) for each in session.cache.layers
        ]
        self.cache = roomy_cache(layers)
        self.text = int(session.lengths[row])
        self.ways: list[list[int]] = []

    def grow(self, tokens: list[int], ways: list[list[int]], depths: list[int]) -> Any:
        """Hidden states [tokens, d]; `ways[i]` are the beam's slots before token i, its own slot is added."""
        import torch

        first, device = len(self.ways), self.network.device
        self.ways += [[*way, first + i] for i, way in enumerate(ways)]
        sees = torch.zeros(1, len(tokens), self.text + len(self.ways), dtype=torch.bool, device=device)
        sees[..., : self.text] = True
        for i in range(len(tokens)):
            sees[0, i, self.text + torch.tensor(self.ways[first + i], device=device)] = True
        positions = torch.tensor([depths], device=device) + self.text
        return self.network.forward(self.cache, torch.tensor([tokens], device=device), positions, sees)[0]


def search(network: Network, session: Session, row: int, trie: Trie, beam: int, negligible: float) -> Any:
    """Probabilities [labels] (float64) of the labels that a beam of `beam` choices reaches from `row`; 0 for the rest.

    A choice more than `negligible` nats less likely than the best finished label is given up.
    """
    import torch

    alone = _Row(network, session, row)
    label = {leaf: i for i, leaf in enumerate(trie.leaves)}
    found = torch.zeros(len(trie.leaves), dtype=torch.float64)
    live = _choices(network, session.last[row], trie, -1, 0.0, [])
    while live:
        waiting: list[tuple[int, float, list[int], list[int]]] = []
        for node, log, way in live:
            chain = trie.chain(node)
            if chain[-1] in label:
                found[label[chain[-1]]] = torch.tensor(log, dtype=torch.float64).exp()
            else:
                waiting.append((chain[-1], log, way, chain))
        floor = float(found.max().clamp(min=1e-300).log()) - negligible
        waiting = sorted((each for each in waiting if each[1] > floor), key=lambda each: -each[1])[:beam]
        live = _extend(network, alone, trie, waiting) if waiting else []
    return found


def _extend(network: Network, alone: _Row, trie: Trie, waiting: list[Any]) -> list[tuple[int, float, list[int]]]:
    """Reads every waiting chain in one pass and gives the choices after each."""
    tokens: list[int] = []
    ways: list[list[int]] = []
    depths: list[int] = []
    ends: list[int] = []
    for _, _, way, chain in waiting:
        so_far = list(way)
        for node in chain:
            ways.append(list(so_far))
            so_far.append(len(alone.ways) + len(tokens))
            tokens.append(trie.tokens[node])
            depths.append(trie.depths[node])
        ends.append(len(tokens) - 1)
    first = len(alone.ways)
    hidden = alone.grow(tokens, ways, depths)
    live = []
    for (node, log, _, _), end in zip(waiting, ends, strict=True):
        live += _choices(network, hidden[end], trie, node, log, alone.ways[first + end])
    return live


def _choices(
    network: Network, hidden: Any, trie: Trie, node: int, log: float, way: list[int]
) -> list[tuple[int, float, list[int]]]:
    """The nodes after `node` with their summed log-probabilities, renormalised over these nodes alone."""
    import torch

    after = trie.children[node]
    tokens = torch.tensor([trie.tokens[each] for each in after], device=hidden.device)
    logs = network.logits(hidden)[tokens].double().log_softmax(0).tolist()
    return [(each, log + extra, way) for each, extra in zip(after, logs, strict=True)]
