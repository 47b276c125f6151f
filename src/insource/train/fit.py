"""One training run, top to bottom: plan → estimate → train → calibrate → adapter and merged weights on disk."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import torch

import insource
from insource.engines.artefact import OutputHead
from insource.engines.local import LocalModel
from insource.engines.prefix import Prefix, pack
from insource.engines.readout import Encoder, Reader, load_body, pick_device, pick_dtype, template_of
from insource.errors import Invalid
from insource.nouns import Example, JsonObject, Noun, Output, Task, digest, to_json
from insource.stats import expected_calibration_error
from insource.train.calibrate import Answer, calibrate
from insource.train.export import export
from insource.train.gradient import Gradient
from insource.train.head import heads
from insource.train.loop import Data, Say, Voice, dev_logits
from insource.train.lora import adapt
from insource.train.model import Model
from insource.train.promise import promised
from insource.train.recipe import LONGEST, Plan, Recipe, derive
from insource.train.rows import Row, batches, encode, label_rows, label_text
from insource.train.soup import train_runs

Where = tuple[str, Any, int]


class Fitted(Noun, frozen=True, kw_only=True):
    """What a run produced, as the manifest wants it; the files lie in the run's folder."""

    heads: tuple[OutputHead, ...]
    threshold: float | None
    promise: str
    dev: dict[str, float]
    recipe: JsonObject
    max_tokens: int
    template: str


def fit(
    task: Task, splits: tuple[list[Example], list[Example]], base: LocalModel, recipe: Recipe, folder: Path, *,
    voice: Voice,
) -> Fitted:  # fmt: skip
    """Trains on `splits` = (train, dev) and writes adapter/, model/ and trainer.jsonl into `folder`.

    The checkpoint lies beside `folder`. Raises `Invalid` when a split is empty or the task is not `classify`.
    """
    examples, held_out = splits
    if task.kind != "classify":
        raise Invalid(f"{task.name} is a task to {task.kind}: only classify tasks can be trained in this version")
    if not examples or not held_out:
        raise Invalid(f"{task.name} needs rows in the splits train and dev", hint=f"insource collect {task.name} FILE")
    device = pick_device()
    dtype = pick_dtype(device)
    plan, tokens, data = _prepare(task, splits, base, recipe)
    for line in plan.why:
        voice.say(f"  {line}")
    start = time.monotonic()
    model = _model(task, base, plan, tokens, data.rows, (device, dtype, voice.threads))
    prepared = time.monotonic() - start
    _estimate(model, data, plan, voice.say)
    made_with = (str(dtype), device, torch.get_num_threads(), str(torch.__version__), insource.__version__)
    which = [[example.id for example in rows] for rows in splits]
    run = digest([task, template_of(task), base.sha256, plan, which, made_with])
    standing = train_runs(model, data, plan, file=folder.parent / "checkpoint.safetensors", run=run, voice=voice)
    read, answers = calibrate(task, dev_logits(model, data.dev), data.dev, tokens)
    lines = [
        to_json({"id": e.id, "input": e.input, "value": a.value, "confidence": a.confidence})
        for e, a in zip(held_out, answers, strict=True)
    ]
    (folder / "trainer.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    export(model, read, base, folder)
    history = {"checks": standing.history, "seconds": standing.seconds, "prepared": prepared}
    (folder / "history.json").write_bytes(to_json(history))
    return _fitted(task, read, answers, plan)


def _prepare(
    task: Task, splits: tuple[list[Example], list[Example]], base: LocalModel, recipe: Recipe
) -> tuple[Plan, list[list[int]], Data]:
    encoder = Encoder(base.folder, recipe.max_tokens or LONGEST, template_of(task))
    encoded = encoder.encode([example.input for example in splits[0]])
    plan = derive(recipe, [len(ids) for ids, _ in encoded], len(encoder.before))
    encoder = Encoder(base.folder, plan.recipe.max_tokens, template_of(task))
    spare = encoder.spare_tokens(sum(len(o.labels) for o in task.outputs), {i for ids, _ in encoded for i in ids})
    tokens = []
    for output in task.outputs:
        tokens.append(spare[: len(output.labels)])
        spare = spare[len(output.labels) :]
    rows = encode(task, splits[0], encoder, tokens)
    if plan.recipe.label_names:
        rows += label_rows(task, encoder)
    plan = msgspec.structs.replace(derive(plan.recipe, [len(row.ids) for row in rows]), why=plan.why)
    return plan, tokens, Data(rows, encode(task, splits[1], encoder, tokens), [_levels(o) for o in task.outputs])


def _model(
    task: Task, base: LocalModel, plan: Plan, tokens: list[list[int]], rows: Sequence[Row], where: Where
) -> Model:
    """The base with adapters, and one head an output, begun at what the base itself tells apart."""
    device, dtype, threads = where
    body = load_body(base.folder, device=device, dtype=dtype, threads=threads, longest=plan.recipe.max_tokens)
    encoder = Encoder(base.folder, plan.recipe.max_tokens, template_of(task))
    embedding = body.get_input_embeddings()
    with torch.no_grad():
        for output, ids in zip(task.outputs, tokens, strict=True):
            texts = [label_text(output, label) for label in output.labels]
            for token, words in zip(ids, encoder.plain(texts), strict=True):
                embedding.weight[token] = embedding.weight[words or [encoder.end]].float().mean(0).to(dtype)
    pack(body)
    prefix = Prefix(body, encoder.before)
    made = heads(prefix, rows, [len(output.labels) for output in task.outputs], encoder.end)
    adapters = adapt(body, plan.recipe.rank, plan.recipe.layers)
    return Model(body, adapters, made, Reader(prefix, [head.rows for head in made], tokens, end=encoder.end))


def _levels(output: Output) -> list[Any]:
    """For a taxonomy, one tensor [labels] per inner depth that gives each label its ancestor's number."""
    if not output.taxonomy:
        return []
    paths = [label.split(" / ") for label in output.labels]
    device = pick_device()
    found = []
    for depth in range(1, max(len(path) for path in paths)):
        nodes: dict[tuple[str, ...], int] = {}
        found.append(torch.tensor([nodes.setdefault(tuple(p[:depth]), len(nodes)) for p in paths], device=device))
    return found


def _estimate(model: Model, data: Data, plan: Plan, say: Say) -> None:
    """Times one forward and backward pass and says what the whole run will take."""
    sample = batches(data.rows, plan.recipe.batch, plan.recipe.seed, 0)[0]
    tokens = sum(len(row.ids) for row in sample)
    start = time.perf_counter()
    with Gradient(model, data.levels) as gradient:
        gradient.of(sample)
    rate = tokens / (time.perf_counter() - start)
    runs = plan.recipe.runs
    minutes = runs * plan.tokens / rate / 60
    work = f"{runs * plan.tokens:,} tokens in {runs * plan.steps:,} steps"
    say(f"  {work} at about {rate:,.0f} tokens/s: {minutes:.0f} min on this machine, no API cost")


def _fitted(task: Task, heads: tuple[OutputHead, ...], answers: Sequence[Answer], plan: Plan) -> Fitted:
    confidences, right = [answer.confidence for answer in answers], [answer.right for answer in answers]
    threshold, promise = promised(task, confidences, right)
    ece = float(expected_calibration_error(confidences, right))
    return Fitted(
        heads=heads,
        threshold=threshold,
        promise=promise,
        dev={"n": float(len(right)), "accuracy": sum(right) / len(right), "ece": ece},
        recipe={name: getattr(plan.recipe, name) for name in plan.recipe.__struct_fields__},
        max_tokens=plan.recipe.max_tokens,
        template=template_of(task),
    )
