"""Training speed against peft + transformers' Trainer: the same base, rows, rank, batch, rate and one epoch, one run.

    python bench/training_speed.py DATA_FOLDER [--base smollm2-135m] [--rows 1280] [--labels 10] [--json]

DATA_FOLDER holds train.csv and test.csv (text, category). The peer groups rows of like length and is measured over the
whole epoch, with its accuracy on the same test rows: in bfloat16 where the CPU multiplies that fast, else in float32.
Rows/s are those of the loop; what goes before it (loading, the start of the head) happens once and is timed apart.
"""

import argparse
import contextlib
import csv
import json
import platform
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from insource.engines.local import LocalModel
from insource.engines.models import resolve
from insource.engines.readout import pick_dtype
from insource.nouns import Example, Output, Task
from insource.settings import cache_folder
from insource.stats import wilson
from insource.train.recipe import Recipe

RATE, RANK, BATCH = 1e-3, 16, 32


def rows(path: Path, labels: set[str], count: int) -> list[tuple[str, str]]:
    """The first `count` rows with one of `labels`, in a fixed scattered order."""
    with path.open(newline="", encoding="utf-8") as file:
        found = [(r["text"], r["category"]) for r in csv.DictReader(file) if r["category"] in labels]
    found.sort(key=lambda row: Example.identity("", row[0], {}))
    return found[:count]


def ours(base: LocalModel, train: list[tuple[str, str]], test: list[tuple[str, str]], labels: list[str]) -> dict:
    """Our loop: rows/s over the epoch, accuracy on the test rows, and the seconds spent before it."""
    from insource.train.fit import fit
    from insource.train.loop import Voice

    task = Task(name="speed", kind="classify", outputs=(Output(name="category", labels=tuple(labels)),))

    def examples(pairs: list[tuple[str, str]]) -> list[Example]:
        return [Example(id=str(i), task="speed", input=x, target={"category": y}) for i, (x, y) in enumerate(pairs)]

    recipe = Recipe(epochs=1, rank=RANK, batch=BATCH, learning_rate=RATE, label_names=False)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "artefact"
        place.mkdir()
        fit(task, (examples(train), examples(test)), base, recipe, place, voice=Voice(lambda _: None, lambda *_: None))
        history = json.loads((place / "history.json").read_text())
    accuracy = history["checks"][-1]["accuracy"]
    return found(len(train), history["seconds"], history["prepared"], accuracy)


def found(rows: int, seconds: float, before: float, accuracy: float) -> dict:
    """What is said of one side."""
    whole = rows / (seconds + before)
    return {"rows_per_s": rows / seconds, "seconds": seconds, "before_s": before, "accuracy": accuracy,
            "whole_rows_per_s": whole}  # fmt: skip


def peer(base: LocalModel, train: list, test: list, labels: list[str], *, bf16: bool) -> dict:
    """The peer, peft + Trainer."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, Trainer, TrainingArguments

    tokenizer = AutoTokenizer.from_pretrained(base.folder)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    torch.manual_seed(0)
    start = time.perf_counter()
    model = AutoModelForSequenceClassification.from_pretrained(
        base.folder, num_labels=len(labels), dtype=torch.float32, pad_token_id=tokenizer.pad_token_id
    )
    config = LoraConfig(task_type="SEQ_CLS", r=RANK, lora_alpha=2 * RANK, target_modules="all-linear")
    model = get_peft_model(model, config)
    loaded = time.perf_counter() - start
    number = {label: i for i, label in enumerate(labels)}
    encode = [{**tokenizer(x + tokenizer.eos_token), "labels": number[y]} for x, y in train]
    held = [{**tokenizer(x + tokenizer.eos_token), "labels": number[y]} for x, y in test]
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder, num_train_epochs=1, per_device_train_batch_size=BATCH, learning_rate=RATE,
            per_device_eval_batch_size=64, bf16=bf16, train_sampling_strategy="group_by_length", warmup_steps=0.1,
            lr_scheduler_type="cosine", report_to=[], save_strategy="no", logging_strategy="no", use_cpu=True, seed=0,
            optim="adamw_torch_fused", disable_tqdm=True, weight_decay=0.0,
        )  # fmt: skip
        trainer = Trainer(model, arguments, train_dataset=encode, processing_class=tokenizer)
        start = time.perf_counter()
        with contextlib.redirect_stdout(sys.stderr):  # it prints its figures there
            trainer.train()
        seconds = time.perf_counter() - start
        said = trainer.predict(held)  # in an order of its own: by length
    accuracy = float((said.predictions.argmax(1) == said.label_ids).mean())
    return found(len(train), seconds, loaded, accuracy)


def main() -> None:
    """Runs both and prints the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--base", default="smollm2-135m")
    parser.add_argument("--rows", type=int, default=1280)
    parser.add_argument("--labels", type=int, default=10)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    base = resolve(given.base, cache_folder(), progress=lambda *_: None)
    with (given.data / "train.csv").open(newline="", encoding="utf-8") as file:
        counts = Counter(row["category"] for row in csv.DictReader(file))
    labels = sorted(label for label, _ in counts.most_common(given.labels))
    train = rows(given.data / "train.csv", set(labels), given.rows)
    test = rows(given.data / "test.csv", set(labels), 10_000)
    import torch
    from transformers import AutoModel, Trainer  # noqa: F401 - imported before any clock runs

    fast = pick_dtype("cpu") is torch.bfloat16
    name = f"peft + Trainer, {'bfloat16' if fast else 'float32'}"
    results = {"ours": ours(base, train, test, labels), name: peer(base, train, test, labels, bf16=fast)}
    for side, result in results.items():
        for rate, ratio in (("rows_per_s", "ratio"), ("whole_rows_per_s", "whole_ratio")):
            result[ratio] = results["ours"][rate] / result[rate]
        result["low"], result["high"] = wilson(round(result["accuracy"] * len(test)), len(test))
        if not given.json:
            print(f"{side:26} {result['rows_per_s']:6.1f} rows/s   ours is {result['ratio']:.2f}x   "
                  f"accuracy {result['accuracy']:.1%}, {result['before_s']:.0f} s before the loop")  # fmt: skip
    machine = f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"
    document = {"bench": "training_speed", "machine": machine, "bf16_fast": fast, "train_rows": len(train),
                "test_rows": len(test), "labels": len(labels), "results": results}  # fmt: skip
    if given.json:
        json.dump(document, sys.stdout)


if __name__ == "__main__":
    main()
