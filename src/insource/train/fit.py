"""One training run, top to bottom: plan → estimate → train → adapter and merged weights on disk → calibrate."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import torch

import insource
from insource.engines.artefact import Calibration, OutputHead
from insource.engines.held_out import write_held_out
from insource.engines.local import LocalModel
from insource.engines.nf4 import NF4, held_bytes
from insource.engines.readout import pick_device, pick_dtype, template_of
from insource.errors import Invalid
from insource.nouns import JsonObject, Noun, Task, digest, to_json
from insource.stats import expected_calibration_error
from insource.train.checkpoint import Standing
from insource.train.course import Answer, Course, Data, Learned, Order, Splits, Where
from insource.train.gradient import Gradient
from insource.train.labels import Labelling
from insource.train.loop import Say, Voice
from insource.train.model import Model
from insource.train.promise import promised
from insource.train.ranks import ALONE, Ranks, counted
from insource.train.recipe import Plan, Recipe, dials
from insource.train.rows import batches
from insource.train.soup import train_runs
from insource.train.together import together
from insource.train.writing import Writing

COURSES: dict[str, Callable[[Task, Splits, LocalModel, Recipe], Course]] = {
    "classify": Labelling,
    "extract": Writing,
}


class Fitted(Noun, frozen=True, kw_only=True):
    """What a run produced, as the manifest wants it; the files lie in the run's folder."""

    heads: tuple[OutputHead, ...]
    calibration: Calibration | None
    threshold: float | None
    promise: str
    dev: dict[str, float]
    recipe: JsonObject
    max_tokens: int
    template: str
    unpromised: bool = False


def fit(task: Task, splits: Splits, base: LocalModel, recipe: Recipe, folder: Path, *, voice: Voice) -> Fitted:
    """Trains on `splits` = (train, dev) and writes adapter/, model/ and trainer.jsonl into `folder`.

    The checkpoint lies beside `folder`. Raises `Invalid` when a split is empty, and for a task to generate.
    """
    if task.kind not in COURSES:
        raise Invalid(f"{task.name} is a task to {task.kind}: only classify and extract tasks can be trained")
    if not all(splits):
        raise Invalid(f"{task.name} needs rows in the splits train and dev", hint=f"insource collect {task.name} FILE")
    order = Order(task=task, train=splits[0], dev=splits[1], base=base, recipe=counted(recipe), folder=folder,
                  threads=voice.threads)  # fmt: skip
    if order.recipe.devices == 1:
        return leave(order, learn(order, ALONE, voice))
    threads = max(1, (order.threads or torch.get_num_threads()) // order.recipe.devices)
    voice.say(f"  {order.recipe.devices} processes, each with {_own(threads)} and its share of every batch")
    return msgspec.convert(together(msgspec.structs.replace(order, threads=threads), voice), Fitted)


class Trained(NamedTuple):
    """A model at its end, whose it is, how it went, and the seconds that went before the first step."""

    course: Course
    model: Model
    standing: Standing
    prepared: float


def learn(order: Order, ranks: Ranks, voice: Voice) -> Trained:
    """The training itself, as one of the processes that train together. Raises `Parted` when another is gone."""
    task, base = order.task, order.base
    where = Where(pick_device(), pick_dtype(pick_device()), order.threads)
    course = COURSES[task.kind](task, (order.train, order.dev), base, order.recipe)
    plan, data = course.plan, course.data
    for line in plan.why:
        voice.say(f"  {line}")
    start = time.monotonic()
    model = course.model(where)
    model.ranks = ranks
    if plan.recipe.base_weights == NF4:
        voice.say(
            f"  the base's weights take {held_bytes(model.body) / 1e6:,.0f} MB of memory, its linear layers in NF4"
        )
    prepared = time.monotonic() - start
    _estimate(model, data, plan, voice.say)
    made_with = (str(where.dtype), where.device, torch.get_num_threads(), str(torch.__version__), insource.__version__)
    which = [[example.id for example in rows] for rows in (order.train, order.dev)]
    run = digest([task, template_of(task), base.sha256, plan, which, made_with])
    file = order.folder.parent / "checkpoint.safetensors"
    return Trained(course, model, train_runs(model, data, plan, file=file, run=run, voice=voice), prepared)


def leave(order: Order, trained: Trained) -> Fitted:
    """Writes what was trained, its answers to the dev rows, and how it went."""
    task, folder, standing = order.task, order.folder, trained.standing
    learned = trained.course.finish(trained.model, folder)
    lines = [
        to_json({"id": e.id, "input": e.input, "value": a.value, "confidence": a.confidence})
        for e, a in zip(learned.asked, learned.answers, strict=True)
    ]
    (folder / "trainer.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    write_held_out(folder, task, [example.target for example in learned.asked], learned.answers)
    history = {"checks": standing.history, "seconds": standing.seconds, "prepared": trained.prepared}
    (folder / "history.json").write_bytes(to_json(history))
    return _fitted(task, learned, trained.course.plan)


def _own(threads: int) -> str:
    return "a GPU" if pick_device() == "cuda" else f"{threads} thread{'s' * (threads > 1)}"


def _estimate(model: Model, data: Data, plan: Plan, say: Say) -> None:
    """Times one forward and backward pass and says what the whole run will take."""
    sample = batches(data.rows, plan.recipe.batch, plan.recipe.seed, 0)[0]
    tokens = sum(len(row.ids) for row in sample)
    model.ranks.meet(model.device)
    start = time.perf_counter()
    with Gradient(model) as gradient:
        gradient.of(sample)
    rate = tokens / (time.perf_counter() - start)
    runs = plan.recipe.runs
    minutes = runs * plan.tokens / rate / 60
    work = f"{runs * plan.tokens:,} tokens in {runs * plan.steps:,} steps"
    say(f"  {work} at about {rate:,.0f} tokens/s: {minutes:.0f} min on this machine, no API cost")


def _fitted(task: Task, learned: Learned, plan: Plan) -> Fitted:
    answers: Sequence[Answer] = learned.answers
    confidences, right = [answer.confidence for answer in answers], [answer.right for answer in answers]
    promise = promised(task, confidences, right)
    ece = float(expected_calibration_error(confidences, right))
    return Fitted(
        heads=learned.heads,
        calibration=learned.calibration,
        threshold=promise.threshold,
        promise=promise.words,
        dev={"n": float(len(right)), "accuracy": sum(right) / len(right), "ece": ece},
        recipe=dials(plan.recipe),
        max_tokens=plan.recipe.max_tokens,
        template=template_of(task),
        unpromised=promise.unpromised,
    )
