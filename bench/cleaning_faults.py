"""Faults put into the train rows of BANKING77 by a seed, each row at most one of them, and known by its text.

    noise       12% of the rows carry another label: half of them any other, half one of the three most alike
    drift       5%: half in labels' older names, half in an older form of the answer, an object with another field
    leaks       3%: rows of the test, as they are, lightly edited, or with words added or swapped
    mixed       5%: questions of CLINC150 from domains that no bank has, and gold headlines: a third told another thing
                (system prompt), a third under their own labels, a third forced into a label of the task

The rows are written as the log of a model's API, so the labels are its word; the test rows are a table of people's.
"""

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

Rows = list[tuple[str, str]]
NOISE, DRIFT, LEAKS, MIXED = 0.12, 0.05, 0.03, 0.05
PROMPT = "You are the first line of a bank's support. Answer with the one intent that the customer has."
OTHER = "Say in one word what this question to a voice assistant is about, or whether gold rises or falls in the news."
FOREIGN = ("kitchen_and_dining", "home", "auto_and_commute", "travel", "meta", "small_talk")
RENAMED = {
    "lost_or_stolen_card": "card_gone_missing", "exchange_rate": "fx_quote", "age_limit": "minimum_age",
    "card_arrival": "Card Arrival", "cash_withdrawal_charge": "CASH-WITHDRAWAL-CHARGE",
    "pending_transfer": "transfer hangs",
}  # fmt: skip


class Line(NamedTuple):
    """One line of the log: the prompt, the text, what was answered, the fault that it is ("" for none), and the truth.

    `truth_text` is the test row that it copies.
    """

    system: str
    text: str
    answer: str
    fault: str
    truth: str
    truth_text: str = ""


def faulty(train: Rows, test: Rows, foreign: Rows, *, seed: int = 0) -> list[Line]:
    """The train rows with faults among them."""
    rng = random.Random(seed)  # noqa: S311 - a benchmark, not a secret
    rows = list(train)
    rng.shuffle(rows)
    labels = sorted({label for _, label in rows})
    alike = confusable(rows, labels)
    noisy, drifted = int(NOISE * len(rows)), int(DRIFT * len(rows))
    lines = [_noise(row, labels, alike, rng, half=i % 2) for i, row in enumerate(rows[:noisy])]
    rest = rows[noisy:]
    named = [row for row in rest if row[1] in RENAMED][: drifted // 2]
    rest = [row for row in rest if row not in set(named)]
    lines += [Line(PROMPT, text, RENAMED[label], "drift: a label's older name", label) for text, label in named]
    formed, rest = rest[: drifted - drifted // 2], rest[drifted - drifted // 2 :]
    lines += [
        Line(PROMPT, text, json.dumps({"intent": label}), "drift: an older form", label) for text, label in formed
    ]
    lines += [Line(PROMPT, text, label, "", label) for text, label in rest]
    for i, (text, label) in enumerate(rng.sample(test, int(LEAKS * len(rows)))):
        kind, edit = EDITS[i % len(EDITS)]
        lines.append(Line(PROMPT, edit(text, rng), label, f"leaks: {kind}", label, text))
    lines += _mixed(rng.sample(foreign, int(MIXED * len(rows))), labels, rng)
    rng.shuffle(lines)
    return lines


def _noise(
    row: tuple[str, str], labels: list[str], alike: dict[str, list[str]], rng: random.Random, *, half: int
) -> Line:
    text, label = row
    wrong = rng.choice([one for one in (alike[label] if half else labels) if one != label])
    return Line(PROMPT, text, wrong, f"noise: {'confusable' if half else 'uniform'}", label)


def _mixed(rows: Rows, labels: list[str], rng: random.Random) -> list[Line]:
    lines = []
    for i, (text, label) in enumerate(rows):
        if i % 3 == 0:
            lines.append(Line(OTHER, text, label, "mixed: another prompt", ""))
        elif i % 3 == 1:
            lines.append(Line(PROMPT, text, label, "mixed: own labels", ""))
        else:
            lines.append(Line(PROMPT, text, rng.choice(labels), "mixed: forced into a label", ""))
    return lines


def confusable(rows: Rows, labels: Sequence[str]) -> dict[str, list[str]]:
    """For each label the three whose mean TF-IDF row is nearest."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    features = TfidfVectorizer(sublinear_tf=True).fit_transform([text for text, _ in rows])
    given = np.array([labels.index(label) for _, label in rows])
    means = np.stack(
        [np.asarray(features[np.flatnonzero(given == i)].mean(axis=0)).ravel() for i in range(len(labels))]
    )
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    cosine = means @ means.T
    np.fill_diagonal(cosine, -1)
    return {label: [labels[j] for j in np.argsort(-cosine[i])[:3]] for i, label in enumerate(labels)}


def _typo(text: str, rng: random.Random) -> str:
    at = rng.randrange(1, max(2, len(text) - 1))
    return text[:at] + text[at + 1 :] if rng.random() < 0.5 else text[:at] + text[at - 1] + text[at:]


def _lightly(text: str, rng: random.Random) -> str:
    return _typo(text.lower().rstrip("?.!"), rng)


def _words(text: str, rng: random.Random) -> str:
    words = text.split()
    at = rng.randrange(max(1, len(words) - 1))
    words[at : at + 2] = reversed(words[at : at + 2])
    return rng.choice(("Hi, ", "Hello! ", "Please help: ")) + " ".join(words)


EDITS: tuple[tuple[str, Callable[[str, random.Random], str]], ...] = (
    ("as they are", lambda text, _: text), ("a typo, no capitals", _lightly), ("words added and swapped", _words),
)  # fmt: skip


def foreign_rows(clinc150: Path, headlines: Path) -> Rows:
    """Questions of other domains and headlines, with labels of their own."""
    domains = json.loads((clinc150 / "domains.json").read_text("utf-8"))
    wanted = {intent for domain in FOREIGN for intent in domains[domain]}
    asked = json.loads((clinc150 / "data_full.json").read_text("utf-8"))["train"]
    rows = [(text, label) for text, label in asked if label in wanted]
    news = (headlines / "train.csv").read_text("utf-8").splitlines()
    gold = [line.removeprefix('"Q: ') for line in news if line.startswith('"Q: ')]
    return rows + [(text, "gold") for text in gold[:2_000]]


def as_log(lines: Sequence[Line]) -> str:
    """The lines as requests and responses, one a line."""
    return "".join(
        json.dumps({
            "request": {"model": "incumbent-1", "messages": [
                {"role": "system", "content": line.system}, {"role": "user", "content": line.text}]},
            "response": {"model": "incumbent-1", "choices": [
                {"finish_reason": "stop", "message": {"role": "assistant", "content": line.answer}}]},
        }) + "\n"
        for line in lines
    )  # fmt: skip
