"""A workspace with a pool of inputs and engines that teach, for tests."""

from pathlib import Path

from insource.collect.columns import Wish
from insource.journeys.init import init
from insource.journeys.pool import pool
from insource.journeys.teach import Taught, teach
from insource.journeys.teach_plan import Wanted
from insource.nouns import Dataset, Example, digest
from insource.settings import Settings, load_settings, load_task
from insource.store import Store

LABELS = ("refund", "status", "cancel")
TASK = """
name = "tickets"
kind = "classify"
instruction = "What does the customer want?"
{more}
[outputs.intent]
labels = ["refund", "status", "cancel"]
"""
PAID = """
[engines.{name}]
kind = "openai"
base_url = "{url}"
model = "big"
region = "premises"
teach = "allowed"
timeout_s = 2.0
usd_per_million_input = 2.0
usd_per_million_output = 8.0
{more}
"""
SCRIPTED = """
[engines.{name}]
kind = "scripted"
script = "{name}.jsonl"
region = "{region}"
"""
WORDS = {"refund": "money back for the {}", "status": "where is my {}", "cancel": "i do not want the {} any more"}


def text(number: int) -> str:
    """An input; which label is right stands in its words."""
    name = digest([number])
    thing = "".join(chr(97 + int(letter, 16)) for letter in name[:24])
    return f"{WORDS[right_label(number)].format(thing[:8])} {thing[8:16]} {thing[16:]}"


def right_label(number: int) -> str:
    """The label of `text(number)`."""
    return LABELS[number % 3]


def label_of(said: str) -> str:
    """What a teacher that is never wrong answers."""
    return next(label for label, words in WORDS.items() if said.startswith(words.partition(" {}")[0]))


def place(root: Path, *engines: str, more: str = "", task: str = "tickets") -> Settings:
    """The workspace, made at `root`."""
    init(root)
    config = root / "insource.toml"
    config.write_text(config.read_text() + "".join(engines))
    (root / "tasks" / f"{task}.toml").write_text(TASK.format(more=more))
    return load_settings(root)


def script(root: Path, name: str, *lines: str) -> None:
    """The script of an engine."""
    (root / f"{name}.jsonl").write_text("\n".join(lines) + "\n")


def right_script(root: Path, name: str, *first: str) -> None:
    """A script that is always right, but for what its `first` lines say."""
    said = [
        f'{{"match": "{words.partition(" {}")[0]}", "value": {{"intent": "{label}"}}, "confidence": 0.9}}'
        for label, words in WORDS.items()
    ]
    script(root, name, *first, *said)


async def fill(settings: Settings, store: Store, rows: int) -> None:
    """So many inputs in the pool."""
    file = settings.root / "pool.csv"
    file.write_text("text\n" + "\n".join(text(number) for number in range(rows)) + "\n")
    await pool("tickets", [file], settings, store, wish=Wish())


async def keep_rows(store: Store, rows: list[Example]) -> None:
    """Rows of people, as the task's dataset."""
    counts = {split: sum(row.split == split for row in rows) for split in ("train", "dev", "test")}
    made = Dataset(id=digest([row.id for row in rows]), task="tickets", counts=counts)
    await store.save_dataset(made, rows)


async def lesson(settings: Settings, store: Store, **wanted: object) -> Taught:
    """One run of teaching, with no question asked."""
    given = {"teacher": "large", "at_once": 4} | wanted
    return await teach(load_task(settings, "tickets"), settings, store, Wanted(**given))
