"""The verdict against arithmetic: a scripted frontier of known accuracy and price, and the volume at which it turns.

    python bench/verdict.py [DATA] [--cases 200] [--inferior 200] [--json]

In each case a frontier and an own way, both scripted, answer the same 400 rows through the path that serves, at an
accuracy that is known; the frontier's price, the machine's rate, what one machine bears and what people cost are drawn
by chance. Their answers are kept and told from as those of any run of `insource migrate`. The volume is then raised, a
machine at a time, until the verdict turns from stay to go, and that place is narrowed down by bisection. Beside it
stands the break-even by arithmetic of its own: for k = 1, 2, … machines the calls a day at which k machines and people
cost what the frontier does. With --inferior an own way that is worse by exactly the margin is judged at a volume at
which it would be far cheaper: how often it is a go all the same.
"""

import argparse
import asyncio
import json
import math
import random
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from insource.journeys.lineup import quiet
from insource.journeys.migrate_ask import asked, reported
from insource.journeys.migrate_facts import Facts
from insource.journeys.migrate_kept import Kept
from insource.journeys.migrate_told import judged, met
from insource.measure import About
from insource.measure.load import Load
from insource.nouns import Dataset, Example, Output, Report, Task, digest
from insource.nouns.assessment import Assessment, Criteria, Entrant, Prices, Verdict
from insource.nouns.pricing import Effort, MachineRate, Tokens, Use
from insource.nouns.sections import EngineSettings
from insource.price.tables import apis, machines
from insource.release.verdict import verdict
from insource.settings import Settings
from insource.stats import clopper_pearson, clopper_pearson_upper
from insource.store import Store

ROWS, MARGIN, MACHINES, MOST = 400, 0.02, 300, 3e7
LABELS = ("up", "down", "level", "none")
WORDS_IN = 8  # words of a text: what a scripted engine counts as tokens
DAYS = 365 / 12
TASK = Task(name="bench", kind="classify", metric="accuracy", outputs=(Output(name="label", labels=LABELS),),
            acceptance={"accuracy": 0.5}, sensitivity="any")  # fmt: skip


class World(NamedTuple):
    """What is true in a case."""

    frontier: float
    own: float
    usd_call: float
    usd_hour: float
    held: float
    people: float
    peak: float

    @property
    def carries(self) -> float:
        """Calls a day that one machine bears."""
        return self.held * 86_400 / self.peak

    def break_even(self) -> float | None:
        """The fewest calls a day at which the own way is not dearer: by arithmetic, machine by machine."""
        for count in range(1, MACHINES + 1):
            at = (self.people + count * self.usd_hour * 24 * DAYS) / (self.usd_call * DAYS)
            fewest = (count - 1) * self.carries
            if at <= count * self.carries:
                return max(at, fewest)
        return None


def world(dice: random.Random, gap: float) -> World:
    """A case by chance; the own way's accuracy is the frontier's and `gap`."""
    frontier = dice.uniform(0.80, 0.95)
    return World(
        frontier=frontier,
        own=frontier + gap,
        usd_call=10 ** dice.uniform(-5, -2),
        usd_hour=10 ** dice.uniform(-1.3, 0.7),
        held=10 ** dice.uniform(-0.3, 2.3),
        people=dice.choice((0.0, dice.uniform(100, 4000))),
        peak=dice.uniform(1, 5),
    )


class Played(NamedTuple):
    """What a verdict is told from, and the case it belongs to."""

    facts: Facts
    sample: Report
    found: list[Entrant]
    case: World


def rows() -> list[Example]:
    """Texts of eight words, each with a number of its own."""
    made = []
    for i in range(ROWS):
        text, target = f"what became of number {i:04d} in the morning", {"label": LABELS[i % 4]}
        made.append(Example(id=Example.identity("bench", text, target), task="bench", input=text, target=target,
                            split="test"))  # fmt: skip
    return made


def script(path: Path, examples: list[Example], right: set[int]) -> None:
    """Answers to every row, wrong where it is not among the `right`."""
    lines = []
    for i in range(len(examples)):
        said = LABELS[i % 4] if i in right else LABELS[(i + 1) % 4]
        lines.append(json.dumps({"match": f"{i:04d}", "value": {"label": said}}))
    path.write_text("\n".join(lines) + "\n", "utf-8")


def correct(dice: random.Random, accuracy: float, by_chance: bool) -> set[int]:
    """The rows that are answered right: exactly so many, or each by chance."""
    if by_chance:
        return {i for i in range(ROWS) if dice.random() < accuracy}
    return set(dice.sample(range(ROWS), round(ROWS * accuracy)))


Player = tuple[set[int], float | None]  # the rows that it answers right, US dollars a call; None on the premises


def settings_of(folder: Path, players: dict[str, Player]) -> Settings:
    """Scripted engines: APIs somewhere else, at their prices, and the own way here."""
    engines = {}
    for name, (_, usd) in players.items():
        price = (usd or 0.0) * 1e6 / (WORDS_IN + 1)
        engines[name] = EngineSettings(
            kind="scripted",
            script=f"{name}.jsonl",
            region="premises" if usd is None else "us",
            usd_per_million_input=price,
            usd_per_million_output=price,
        )
    return Settings(root=folder, cache=folder, engines=engines)


def two(case: World, dice: random.Random, by_chance: bool) -> dict[str, Player]:
    """The frontier, which does the work today, and the own way."""
    return {"frontier": (correct(dice, case.frontier, by_chance), case.usd_call),
            "own": (correct(dice, case.own, by_chance), None)}  # fmt: skip


async def played(store: Store, folder: Path, case: World, players: dict[str, Player]) -> Played:
    """All answer; what a verdict is told from, but for the volume. The first does the work today."""
    examples, incumbent = rows(), next(iter(players))
    for name, (right, _) in players.items():
        script(folder / f"{name}.jsonl", examples, right)
    criteria = Criteria(
        task="bench", task_digest=digest(TASK), dataset=digest(examples), sample="", rows=ROWS, of=ROWS, half_width=0.0,
        metric="accuracy", acceptance=TASK.acceptance, max_error=None, margin=MARGIN, incumbent=incumbent, ends="",
        candidates={}, untuned_rows=0, hard_rows=0, bases=(), recipe={}, load_s=0.0,
    )  # fmt: skip
    placed = list(enumerate(examples))
    dataset = Dataset(id=criteria.dataset, task="bench", counts={"test": ROWS})
    kept = Kept(TASK, settings_of(folder, players), store, dataset, criteria, placed,
                Assessment(id="", task="bench", created=""), lambda _: None, quiet)  # fmt: skip
    found = {name: await asked(kept, name, placed) for name in players}
    held = Load(task="bench", candidate="own", url="", split="test", seed=0, target_ms=200.0, target_of="bench",
                steps=(), held=case.held)  # fmt: skip
    facts = Facts(TASK, criteria, priced(case, 1.0), None, found, {}, {"own": held}, {}, [])
    about = About(dataset=criteria.dataset, split="test")
    sample = reported(store, TASK, list(found.values()), placed, (about, ""))
    return Played(facts, sample, met(store, facts, sample, None), case)


def priced(case: World, calls: float) -> Prices:
    """What costs are told from at so many calls a day."""
    return Prices(
        use=Use(calls_per_day=calls, peak=case.peak),
        volume=True,
        machine=MachineRate(name="machine", on_demand=case.usd_hour),
        paid="on_demand",
        effort=Effort(fte=1.0, salary_usd=12 * case.people),
    )


def at(seen: Played, calls: float) -> Verdict:
    """The verdict at so many calls a day."""
    return verdict(judged(replace(seen.facts, prices=priced(seen.case, calls)), seen.sample, seen.found)[0])


def able(seen: Played) -> bool:
    """Whether the own way is shown not to be inferior."""
    way = next(way for way in judged(seen.facts, seen.sample, seen.found)[0].ways if way.name == "own")
    return way.against is not None and way.against.low > -MARGIN


def turned(seen: Played) -> float | None:
    """The fewest calls a day at which the verdict is go; None where it is not with `MACHINES` machines either.

    Between two numbers of machines both bills are straight lines, so that the verdict turns once at most.
    """
    carries = seen.case.carries
    for count in range(MACHINES):
        low, high = count * carries * (1 + 1e-9) + 1e-6, (count + 1) * carries
        if at(seen, high).word != "go":
            continue
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (low, middle) if at(seen, middle).word == "go" else (middle, high)
        return high
    return None


async def run(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """All cases, as one document."""
    settings = Settings(root=folder, cache=folder)
    (folder / ".insource").mkdir()
    flips: list[dict[str, float]] = []
    never, inferior_go, inferior_far = 0, 0, 0
    started = time.monotonic()
    async with await Store.open(settings) as store:
        dice = random.Random(0)  # noqa: S311 - cases, not secrets
        while len(flips) < given.cases:
            case = world(dice, dice.uniform(0.0, 0.05))
            expected = case.break_even()
            seen = await played(store, folder, case, two(case, dice, by_chance=False))
            if not able(seen):
                never += 1
                inferior_far += at(seen, MOST).word == "go"
            elif expected is not None:
                flips.append({"expected": expected, "found": turned(seen) or math.inf})
            elif turned(seen) is not None:
                flips.append({"expected": math.inf, "found": 0.0})
            _tell(len(flips), given.cases, started)
        for number in range(given.inferior):
            case = world(dice, -MARGIN)
            seen = await played(store, folder, case, two(case, dice, by_chance=True))
            inferior_go += at(seen, min(MOST, 4 * (case.break_even() or MOST))).word == "go"
            _tell(number + 1, given.inferior, started)
        shown = [await realistic(store, folder, one) for one in REALISTIC]
    errors = sorted(abs(one["found"] / one["expected"] - 1) for one in flips)
    return {
        "cases": len(flips), "worst": errors[-1], "p95": errors[int(0.95 * len(errors))], "flips": flips,
        "not_shown": never, "not_shown_go": inferior_far, "rows": ROWS, "margin": MARGIN,
        "inferior": given.inferior, "inferior_go": inferior_go,
        "inferior_upper95": clopper_pearson_upper(inferior_go, given.inferior),
        "inferior_low95": clopper_pearson(inferior_go, given.inferior)[0],
        "realistic": shown, "volumes": [min(one["expected"] for one in flips), max(one["expected"] for one in flips)],
    }  # fmt: skip


PRICES, BOX = apis(), machines()["aws-c7i.xlarge"]
MAIL = Tokens(input=600, output=20)  # a mail with its instruction, and a label
# what it is, calls a day, who does the work today, who else was asked, what the own way holds on that machine
REALISTIC = (
    ("a thousand mails a day on a cheap API", 1_000, "gpt-6-luna", "", 40.0),
    ("ten thousand mails a day on GPT-4o, a cheap API as good", 10_000, "gpt-4o", "gpt-6-luna", 40.0),
    ("a hundred thousand mails a day on GPT-4o, no other API asked", 100_000, "gpt-4o", "", 40.0),
)


async def realistic(store: Store, folder: Path, told: tuple[str, int, str, str, float]) -> dict[str, Any]:
    """A case at list prices, a quarter of an engineer at $150,000 a year: everyone is right on the same rows."""
    what, calls, today, other, held = told
    right = set(range(round(0.93 * ROWS)))
    case = World(0.93, 0.93, PRICES[today].call(MAIL), BOX.on_demand or 0.0, held, 0.25 * 150_000 / 12, 2.0)
    players: dict[str, Player] = {today: (right, case.usd_call), "own": (right, None)}
    if other:
        players[other] = (right, PRICES[other].call(MAIL))
    found = at(await played(store, folder, case, players), calls)
    return {"what": what, "calls_per_day": calls, "word": found.word, "way": found.way, "sentence": found.sentence,
            "break_even": case.break_even(), "changes": [change.words for change in found.changes]}  # fmt: skip


def _tell(done: int, of: int, started: float) -> None:
    if done % 20 == 0:
        print(f"{done} of {of}, {time.monotonic() - started:.0f} s", file=sys.stderr)


def main() -> None:
    """Reads the arguments, runs, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--inferior", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        document = asyncio.run(run(given, Path(folder)))
    if given.json:
        json.dump(document, sys.stdout)
    else:
        print(msgspec.json.encode({key: value for key, value in document.items() if key != "flips"}).decode())


if __name__ == "__main__":
    main()
