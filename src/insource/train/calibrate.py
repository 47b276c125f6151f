"""Confidence that means what it says: one temperature per output, fitted on the dev rows, never on the test rows."""

from collections.abc import Sequence
from typing import Any

import torch

from insource.engines.artefact import OutputHead
from insource.nouns import JsonObject, Task
from insource.stats import fit_temperature
from insource.train.course import Answer
from insource.train.rows import Row


def calibrate(
    task: Task, logits: Sequence[Any], dev: Sequence[Row], tokens: Sequence[Sequence[int]]
) -> tuple[tuple[OutputHead, ...], list[Answer]]:
    """Temperature scaling (Guo et al. 2017, arXiv:1706.04599) of each output's logits [rows, labels].

    An answer's confidence is the product of its outputs' probabilities, as it is when served.
    """
    heads, joint, right = [], torch.ones(len(dev)), torch.ones(len(dev), dtype=torch.bool)
    values: list[JsonObject] = [{} for _ in dev]
    fields: list[dict[str, float]] = [{} for _ in dev]
    for k, output in enumerate(task.outputs):
        targets = torch.tensor([row.targets[k] for row in dev])
        temperature = fit_temperature(logits[k].numpy(), targets.numpy())
        top = (logits[k] / temperature).softmax(1).max(1)
        joint, right = joint * top.values, right & (top.indices == targets)
        tops = zip(values, fields, top.indices.tolist(), top.values.tolist(), strict=True)
        for value, sure, label, chance in tops:
            value[output.name], sure[output.name] = output.labels[label], chance
        head = OutputHead(name=output.name, labels=output.labels, tokens=tuple(tokens[k]), temperature=temperature)
        heads.append(head)
    found = zip(values, fields, joint.tolist(), right.tolist(), strict=True)
    return tuple(heads), [Answer(value=v, fields=f, confidence=min(c, 1.0), right=r) for v, f, c, r in found]
