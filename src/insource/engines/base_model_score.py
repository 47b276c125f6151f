"""The probability of every label of a closed set, exactly, from one forward pass over the trie of their tokens.

All continuations share one pass: each trie node is one token that attends the prompt and its ancestors (tree
attention, as in SpecInfer, Miao et al. 2023, arXiv 2305.09781). P(label) is exp of the summed log-probabilities of its
tokens and of the token that ends it, renormalised over the set.

Above 2,000 nodes the trie is walked by a beam instead: each choice is renormalised over the tokens that may follow
there, and P(label) is the product of its choices; what the beam left out has no probability, so they sum to at most 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from insource.decode.labels import Trie
from insource.engines.base_model_chat import Chat
from insource.engines.base_model_net import Network, Session
from insource.nouns import Output, Task, to_json

LARGEST = 2_000
BEAM = 16
NEGLIGIBLE = 14.0
POSITIONS = 512


@dataclass(frozen=True)
class Scored:
    """One output of one row: the chosen label, the probabilities of all, and the length of the chosen in tokens."""

    label: str
    probability: float
    alternatives: tuple[tuple[str, float], ...]
    tokens: int


class Scorer:
    """Scores the outputs of a task one after another, each after the chosen label of the last.

    The assistant's text is what `decode.check.render` writes: the bare label of a single output, else compact JSON.
    """

    def __init__(self, network: Network, chat: Chat) -> None:
        self.network, self.chat = network, chat
        self._trie = lru_cache(maxsize=64)(self._build)

    def score(self, task: Task, prefix: tuple[int, ...], texts: Sequence[Sequence[int]]) -> list[list[Scored]]:
        """For each row (its tokens after `prefix`) one `Scored` per output of `task`."""
        session = Session(self.network, prefix, len(texts))
        said = [""] * len(texts)
        rest: Sequence[Sequence[int]] = texts
        found: list[list[Scored]] = [[] for _ in texts]
        for number, output in enumerate(task.outputs):
            heads, tail = _frame(task, number, said)
            tries = [self._trie(output, head, tail) for head in heads]
            results = (
                self._large(session, rest, tries) if len(tries[0]) > LARGEST else self._exact(session, rest, tries)
            )
            for i, probabilities in enumerate(results):
                scored = _chosen(output, tries[i], probabilities)
                found[i].append(scored)
                said[i] = heads[i] + _spelled(task, scored.label)
            rest = [[] for _ in texts]
        return found

    def nodes(self, task: Task) -> int:
        """How many tokens the trie of the task's largest output adds to a row."""
        heads = [_frame(task, number, [""]) for number in range(len(task.outputs))]
        framed = zip(task.outputs, heads, strict=True)
        return max(min(len(self._trie(output, head[0], tail)), LARGEST) for output, (head, tail) in framed)

    def _build(self, output: Output, head: str, tail: str) -> Trie:
        """The labels as tokens of the whole answer so far; each ends with the first token that reaches into `tail`."""
        if not tail:
            return Trie([self.chat.text(label) for label in output.labels], end=self.chat.end)
        bodies = [head + to_json(label).decode()[1:-1] for label in output.labels]
        return Trie([self.chat.until(body + tail, len(body)) for body in bodies])

    def _exact(self, session: Session, texts: Sequence[Sequence[int]], tries: Sequence[Trie]) -> list[Any]:
        import torch

        last, inner = session.read(texts, tries)
        results = []
        for i, trie in enumerate(tries):
            hidden = torch.cat([last[i : i + 1], inner[i, : len(trie.inner)]])
            logs = self._edges(hidden, trie)
            total = torch.empty_like(logs)
            parents = torch.tensor(trie.parents)
            depths = torch.tensor(trie.depths)
            for depth in range(int(depths.max()) + 1):
                at = (depths == depth).nonzero()[:, 0]
                total[at] = logs[at] + (total[parents[at]] if depth else 0.0)
            results.append(torch.softmax(total[torch.tensor(trie.leaves)], 0))
        return results

    def _edges(self, hidden: Any, trie: Trie) -> Any:
        """Log of P(token of node | its way) for every node, float64 [nodes]; `hidden` is the root's, then `inner`'s."""
        import torch

        place = {-1: 0, **{node: i + 1 for i, node in enumerate(trie.inner)}}
        rows = torch.tensor([place[parent] for parent in trie.parents])
        tokens = torch.tensor(trie.tokens)
        logs = torch.empty(len(trie), dtype=torch.float64)
        for start in range(0, len(hidden), POSITIONS):
            logits = self.network.logits(hidden[start : start + POSITIONS])
            norms = logits.logsumexp(1)
            here = ((rows >= start) & (rows < start + POSITIONS)).nonzero()[:, 0]
            at, token = (rows[here] - start).to(logits.device), tokens[here].to(logits.device)
            logs[here] = (logits[at, token] - norms[at]).double().cpu()
        return logs

    def _large(self, session: Session, texts: Sequence[Sequence[int]], tries: Sequence[Trie]) -> list[Any]:
        """By beam, row by row; the probabilities of labels that were not reached are 0."""
        from insource.engines.base_model_beam import search

        session.read(texts) if any(texts) else None
        return [search(self.network, session, row, trie, BEAM, NEGLIGIBLE) for row, trie in enumerate(tries)]


def _frame(task: Task, number: int, said: Sequence[str]) -> tuple[list[str], str]:
    """What stands before the label in each row, and what follows it ("" when the answer ends there)."""
    if len(task.outputs) == 1:
        return [""] * len(said), ""
    name = to_json(task.outputs[number].name).decode()
    heads = [f'{text}",{name}:"' if number else f'{{{name}:"' for text in said]
    if number + 1 == len(task.outputs):
        return heads, '"}'
    return heads, f'",{to_json(task.outputs[number + 1].name).decode()}:"'


def _spelled(task: Task, label: str) -> str:
    return label if len(task.outputs) == 1 else to_json(label).decode()[1:-1]


def _chosen(output: Output, trie: Trie, probabilities: Any) -> Scored:
    top = probabilities.topk(min(5, len(output.labels)))
    ranked = [(output.labels[i], min(1.0, float(p))) for p, i in zip(top.values, top.indices.tolist(), strict=True)]
    best = int(top.indices[0])
    return Scored(*ranked[0], tuple(ranked), trie.depths[trie.leaves[best]] + 1)
