"""Rows, answers and runs for the tests of measuring."""

import random

from insource.measure.run import Answered, Run
from insource.nouns import Example, Output, Prediction, Task

LABELS = ("leak", "noise", "crack")
TASK = Task(
    name="defects",
    kind="classify",
    outputs=(Output(name="kind", labels=LABELS),),
    metric="accuracy",
    acceptance={"accuracy": 0.8, "p95_ms": 250},
)
RECEIPT = Task(
    name="receipts",
    kind="extract",
    schema={"type": "object", "properties": {"company": {"type": "string"}, "total": {"type": "number"}}},
    metric="f1",
)


def example(number, target=None, text="", tags=None):
    target = {"kind": LABELS[number % 3]} if target is None else target
    return Example(id=f"row{number}", task="t", input=text or f"report {number}", target=target, tags=tags or {})


def said(value, confidence=None, finish="stop"):
    return Prediction(text=str(value), value=value, engine="e", confidence=confidence, finish=finish)


def answered(number, value, target=None, confidence=None, **more):
    prediction = said(value, confidence, "stop" if value is not None else "invalid")
    return Answered(number, example(number, target, **more), prediction)


def run(share, rows=120, seed=0, sure=0.9):
    """A candidate that is right on a seeded share of the rows."""
    chance = random.Random(seed)  # noqa: S311 - test data
    made = []
    for number in range(rows):
        right = chance.random() < share
        label = LABELS[number % 3] if right else LABELS[(number + 1) % 3]
        confidence = min(0.999, max(0.05, sure + chance.uniform(-0.2, 0.1)))
        made.append(answered(number, {"kind": label}, confidence=confidence))
    return Run(tuple(made), tuple(chance.uniform(5, 9) for _ in range(50)), 100.0)
