"""Learning an extract task: the model writes the answer's JSON after the text, in the form that the grammar allows.

A text longer than `max_tokens` is learned window by window, each with what of the target stands in it
(`train.targets`); of the windows in which nothing stands, as many are kept as there are others.
"""

import threading
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import msgspec
import torch

from insource.decode import grammar
from insource.decode.check import schema_of
from insource.decode.form import written
from insource.decode.mask import GrammarMask
from insource.engines.artefact import Calibration, Scale
from insource.engines.base_model_fields import field_spans
from insource.engines.base_model_net import VocabularyHead
from insource.engines.composer import Composer, calibrated, vocabulary_of
from insource.engines.local import LocalModel
from insource.engines.merge import merged
from insource.engines.prefix import Prefix, pack
from insource.engines.readout import Encoder, load_causal, template_of
from insource.errors import Invalid
from insource.nouns import Example, JsonObject, Prediction, Request, Task, ask, digest, same
from insource.stats import fit_scale
from insource.train.answers import AnswerModel
from insource.train.course import Answer, Data, Learned, Piece, Splits, Where, pieces
from insource.train.export import export
from insource.train.lora import adapt, as_exported
from insource.train.recipe import Plan, Recipe, derive
from insource.train.rows import Row
from insource.train.targets import target_within

LONGEST = 1024
DEV_TOKENS = 100_000
PATIENCE_S = 3600.0


class _Lesson(NamedTuple):
    """A window and what it has to answer; whether there is anything in it."""

    piece: Piece
    target: JsonObject
    found: bool


class Writing:
    """One extract task, its rows encoded. At most `DEV_TOKENS` tokens of dev rows are checked and calibrated on."""

    def __init__(self, task: Task, splits: Splits, base: LocalModel, recipe: Recipe) -> None:
        self.task, self.base, self._threads = task, base, 0
        encoder = Encoder(base.folder, recipe.max_tokens or LONGEST, template_of(task))
        lengths = [len(encoder.offsets(example.input)) + len(encoder.cue) for example in splits[0]]
        plan = derive(recipe, lengths, len(encoder.before), longest=min(LONGEST, encoder.window // 2))
        self.encoder = Encoder(base.folder, plan.recipe.max_tokens, template_of(task))
        self.asked = _first(splits[1], self.encoder)
        vocabulary = vocabulary_of(base.folder, self.encoder, self.encoder.vocabulary)
        self._mask = GrammarMask(vocabulary, grammar.for_task(task) or "")
        lessons = self._lessons(splits[0])
        kept = _balanced(lessons, splits[0])
        rows, dev = self._rows(kept), self._rows(self._lessons(self.asked))
        if not rows or not dev:
            raise Invalid(
                f"{task.name}: no row of the split {'dev' if rows else 'train'} has a target that its schema can say",
                hint="docs/reference/extraction.md says what is learned from a row",
            )
        said = [f"{len(lessons)} windows of {len(splits[0])} texts"] if len(lessons) != len(splits[0]) else []
        said += [f"{len(lessons) - len(kept)} windows without anything left out"] if len(kept) < len(lessons) else []
        said += [f"{len(kept) - len(rows)} rows left out: the grammar cannot say them"] if len(rows) < len(kept) else []
        found = derive(plan.recipe, [len(row.ids) for row in rows])
        self.plan: Plan = msgspec.structs.replace(found, why=(*plan.why, *said))
        self.data = Data(rows, dev)

    def model(self, where: Where) -> AnswerModel:
        """The base with adapters, under its own vocabulary head."""
        recipe, (device, dtype, threads) = self.plan.recipe, where
        self._threads = threads
        longest = len(self.encoder.before) + max(len(row.ids) for row in self.data.rows)
        model = load_causal(
            self.base.folder, device=device, dtype=dtype, threads=threads, longest=longest, weights=recipe.base_weights
        )
        as_exported(model)
        head, body = VocabularyHead(model, exact=False), model.base_model
        pack(body)
        adapters = adapt(body, recipe.rank, recipe.layers)
        return AnswerModel(Prefix(body, self.encoder.before), adapters, head, end=self.encoder.end)

    def finish(self, model: AnswerModel, folder: Path) -> Learned:
        """Exports, then answers the dev rows with what was exported, and fits the confidences to what was right."""
        head = model.head.layer.weight
        tied = head.data_ptr() == model.body.get_input_embeddings().weight.data_ptr()
        export(model.body, self.base, folder, head=None if tied else head, rows={})
        composer = Composer(folder / "model", self.task, self.encoder, name=self.task.name, threads=self._threads)
        found = pieces(self.encoder, self.asked)
        with torch.inference_mode():
            said = composer.write([self._ask(piece) for piece in found], Calibration(), threading.Event())
        given = [_invalid(self.task) if isinstance(one, Exception) else one for one in said]
        calibration = self._calibration(found, given)
        answers = []
        for owner, group in groupby(zip(found, given, strict=True), key=lambda pair: pair[0].owner):
            both = list(group)
            example = self.asked[owner]
            windows = [piece.window for piece, _ in both]
            whole = merged(self.task, example.input, windows, [calibrated(one, calibration) for _, one in both])
            answers.append(_answer(self.task, example, whole))
        return Learned(calibration=calibration, asked=tuple(self.asked), answers=tuple(answers))

    def _lessons(self, examples: Sequence[Example]) -> list[_Lesson]:
        """Every window that the schema has an answer for."""
        lessons = []
        for piece in pieces(self.encoder, examples):
            target = examples[piece.owner].target
            part = (target, True) if piece.alone else target_within(self.task, target, piece.text)
            lessons += [_Lesson(piece, *part)] if part else []
        return lessons

    def _rows(self, lessons: Sequence[_Lesson]) -> list[Row]:
        """A row a lesson, but where the grammar cannot say its answer."""
        schema = schema_of(self.task)
        answers = [written(schema, lesson.target) for lesson in lessons]
        encoded = self.encoder.encode([lesson.piece.text for lesson in lessons])
        rows = []
        for (ids, _), answer, tokens in zip(encoded, answers, self.encoder.plain(answers), strict=True):
            if self._mask.takes(tokens):
                whole = [*ids, *tokens, self.encoder.end]
                parts = (*(len(ids) + end for end in self._ends(answer)[:-1]), len(whole))
                rows.append(Row(ids=whole, read=len(ids) - 1, parts=parts))
        return rows

    def _ends(self, answer: str) -> list[int]:
        """How many tokens of the answer there are up to the end of each of its fields."""
        starts = [start for start, _ in self.encoder.offsets(answer)]
        data = answer.encode()
        stops = [len(data[:stop].decode()) for _, stop in field_spans(answer).values()]
        return [sum(start < stop for start in starts) for stop in stops]

    def _ask(self, piece: Piece) -> Request:
        return msgspec.structs.replace(ask(self.task, piece.text, id=str(piece.owner)), deadline=PATIENCE_S)

    def _calibration(self, found: Sequence[Piece], given: Sequence[Prediction]) -> Calibration:
        """A scale a field and one for the whole, each fitted on the windows it can be judged in."""
        sure: dict[str, list[float]] = {name: [] for name in self.task.fields}
        right: dict[str, list[bool]] = {name: [] for name in self.task.fields}
        whole: list[tuple[float, bool]] = []
        for piece, one in zip(found, given, strict=True):
            target = self.asked[piece.owner].target
            part = (target, True) if piece.alone else target_within(self.task, target, piece.text)
            if part is None or one.value is None:
                continue
            hits = {name: same(part[0].get(name), one.value.get(name)) for name in self.task.fields}
            whole.append((one.confidence or 0.0, all(hits.values())))
            for name in one.fields.keys() & hits.keys():
                sure[name].append(one.fields[name])
                right[name].append(hits[name])
        return Calibration(
            fields={name: _scale(sure[name], right[name]) for name in self.task.fields},
            whole=_scale([each for each, _ in whole], [hit for _, hit in whole]),
        )


def _scale(sure: Sequence[float], right: Sequence[bool]) -> Scale:
    slope, offset = fit_scale(sure, right)
    return Scale(slope=slope, offset=offset)


def _first(examples: Sequence[Example], encoder: Encoder) -> list[Example]:
    """The first examples, of at most `DEV_TOKENS` tokens together but never none."""
    found: list[Example] = []
    tokens = 0
    for example in examples:
        tokens += len(encoder.offsets(example.input))
        if found and tokens > DEV_TOKENS:
            break
        found.append(example)
    return found


def _balanced(lessons: list[_Lesson], examples: Sequence[Example]) -> list[_Lesson]:
    """All lessons with something in them, and as many of the others, drawn by content."""
    empty = [lesson for lesson in lessons if not lesson.found]
    empty.sort(key=lambda lesson: digest([examples[lesson.piece.owner].id, lesson.piece.window.start]))
    dropped = {id(lesson) for lesson in empty[len(lessons) - len(empty) :]}
    return [lesson for lesson in lessons if id(lesson) not in dropped]


def _answer(task: Task, example: Example, said: Prediction) -> Answer:
    value = said.value
    right = value is not None and all(same(example.target.get(name), value.get(name)) for name in task.fields)
    return Answer(value=value, confidence=said.confidence or 0.0, fields=said.fields, right=right)


def _invalid(task: Task) -> Prediction:
    return Prediction(text="", engine=task.name, finish="invalid")
