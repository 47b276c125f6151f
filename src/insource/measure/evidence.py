"""The rows behind the figures: the confusions that matter, and where candidates differ. Texts are cut short."""

import random
from collections import Counter
from collections.abc import Mapping, Sequence

from insource.measure import scorers
from insource.measure.run import Answered
from insource.nouns import JsonObject, JsonValue, Task, to_json

CONFUSIONS, EACH = 12, 2
DIFFERENT = 14
INPUT, SAID, SHORT = 320, 160, 140


def confusions(task: Task, rows: Sequence[Answered]) -> list[JsonObject]:
    """The labels most often answered for one another: {output, target, answer, n, of, examples}, most frequent first.

    `answer` is None for an invalid one; `of` counts the rows that have the target.
    """
    wrong: dict[tuple[str, str, str | None], list[str]] = {}
    totals: Counter[tuple[str, str]] = Counter()
    for row in rows:
        for name in task.fields if row.prediction is not None and task.kind == "classify" else ():
            target = row.example.target.get(name)
            answer = scorers.said(row.prediction, name) if row.prediction else None
            if target is not None:
                totals[name, str(target)] += 1
                if answer != target:
                    wrong.setdefault((name, str(target), answer), []).append(cut(row.example.input, SHORT))
    most = sorted(wrong.items(), key=lambda item: (-len(item[1]), str(item[0])))[:CONFUSIONS]
    return [
        {"output": name, "target": target, "answer": answer, "n": len(texts), "of": totals[name, target],
         "examples": texts[:EACH]}
        for (name, target, answer), texts in most
    ]  # fmt: skip


def different(task: Task, candidates: Mapping[str, Sequence[Answered]], *, seed: int = 0) -> list[JsonObject]:
    """Up to 14 rows to which candidates gave different answers, those that most candidates answered first.

    Each is {id, input, target, answers: {candidate: {value, confidence, right}}}.
    """
    by_place: dict[int, dict[str, Answered]] = {}
    for name, rows in candidates.items():
        for row in rows:
            if row.prediction is not None:
                by_place.setdefault(row.place, {})[name] = row
    score = scorers.whole(task)
    differing = [place for place, said in by_place.items() if _differ(task, list(said.values()))]
    chance = random.Random(seed)  # noqa: S311 - a sample, not a secret
    keyed = sorted((-len(by_place[place]), chance.random(), place) for place in sorted(differing))
    picked = [place for _, _, place in keyed[:DIFFERENT]]
    return [_row(task, score, by_place[place]) for place in picked]


def unanswered(rows: Sequence[Answered]) -> JsonObject:
    """Why rows went unanswered: reason → how many."""
    return dict(Counter(cut(row.error, SAID) for row in rows if row.prediction is None))


def shown(task: Task, value: JsonValue) -> str:
    """A target or an answer as people read it: the bare label of a single output, the text, else JSON; cut short."""
    if value is None:
        return ""
    if task.kind != "extract" and len(task.fields) == 1:
        return cut(str(value.get(task.fields[0], "")), SAID)
    return cut(to_json(value).decode(), SAID)


def cut(text: str, most: int) -> str:
    """`text` on one line, at most `most` characters."""
    # A text of megabytes is cut before its blanks are folded, so that showing it costs nothing.
    line = " ".join(text[: most * 4].split())
    return line if len(line) <= most and len(text) <= most * 4 else line[: most - 1] + "…"


def _differ(task: Task, said: Sequence[Answered]) -> bool:
    answers = [[scorers.said(row.prediction, name) for name in task.fields] for row in said if row.prediction]
    return any(answer != answers[0] for answer in answers[1:])


def _row(task: Task, score: scorers.Scorer, said: Mapping[str, Answered]) -> JsonObject:
    example = next(iter(said.values())).example
    answers = {}
    for name, row in said.items():
        if row.prediction is not None:
            mark = score(example, row.prediction)
            answers[name] = {
                "value": shown(task, row.prediction.value if row.valid else None),
                "confidence": row.prediction.confidence,
                "right": None if mark is None else mark == 1,
            }
    return {"id": example.id, "input": cut(example.input, INPUT), "target": shown(task, example.target),
            "answers": answers}  # fmt: skip
