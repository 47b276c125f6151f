"""Learning a classify task: each label is one token, read after the text by a row of its own (`engines.readout`)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch.nn import functional

from insource.engines.local import LocalModel
from insource.engines.prefix import Prefix, pack
from insource.engines.readout import Encoder, Reader, load_body, pad, printable, template_of
from insource.nouns import Example, Output, Task
from insource.train.calibrate import calibrate
from insource.train.course import Data, Learned, Piece, Splits, Where, pieces
from insource.train.export import export
from insource.train.head import Head, heads
from insource.train.lora import Adapted, adapt, as_exported
from insource.train.model import Model, Seen
from insource.train.recipe import LONGEST, Plan, Recipe, derive
from insource.train.rows import Row, encode, label_rows, label_text


class LabelModel(Model):
    """A body read through one head an output. `levels` are the ancestor groups of each output of a taxonomy."""

    def __init__(
        self, adapters: list[Adapted], made: list[Head], reader: Reader, levels: Sequence[Sequence[Any]]
    ) -> None:
        super().__init__(reader.prefix, adapters, end=reader.end)
        self.heads, self.reader, self.levels = made, reader, levels

    @property
    def own(self) -> list[Any]:
        """The label rows, in their heads' coordinates."""
        return [head.values for head in self.heads]

    def begin(self, seed: int) -> None:
        """Puts adapters and label rows back to where a run with this seed begins."""
        super().begin(seed)
        for head in self.heads:
            head.begin()

    def refresh(self) -> None:
        """Brings the merged weights and what the reader reads with up to date."""
        super().refresh()
        self.reader.rows = [head.rows for head in self.heads]

    def loss(self, rows: Sequence[Row], batch: Sequence[Row]) -> Any:
        """Cross-entropy on the label rows only, in nats a row over all outputs, ancestors included."""
        ids, _ = pad([row.ids for row in rows], self.end, str(self.device))
        hidden = self.prefix.together(ids)
        at = torch.arange(len(rows), device=self.device)
        read = torch.tensor([row.read for row in rows], device=self.device)
        loss = torch.zeros((), device=self.device)
        for output, head in enumerate(self.heads):
            logits = head.logits(hidden[at, read + output])
            targets = torch.tensor([row.targets[output] for row in rows], device=self.device)
            loss = loss + functional.cross_entropy(logits, targets) + _ancestors(logits, targets, self.levels[output])
        return loss * (len(rows) / len(batch))

    def seen(self, dev: Sequence[Row]) -> Seen:
        """Rows with every output right, and the nats of all outputs, over the rows."""
        right = torch.ones(len(dev), dtype=torch.bool)
        nll = 0.0
        for output, scores in enumerate(self.logits(dev)):
            targets = torch.tensor([row.targets[output] for row in dev])
            right &= scores.argmax(1) == targets
            nll += float(functional.cross_entropy(scores, targets, reduction="sum"))
        return Seen(float(right.sum()), len(dev), nll, len(dev))

    def counted(self, dev: Sequence[Row]) -> str:
        """Rows."""
        return f"{len(dev)} dev rows"

    def logits(self, dev: Sequence[Row]) -> list[Any]:
        """Per output the float32 logits [rows, labels], each output read after the model's own last."""
        self.refresh()
        return self.reader.logits([row.ids[: row.read + 1] for row in dev])


class Labelling:
    """One classify task, its rows encoded: a text longer than `max_tokens` is several rows, which vote."""

    def __init__(self, task: Task, splits: Splits, base: LocalModel, recipe: Recipe) -> None:
        self.task, self.base, self.held_out = task, base, splits[1]
        encoder = Encoder(base.folder, recipe.max_tokens or LONGEST, template_of(task))
        whole = encoder.plain([printable(example.input) for example in splits[0]])
        plan = derive(recipe, [min(len(ids), encoder.room) + len(encoder.cue) for ids in whole], len(encoder.before))
        encoder = Encoder(base.folder, plan.recipe.max_tokens, template_of(task))
        self.tokens = _tokens(task, encoder, {token for ids in whole for token in ids})
        rows, _ = self._rows(encoder, splits[0])
        if plan.recipe.label_names:
            rows += label_rows(task, encoder)
        dev, self._dev = self._rows(encoder, splits[1])
        self.plan: Plan = msgspec.structs.replace(derive(plan.recipe, [len(row.ids) for row in rows]), why=plan.why)
        self.data = Data(rows, dev)

    def model(self, where: Where) -> LabelModel:
        """The base with adapters, and one head an output, begun at what the base itself tells apart."""
        recipe, (device, dtype, threads) = self.plan.recipe, where
        body = load_body(
            self.base.folder, device=device, dtype=dtype, threads=threads, longest=recipe.max_tokens,
            weights=recipe.base_weights,
        )  # fmt: skip
        encoder = Encoder(self.base.folder, recipe.max_tokens, template_of(self.task))
        embedding = body.get_input_embeddings()
        with torch.no_grad():
            for output, ids in zip(self.task.outputs, self.tokens, strict=True):
                texts = [label_text(output, label) for label in output.labels]
                for token, words in zip(ids, encoder.plain(texts), strict=True):
                    embedding.weight[token] = embedding.weight[words or [encoder.end]].float().mean(0).to(dtype)
        as_exported(body)
        pack(body)
        prefix = Prefix(body, encoder.before)
        made = heads(prefix, self.data.rows, [len(output.labels) for output in self.task.outputs], encoder.end)
        reader = Reader(prefix, [head.rows for head in made], self.tokens, end=encoder.end)
        levels = [_levels(output, device) for output in self.task.outputs]
        return LabelModel(adapt(body, recipe.rank, recipe.layers), made, reader, levels)

    def finish(self, model: LabelModel, folder: Path) -> Learned:
        """A temperature an output, fitted on the dev rows; a long text's logits are the mean of its windows'."""
        windows = model.logits(self.data.dev)
        logits = [_voted(scores, self._dev) for scores in windows]
        firsts = [i for i, piece in enumerate(self._dev) if not i or piece.owner != self._dev[i - 1].owner]
        read, answers = calibrate(self.task, logits, [self.data.dev[i] for i in firsts], self.tokens)
        fits = torch.stack([_voted(scores.logsumexp(1, keepdim=True), self._dev)[:, 0] for scores in windows])
        answers = [
            msgspec.structs.replace(answer, novelty=-strange)
            for answer, strange in zip(answers, fits.mean(0).tolist(), strict=True)
        ]
        rows = {head.name: trained.rows.cpu() for head, trained in zip(read, model.heads, strict=True)}
        vocabulary = model.body.get_input_embeddings().weight.detach().to(torch.bfloat16).cpu().clone()
        for head in read:
            vocabulary[torch.tensor(head.tokens)] = rows[head.name].to(torch.bfloat16)
        export(model.body, self.base, folder, head=vocabulary, rows=rows)
        return Learned(heads=read, asked=tuple(self.held_out), answers=tuple(answers))

    def _rows(self, encoder: Encoder, examples: Sequence[Example]) -> tuple[list[Row], list[Piece]]:
        """A row for every window; each has the targets of its whole text."""
        found = pieces(encoder, examples)
        cut = [msgspec.structs.replace(examples[piece.owner], input=piece.text) for piece in found]
        return encode(self.task, cut, encoder, self.tokens), found


def _tokens(task: Task, encoder: Encoder, used: set[int]) -> list[list[int]]:
    """The ids that stand for each output's labels: spare ones, none used twice."""
    spare = encoder.spare_tokens(sum(len(output.labels) for output in task.outputs), used)
    found = []
    for output in task.outputs:
        found.append(spare[: len(output.labels)])
        spare = spare[len(output.labels) :]
    return found


def _voted(logits: Any, dev: Sequence[Piece]) -> Any:
    """Logits [windows, labels] → [texts, labels]: the mean over a text's windows, weighted by their tokens.

    Its softmax is the vote of `engines.merge`: the weighted mean of log-probabilities, normalised again.
    """
    owners = torch.tensor([piece.owner for piece in dev])
    tokens = torch.tensor([float(max(piece.window.tokens, 1)) for piece in dev])
    count = int(owners.max()) + 1
    total = torch.zeros(count).index_add(0, owners, tokens)
    summed = torch.zeros(count, logits.shape[1]).index_add(0, owners, logits * tokens[:, None])
    return summed / total[:, None]


def _levels(output: Output, device: str) -> list[Any]:
    """For a taxonomy, one tensor [labels] per inner depth that gives each label its ancestor's number."""
    if not output.taxonomy:
        return []
    paths = [label.split(" / ") for label in output.labels]
    found = []
    for depth in range(1, max(len(path) for path in paths)):
        nodes: dict[tuple[str, ...], int] = {}
        found.append(torch.tensor([nodes.setdefault(tuple(p[:depth]), len(nodes)) for p in paths], device=device))
    return found


def _ancestors(logits: Any, targets: Any, levels: Sequence[Any]) -> Any:
    """Half the mean negative log-probability of the target's ancestors; each node's probability is its leaves' sum."""
    if not levels:
        return 0.0
    probabilities = logits.softmax(1)
    total = 0.0
    for groups in levels:
        nodes = int(groups.max()) + 1
        summed = logits.new_zeros(len(logits), nodes).index_add(1, groups, probabilities)
        total = total + functional.nll_loss((summed + 1e-9).log(), groups[targets])
    return 0.5 * total / len(levels)
