"""The labelled sets of bench/extract.py: each reader gives a task and its rows, already split.

sroie      receipts.jsonl: OCR text → company, date, address, total. 500 to train (50 of them dev), 126 to test, seed 0.
spans      clause_spans.jsonl of CUAD: a clause of 40 characters or more → its type, split by contract.
contracts  contracts.jsonl.gz and clause_spans.jsonl of CUAD: a contract → the clauses of each type, the same split.
nhtsa      docs.jsonl: the summary of a recall document → its type, split by recall.

What must stay together (a contract, a recall) goes to a split by the SHA-256 of its name: 20% test, 8% dev, the rest
train. So a split is the same wherever it is made.
"""

import gzip
import hashlib
import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from insource.nouns import Example, JsonObject

LEAST, LONGEST = 40, 1000


class Set(NamedTuple):
    """A task file as text, the files it names, and the rows."""

    task: str
    files: dict[str, str]
    rows: list[Example]


def sroie(data: Path, rows: int = 0) -> Set:
    """Receipts; `rows` limits those to train (0 = all)."""
    found = [(each["ocr_text"], each["fields"]) for each in lines(data / "receipts.jsonl")]
    random.Random(0).shuffle(found)  # noqa: S311 - a split, not a secret
    sizes = {"company": 80, "date": 24, "address": 200, "total": 16}
    made = []
    for place, (text, fields) in enumerate(found):
        target = {name: fields.get(name) or None for name in sizes}
        split = "test" if place >= 500 else "dev" if place < 50 else "train"
        if split != "train" or not rows or place < 50 + rows:
            made.append(example(text, target, split))
    schema = {
        "type": "object",
        "properties": {name: {"type": ["string", "null"], "maxLength": size} for name, size in sizes.items()},
        "required": list(sizes),
        "additionalProperties": False,
    }
    return Set(task("extract", "Find the company, the date, the address and the total of the receipt.", schema=True),
               {"schemas/bench.json": json.dumps(schema)}, once(made))  # fmt: skip


def spans(data: Path, rows: int = 0) -> Set:
    """Clauses and their types."""
    found = [each for each in lines(data / "clause_spans.jsonl") if len(each["text"]) >= LEAST]
    made = [example(each["text"], {"label": each["category"]}, split_of(each["contract"])) for each in found]
    return classified("Choose the type of the contract clause.", made, rows)


def nhtsa(data: Path, rows: int = 0) -> Set:
    """Recall documents and their types."""
    found = [each for each in lines(data / "docs.jsonl") if each["text"].strip()]
    made = [example(each["text"], {"label": each["doc_type"]}, split_of(each["recall_id"])) for each in found]
    return classified("Choose the type of the recall document.", made, rows)


def contracts(data: Path, rows: int = 0, test: int = 0) -> Set:
    """Whole contracts and all that CUAD's lawyers marked in them; `rows` and `test` limit the contracts (0 = all)."""
    gold = marked(data)
    kinds = sorted({kind for kind, _, _, _ in (span for spans in gold.values() for span in spans)})
    with gzip.open(data / "contracts.jsonl.gz", "rt", encoding="utf-8") as file:
        texts = {each["id"]: each["text"] for each in map(json.loads, file)}
    made = []
    for name in sorted(texts, key=lambda name: hashlib.sha256(name.encode()).hexdigest()):
        target = {kind: said(gold.get(name, []), kind) for kind in kinds}
        made.append(example(texts[name], {kind: each for kind, each in target.items() if each}, split_of(name)))
    schema = {
        "type": "object",
        "properties": {kind: {"type": "array", "items": {"type": "string", "maxLength": LONGEST}} for kind in kinds},
        "additionalProperties": False,
    }
    limits = {"train": rows, "dev": max(1, rows // 8) if rows else 0, "test": test}
    return Set(task("extract", "Find the clauses of each type in the contract.", schema=True),
               {"schemas/bench.json": json.dumps(schema)}, limited(once(made), limits))  # fmt: skip


def marked(data: Path) -> dict[str, list[tuple[str, int, int, str]]]:
    """By contract what is marked in it: type, first character, character after the last, text."""
    found: dict[str, list[tuple[str, int, int, str]]] = {}
    for each in lines(data / "clause_spans.jsonl"):
        if each["start"] is not None and each["end"] is not None:
            found.setdefault(each["contract"], []).append((each["category"], each["start"], each["end"], each["text"]))
    return found


def names(data: Path, texts: list[str]) -> list[str]:
    """The names of the contracts with these texts."""
    with gzip.open(data / "contracts.jsonl.gz", "rt", encoding="utf-8") as file:
        known = {each["text"]: each["id"] for each in map(json.loads, file)}
    return [known[text] for text in texts]


def said(spans: Iterable[tuple[str, int, int, str]], kind: str) -> list[str]:
    """The texts of one type, in the contract's order, each once."""
    return list(dict.fromkeys(text for each, _, _, text in sorted(spans, key=lambda span: span[1]) if each == kind))


def classified(instruction: str, rows: list[Example], limit: int) -> Set:
    """A classify set; a text that repeats with its label counts once, `limit` of the train rows are kept (0 = all)."""
    labels = sorted({str(row.target["label"]) for row in rows})
    kept = limited(once(rows), {"train": limit})
    return Set(task("classify", instruction), {"labels/bench-label.txt": "\n".join(labels) + "\n"}, kept)


def split_of(name: str) -> str:
    """The split of what must stay together."""
    part = int(hashlib.sha256(name.encode()).hexdigest(), 16) % 100
    return "test" if part < 20 else "dev" if part < 28 else "train"


def example(text: str, target: JsonObject, split: str) -> Example:
    """A row of the task bench."""
    return Example(id=Example.identity("bench", text, target), task="bench", input=text, target=target, split=split)


def once(rows: list[Example]) -> list[Example]:
    """Rows that say the same once, on the test side if they are there; in the order of their ids."""
    rank = {"test": 0, "dev": 1, "train": 2}
    kept: dict[str, Example] = {}
    for row in sorted(rows, key=lambda row: rank[row.split]):
        kept.setdefault(row.id, row)
    return [kept[key] for key in sorted(kept)]


def limited(rows: list[Example], limits: dict[str, int]) -> list[Example]:
    """At most so many rows of a split; ids are digests, so the first ones are a fair draw."""
    left = {split: limit or len(rows) for split, limit in limits.items()}
    kept = []
    for row in rows:
        left[row.split] = left.get(row.split, len(rows)) - 1
        kept += [row] if left[row.split] >= 0 else []
    return kept


def task(kind: str, instruction: str, *, schema: bool = False) -> str:
    """The task file."""
    output = 'schema = "schemas/bench.json"\n' if schema else ""
    labels = "" if schema else '[outputs.label]\nlabels = "labels/bench-label.txt"\n'
    metric = "f1" if schema else "accuracy"
    head = f'name = "bench"\nkind = "{kind}"\ninstruction = {json.dumps(instruction)}\n{output}'
    return f"{head}{labels}[acceptance]\n{metric} = 0.0\n"


def lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON lines file."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]
