"""The baseline: TF-IDF of words and characters, and a linear support vector machine per output.

It fits in seconds, needs no accelerator, and is the bar that every model must clear. Knows nothing of language models.
Saved as safetensors and JSON, never as pickle; a loaded engine answers exactly as the fitted one did.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from math import log
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from insource.decode.check import render
from insource.engines.artefact import faults
from insource.engines.batcher import Batcher
from insource.errors import EngineDown, Invalid, Missing, Refused, StoreError
from insource.nouns import Example, JsonObject, Noun, Output, Prediction, Request, Task, Usage, from_json, to_json
from insource.stats import fit_temperature

Progress = Callable[[str, int, int], None]
Floats = NDArray[np.float32]
WEIGHTS, WORDS = "linear.safetensors", "linear.json"
WORD_GRAMS, CHAR_GRAMS = (1, 2), (2, 5)
MANY_LABELS = 256
FEW_DEV, FOLDS, FEW_TRAIN = 50, 5, 1000
SHOWN = 5
LONGEST = 50_000


class Head(Noun, frozen=True, kw_only=True):
    """One output: the labels seen in training, in the order of the score columns, and the temperature on dev."""

    name: str
    labels: tuple[str, ...]
    temperature: float


class Words(Noun, frozen=True, kw_only=True):
    """What `linear.json` holds: the terms in the order of the weight rows, the outputs, and the task's form."""

    task: Task
    words: tuple[str, ...]
    chars: tuple[str, ...]
    heads: tuple[Head, ...]


class Linear:
    """Answers a `classify` task with one linear machine per output, each on its own.

    Confidence is the product over outputs of softmax(scores / temperature) of the label given (Guo et al. 2017).
    Novelty is how far below zero the best score is, as MaxLogit has it (Hendrycks et al. 2022, arXiv:1911.11132), the
    mean over outputs, of a row that is shorter the more of its terms were never seen: no label has a weight for those.
    `weights` holds "idf.words", "idf.chars" and per output "coef.NAME" [terms, labels] and "intercept.NAME".
    """

    def __init__(self, words: Words, weights: dict[str, Floats], *, name: str) -> None:
        self.name = name
        self._words = words
        self._weights = weights
        self._features = _Features.restored(words, weights)
        self._batcher = Batcher(self._run)

    @classmethod
    def fit(
        cls, task: Task, train: Sequence[Example], dev: Sequence[Example], *, name: str, progress: Progress
    ) -> "Linear":
        """Fitted on `train`, its temperatures on `dev`, or on held-out parts of `train` where dev has under 50 rows.

        Raises `Invalid` for extract and generate, and where an output has a single label in train; `EngineDown`
        when scikit-learn is missing.
        """
        if task.kind != "classify":
            raise Invalid(f"there is no linear baseline for {task.kind}: it only chooses among known labels",
                          hint="measure the base model and a specialist instead")  # fmt: skip
        outputs = [(output, _targets(output, train)) for output in task.outputs]
        features = _Features.fitted([row.input for row in train], _most_labels(outputs))
        matrix = features.matrix([row.input for row in train])
        dev_matrix = features.matrix([row.input for row in dev]) if dev else None
        weights: dict[str, Floats] = features.idfs()
        heads = []
        for done, (output, targets) in enumerate(outputs):
            progress(f"fitting the linear baseline: {output.name}", done, len(outputs))
            labels, coef, intercept = _machine(matrix, targets)
            checks = _checks(output, dev, dev_matrix, (labels, coef, intercept))
            if len(checks[1]) < FEW_DEV:
                checks = _held_out(matrix, targets, labels)
            temperature = fit_temperature(*checks)
            heads.append(Head(name=output.name, labels=labels, temperature=temperature))
            weights |= {f"coef.{output.name}": coef, f"intercept.{output.name}": intercept}
        progress("fitting the linear baseline", len(outputs), len(outputs))
        words = Words(task=task, words=features.terms(0), chars=features.terms(1), heads=tuple(heads))
        return cls(words, weights, name=name)

    @classmethod
    def load(cls, folder: Path, *, name: str, left: Sequence[str] = ()) -> "Linear":
        """The engine in a release folder, every file checked against the manifest before it is read.

        The files named by `left` may be absent. Raises `Missing` without a manifest, `Refused` when a file was changed,
        `Invalid` when one cannot be read.
        """
        said = faults(folder, left=left)
        if said:
            raise Refused(f"{folder} is not what was released: {'; '.join(said)}", hint="restore it, or roll back")
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            words = from_json((folder / WORDS).read_bytes(), Words)
            return cls(words, load_file(folder / WEIGHTS), name=name)
        except FileNotFoundError as error:
            raise Missing(f"{folder} holds no linear engine: {error.filename} is missing") from error
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            raise Invalid(f"{folder / WEIGHTS} cannot be read: {error}") from error

    def save(self, folder: Path) -> None:
        """Writes the two data files into `folder`; the manifest is the caller's, and last. Raises `StoreError`."""
        from safetensors import SafetensorError
        from safetensors.numpy import save_file

        try:
            save_file({key: np.ascontiguousarray(value) for key, value in self._weights.items()}, folder / WEIGHTS)
            (folder / WORDS).write_bytes(to_json(self._words))
        except (SafetensorError, OSError) as error:
            raise StoreError(f"{folder} cannot be written: {error}", hint="free disk space, run again") from error

    async def complete(self, request: Request) -> Prediction:
        """The labels for the request's input. Raises `EngineDown` after `close`."""
        began = time.perf_counter()
        prediction = await self._batcher.submit(request)
        return msgspec.structs.replace(prediction, latency_ms=(time.perf_counter() - began) * 1000)

    async def close(self) -> None:
        """Frees the worker thread."""
        await self._batcher.close()

    def _run(self, requests: list[Request]) -> list[Prediction | Exception]:
        matrix, seen = self._features.both([request.input for request in requests])
        heads, novelty = [], np.zeros(len(requests))
        for head in self._words.heads:
            coef, intercept = self._weights[f"coef.{head.name}"], self._weights[f"intercept.{head.name}"]
            heads.append((head, _softmax((matrix @ coef + intercept) / head.temperature)))
            novelty -= (seen @ coef + intercept).max(axis=1) / len(self._words.heads)
        return [
            self._prediction(request, [(h, p[i]) for h, p in heads], float(novelty[i]))
            for i, request in enumerate(requests)
        ]

    def _prediction(self, request: Request, heads: list[tuple[Head, Any]], novelty: float) -> Prediction:
        value: JsonObject = {}
        fields: dict[str, float] = {}
        alternatives = {}
        confidence = 1.0
        for head, chances in heads:
            order = np.argsort(-chances, kind="stable")[:SHOWN]
            ranked = tuple((head.labels[i], float(chances[i])) for i in order)
            value[head.name], fields[head.name] = ranked[0]
            alternatives[head.name] = ranked
            confidence *= ranked[0][1]
        return Prediction(
            text=render(self._words.task, value),
            value=value,
            engine=self.name,
            confidence=min(confidence, 1.0),
            fields=fields,
            alternatives=alternatives,
            usage=_usage(request.input, len(value)),
            novelty=novelty,
        )


def _usage(text: str, outputs: int) -> Usage:
    """Words in, those beyond the first `LONGEST` characters as cut."""
    read = len(text[:LONGEST].split())
    return Usage(input_tokens=read, output_tokens=outputs, cut=len(text[LONGEST:].split()))


class _Features:
    """Text → one sparse row: TF-IDF of words and of characters within words, each scaled to length one."""

    def __init__(self, parts: Sequence[tuple[Callable[[str], list[str]], tuple[str, ...], Floats]]) -> None:
        self._parts = [(split, {term: i for i, term in enumerate(terms)}, idf) for split, terms, idf in parts]

    @classmethod
    def fitted(cls, texts: Sequence[str], labels: int) -> "_Features":
        # With very many labels the weights are what fills the memory: terms seen once are left out.
        parts = _vectorizers({"min_df": 2 if labels > MANY_LABELS else 1})
        try:
            for part in parts:
                part.fit([_clean(text) for text in texts])
        except ValueError as error:
            raise Invalid(f"the train rows hold no words to learn from: {error}") from error
        return cls([(p.build_analyzer(), tuple(p.get_feature_names_out().tolist()), p.idf_) for p in parts])

    @classmethod
    def restored(cls, words: Words, weights: dict[str, Floats]) -> "_Features":
        splits = [part.build_analyzer() for part in _vectorizers({})]
        found = (words.words, weights["idf.words"]), (words.chars, weights["idf.chars"])
        return cls([(split, terms, idf) for split, (terms, idf) in zip(splits, found, strict=True)])

    def terms(self, part: int) -> tuple[str, ...]:
        return tuple(self._parts[part][1])

    def idfs(self) -> dict[str, Floats]:
        words, chars = (idf.astype(np.float32) for _, _, idf in self._parts)
        return {"idf.words": words, "idf.chars": chars}

    def matrix(self, texts: Sequence[str]) -> Any:
        """Sparse [texts, terms]; sublinear term frequency, so that a word said often does not drown the others."""
        return self.both(texts)[0]

    def both(self, texts: Sequence[str]) -> tuple[Any, Any]:
        """The same, and once more with rows as long as they are where terms that were never seen count as well."""
        from scipy.sparse import csr_array, hstack

        cleaned = [_clean(text) for text in texts]
        found = [(_rows(cleaned, *part), (len(texts), len(part[1]))) for part in self._parts]
        matrix = hstack([csr_array(rows.entries, shape=shape) for rows, shape in found], format="csr")
        lengths = np.stack([rows.seen for rows, _ in found], axis=1).ravel()
        counts = np.stack([rows.counts for rows, _ in found], axis=1).ravel()
        shorter = matrix.data * np.repeat(lengths, counts).astype(np.float32)
        return matrix, csr_array((shorter, matrix.indices, matrix.indptr), shape=matrix.shape)


class _Rows(NamedTuple):
    """The known terms of texts: (weights, (rows, columns)), how many each text has, and the length of its row.

    That is 1 where every term is known, and less the more are not: an unknown term weighs as the rarest known one does.
    """

    entries: tuple[Floats, tuple[NDArray[np.int32], NDArray[np.int32]]]
    counts: NDArray[np.int64]
    seen: NDArray[np.float64]


def _rows(texts: Sequence[str], split: Callable[[str], list[str]], numbers: dict[str, int], idf: Floats) -> _Rows:
    # scikit-learn's own transform spends ten times as long on checks when it is given a single text.
    said = [Counter(split(text)) for text in texts]
    counts = [{numbers[term]: times for term, times in count.items() if term in numbers} for count in said]
    unseen = [sum((1 + log(times)) ** 2 for term, times in count.items() if term not in numbers) for count in said]
    many = np.array([len(count) for count in counts])
    rows = np.repeat(np.arange(len(texts), dtype=np.int32), many)
    columns = np.array([term for count in counts for term in count], dtype=np.int32)
    often = np.array([times for count in counts for times in count.values()], dtype=np.float64)
    weights = (1 + np.log(often)) * idf[columns]
    known = np.bincount(rows, weights=weights**2, minlength=len(texts)).astype(np.float64)
    whole = known + np.array(unseen) * float(idf.max()) ** 2
    seen = np.sqrt(np.divide(known, whole, out=np.zeros_like(known), where=whole > 0))
    return _Rows(((weights / np.sqrt(known)[rows]).astype(np.float32), (rows, columns)), many, seen)


def _vectorizers(extra: JsonObject) -> tuple[Any, Any]:
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
    except ModuleNotFoundError as error:
        raise EngineDown(
            "the linear baseline needs scikit-learn, which is not installed", hint="pip install 'insource[data]'"
        ) from error
    shared = {"sublinear_tf": True, "dtype": np.float32, **extra}
    return (
        TfidfVectorizer(ngram_range=WORD_GRAMS, **shared),
        TfidfVectorizer(analyzer="char_wb", ngram_range=CHAR_GRAMS, **shared),
    )


def _machine(matrix: Any, targets: Sequence[str | None]) -> tuple[tuple[str, ...], Floats, Floats]:
    """The labels, weights [terms, labels] and intercepts of one output; rows without a target are left out."""
    from sklearn.svm import LinearSVC

    known = [i for i, target in enumerate(targets) if target is not None]
    machine = LinearSVC(C=1.0, tol=0.1, random_state=0)
    machine.fit(matrix[known], [targets[i] for i in known])
    coef, intercept = machine.coef_, machine.intercept_
    if len(machine.classes_) == 2:
        coef, intercept = np.vstack([-coef, coef]), np.concatenate([-intercept, intercept])
    labels = tuple(str(label) for label in machine.classes_)
    return labels, np.ascontiguousarray(coef.T, dtype=np.float32), intercept.astype(np.float32)


def _checks(
    output: Output, rows: Sequence[Example], matrix: Any, machine: tuple[tuple[str, ...], Floats, Floats]
) -> tuple[Any, Any]:
    """Scores [rows, labels] and label numbers of the rows whose label the machine has seen."""
    labels, coef, intercept = machine
    numbers = {label: i for i, label in enumerate(labels)}
    known = [(i, numbers[str(row.target.get(output.name))]) for i, row in enumerate(rows)
             if str(row.target.get(output.name)) in numbers]  # fmt: skip
    if not known:
        return np.zeros((0, len(labels))), np.zeros(0, int)
    places = [i for i, _ in known]
    return matrix[places] @ coef + intercept, np.array([number for _, number in known])


def _held_out(matrix: Any, targets: Sequence[str | None], labels: tuple[str, ...]) -> tuple[Any, Any]:
    """The same from parts of train that a machine fitted on the rest has not seen; one part only of many rows."""
    numbers = {label: i for i, label in enumerate(labels)}
    rows = np.array([i for i, target in enumerate(targets) if target is not None])
    fold = np.random.default_rng(0).permutation(len(rows)) % FOLDS
    scores, right = [], []
    for k in range(FOLDS if len(rows) <= FEW_TRAIN else 1):
        seen = [targets[i] for i in rows[fold != k]]
        if len(set(seen)) < 2:
            continue
        some, coef, intercept = _machine(matrix[rows[fold != k]], seen)
        mine = [int(i) for i in rows[fold == k] if targets[i] in some]
        full = np.full((len(mine), len(labels)), -1.0)
        full[:, [numbers[label] for label in some]] = matrix[mine] @ coef + intercept
        scores.append(full)
        right += [numbers[str(targets[i])] for i in mine]
    return (np.concatenate(scores), np.array(right)) if right else (np.zeros((0, len(labels))), np.zeros(0, int))


def _targets(output: Output, rows: Sequence[Example]) -> list[str | None]:
    found = [row.target.get(output.name) for row in rows]
    if len({target for target in found if target is not None}) < 2:
        raise Invalid(
            f"the train rows hold fewer than two labels of {output.name}: there is nothing to learn",
            hint="collect rows with at least two labels",
        )
    return [None if target is None else str(target) for target in found]


def _most_labels(outputs: Sequence[tuple[Output, Sequence[str | None]]]) -> int:
    return max(len(set(targets)) for _, targets in outputs)


def _softmax(scores: Any) -> Any:
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


def _clean(text: str) -> str:
    """The first `LONGEST` characters. Lone surrogates cannot be written to JSON: they become question marks."""
    return text[:LONGEST].encode("utf-8", "replace").decode("utf-8")
