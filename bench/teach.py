"""A teacher of known accuracy labels BANKING77 with a second opinion, and is killed at random moments.

    python bench/teach.py DATA/banking77 [--runs 40] [--rows 150] [--draws 2000] [--json]

Two providers who send a bill (`paid_server`) answer right as often as they are told to, and have bad days. Each run is
`insource teach` on rows of its own, killed with SIGKILL again and again, then left to end; half of the runs have a
budget that is too small. Held against each other are the bill, what the command says was spent, and the budget; and
whether the interval for how often the two differ has the share that it is of all rows. Beside it two negative controls:
the same without anything reserved, and the sum of what answers said they cost, which knows nothing of calls that broke
off.
"""

import argparse
import asyncio
import csv
import json
import os
import platform
import random
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from insource.collect.purse import Purse
from insource.collect.teach import chance, differing, spread
from insource.journeys import asking
from insource.journeys.init import init
from insource.journeys.pool import pool
from insource.journeys.teach import teach
from insource.journeys.teach_plan import Wanted
from insource.nouns import Example, Output, Task
from insource.nouns.lesson import Lesson
from insource.settings import load_settings, load_task
from insource.stats import clopper_pearson, zero_failures_upper
from insource.store import Store
from paid_server import Day, PaidServer

KILLS, SHARE, ENDS = 5, 0.3, 4
RIGHT = {"teacher": 0.92, "second": 0.88}
BAD = Day(busy=0.05, broken=0.02, late=0.01, garbage=0.03, late_s=1.5, takes_s=0.02)
ENOUGH, TIGHT = 6.0, {False: 0.4, True: 1.0}
ENGINE = """
[engines.{name}]
kind = "openai"
base_url = "{url}"
model = "paid"
region = "premises"
teach = "allowed"
timeout_s = 1.0
usd_per_million_input = 2.0
usd_per_million_output = 8.0
"""


@dataclass(frozen=True)
class Set:
    """The rows of the set, text to label, and its labels."""

    rows: dict[str, str]
    labels: list[str]

    def said_by(self, who: str) -> Callable[[str], str]:
        """What an engine answers to a text: right as often as `RIGHT` says, the same each time."""

        def said(text: str) -> str:
            right = self.rows[text]
            if chance(1, f"{who} {text}") < RIGHT[who]:
                return right
            others = [label for label in self.labels if label != right]
            return others[int(chance(2, f"{who} {text}") * len(others))]

        return said


def read(folder: Path) -> Set:
    """The train rows, each text once."""
    with (folder / "train.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["text"].strip(): row["category"] for row in csv.DictReader(file) if row["text"].strip()}
    return Set(rows, sorted(set(rows.values())))


def workspace(root: Path, data: Set, texts: list[str], engines: dict[str, str]) -> None:
    """A task, the texts as a file, and the engines."""
    init(root)
    (root / "labels").mkdir(exist_ok=True)
    (root / "labels" / "intents.txt").write_text("\n".join(data.labels) + "\n", "utf-8")
    task = 'name = "bank"\nkind = "classify"\ninstruction = "What does the customer want?"\n'
    (root / "tasks" / "bank.toml").write_text(f'{task}[outputs.intent]\nlabels = "labels/intents.txt"\n', "utf-8")
    config = root / "insource.toml"
    made = "".join(ENGINE.format(name=name, url=url) for name, url in engines.items())
    config.write_text(config.read_text("utf-8") + made, "utf-8")
    with (root / "pool.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps({"input": text}) + "\n" for text in texts)


async def fill(root: Path) -> None:
    """Takes the file in."""
    settings = load_settings(root)
    async with await Store.open(settings) as store:
        await pool("bank", [root / "pool.jsonl"], settings, store)


async def command(root: Path, budget: float, kill: Callable[[], float] | None, calls: Callable[[], int]) -> Any:
    """Runs the command; with `kill` it is killed so many seconds after its first call, and None comes back."""
    words = [
        "-m",
        "insource",
        "teach",
        "bank",
        "--teacher",
        "teacher",
        "--second",
        "second",
        "--second-share",
        str(SHARE),
    ]
    words += ["--budget", str(budget), "--yes", "--json"]
    pipe, before = asyncio.subprocess.PIPE, calls()
    process = await asyncio.create_subprocess_exec(sys.executable, *words, cwd=root, stdout=pipe, stderr=pipe)
    ended = asyncio.create_task(process.communicate())
    if kill is not None:
        while calls() == before and not ended.done():  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0.005)
        await asyncio.wait([ended], timeout=kill())
        if not ended.done():
            os.kill(process.pid, signal.SIGKILL)
            await ended
            return None
    out, said = await ended
    if process.returncode not in (0, 4):
        raise RuntimeError(said.decode())
    return json.loads(out)


async def one(number: int, data: Set, rows: int) -> dict[str, Any]:
    """One run: killed, left to end, and what it came to."""
    draw = random.Random(number)  # noqa: S311 - no secret
    greedy, is_tight = bool(number % 2), bool(number // 2 % 2)
    budget = TIGHT[greedy] if is_tight else ENOUGH
    texts = draw.sample(sorted(data.rows), rows)
    ours = [PaidServer(data.said_by(who), BAD, greedy=greedy, seed=number) for who in RIGHT]
    async with ours[0], ours[1]:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            workspace(root, data, texts, {who: server.base_url for who, server in zip(RIGHT, ours, strict=True)})
            await fill(root)
            kills, said = 0, None
            for _ in range(KILLS):
                said = await command(root, budget, lambda: draw.uniform(0.0, 1.2), lambda: sum(s.calls for s in ours))
                kills += said is None
            for _ in range(ENDS):
                said = await command(root, budget, None, lambda: 0)
                if said["plan"]["rows"] == 0 or said["stopped"]:
                    break
            async with await Store.open(load_settings(root)) as store:
                lessons = await store.lessons.of("bank")
                faults = len((await store.verify_chain()).faults)
            return _judged(data, texts, lessons, ours) | {
                "greedy": greedy, "tight": is_tight, "budget": budget, "kills": kills, "stopped": said["stopped"],
                "said": said["spent"], "audit_faults": faults,
            }  # fmt: skip


def _judged(data: Set, texts: list[str], lessons: list[Lesson], servers: list[PaidServer]) -> dict[str, Any]:
    """The bill beside what was counted; labels lost or paid for twice; and the two engines' difference."""
    teacher, second = (data.said_by(who) for who in RIGHT)
    seconds = [one for one in lessons if one.part == "second"]
    found = differing(seconds)
    heard = {one.row for one in lessons if one.part == "teacher" and one.became in ("label", "disputed")}
    settled = {one.row for one in lessons if one.part == "teacher" and one.became not in ("failed", "asked")}
    differ = [teacher(text) != second(text) for text in texts if Example.identity("bank", text, {}) in heard]
    truth = sum(differ) / max(1, len(differ))
    return {
        "billed": sum(server.billed for server in servers),
        "known": sum(one.usd for one in lessons if one.known),
        "rows": len(texts),
        "settled": len(settled),
        "labels": len(heard),
        "again": sum(times - 1 for server in servers for times in server.answered.values()),
        "lost": sum(one.became == "failed" for one in lessons),
        "truth": truth,
        "n": found.n if found else 0,
        "covers": None if found is None else found.low <= truth <= found.high,
    }


class Forgetful(Purse):
    """The negative control: nothing is held for calls under way."""

    def take(self, call: str, most: float, beside: float = 0.0) -> bool:
        """As long as something is left."""
        del call, most, beside
        return self._budget is None or self._spent < self._budget


async def control(number: int, data: Set, rows: int) -> bool:
    """Whether the bill exceeds the budget where nothing is reserved; not killed, in this process."""
    texts = random.Random(1000 + number).sample(sorted(data.rows), rows)  # noqa: S311 - no secret
    async with PaidServer(data.said_by("teacher"), Day(takes_s=0.02), greedy=True, seed=number) as server:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            workspace(root, data, texts, {"teacher": server.base_url})
            await fill(root)
            settings = load_settings(root)
            async with await Store.open(settings) as store:
                wanted = Wanted(teacher="teacher", budget=0.3, at_once=16)
                await teach(load_task(settings, "bank"), settings, store, wanted)
            return server.billed > 0.3


async def controls(count: int, data: Set, rows: int) -> int:
    """How many of the controls exceed their budget."""
    real = asking.Purse
    import insource.journeys.teach as journey

    journey.Purse = Forgetful  # type: ignore[misc]
    try:
        return sum([await control(number, data, rows) for number in range(count)])
    finally:
        journey.Purse = real  # type: ignore[misc]


def coverage(data: Set, draws: int, share: float) -> dict[str, Any]:
    """How often the interval of a sample has the share that holds of all rows, and how large samples are."""
    task = Task(name="bank", kind="classify", outputs=(Output(name="intent", labels=tuple(data.labels)),))
    teacher, second = (data.said_by(who) for who in RIGHT)
    lessons = [
        Lesson(id=text, task="bank", row=text, key="", engine="teacher", became="label",
               target={"intent": teacher(text)})
        for text in data.rows
    ]  # fmt: skip
    differs = {text: teacher(text) != second(text) for text in data.rows}
    truth = sum(differs.values()) / len(differs)
    covered = n = 0
    for seed in range(draws):
        drawn = spread(task, lessons, share, seed)
        said = [
            Lesson(id=one.id, task="bank", row=one.row, key="", part="second", engine="second",
                   became="differs" if differs[one.row] else "agrees")
            for one in drawn
        ]  # fmt: skip
        found = differing(said)
        assert found is not None
        n = found.n
        covered += found.low <= truth <= found.high
    low, high = clopper_pearson(covered, draws)
    return {"rows": len(lessons), "n": n, "draws": draws, "truth": truth, "covered": covered, "share": covered / draws,
            "low": low, "high": high}  # fmt: skip


async def measured(data: Set, given: argparse.Namespace) -> dict[str, Any]:
    """All runs, two at a time, then the controls."""
    seats, runs = asyncio.Semaphore(2), list[dict[str, Any]]()

    async def seated(number: int) -> None:
        async with seats:
            runs.append(await one(number, data, given.rows))
            print(f"  {len(runs)} of {given.runs}: {runs[-1]}", file=sys.stderr)

    async with asyncio.TaskGroup() as group:
        for number in range(given.runs):
            group.create_task(seated(number))
    return {"runs": runs, "control": {"runs": given.controls, "exceeded": await controls(given.controls, data, 60)}}


def summed(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The runs in figures."""
    n, enough = len(runs), [run for run in runs if not run["tight"]]
    covers = [run["covers"] for run in runs if run["covers"] is not None]
    return {
        "n": n,
        "kills": sum(run["kills"] for run in runs),
        "exceeded": sum(run["billed"] > run["budget"] for run in runs),
        "upper": zero_failures_upper(n),
        "understated": sum(run["billed"] > run["said"] + 1e-9 for run in runs),
        "known_understated": sum(run["billed"] > run["known"] + 1e-9 for run in runs),
        "stopped": sum("budget" in run["stopped"] for run in runs),
        "tight": sum(run["tight"] for run in runs),
        "lost": sum(run["rows"] - run["settled"] for run in enough),
        "rows": sum(run["rows"] for run in enough),
        "again": sum(run["again"] for run in runs),
        "broken_off": sum(run["lost"] for run in runs),
        "audit_faults": sum(run["audit_faults"] for run in runs),
        "covers": sum(covers),
        "intervals": len(covers),
        "billed_share": sum(run["billed"] for run in runs if run["tight"]) / max(
            1e-9, sum(run["budget"] for run in runs if run["tight"])
        ),
    }  # fmt: skip


def main() -> None:
    """Runs it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--rows", type=int, default=150)
    parser.add_argument("--controls", type=int, default=20)
    parser.add_argument("--draws", type=int, default=2_000)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    data = read(given.data)
    document = {"bench": "teach", "right": RIGHT, "machine": f"{platform.machine()}, {os.cpu_count()} cores"}
    document |= asyncio.run(measured(data, given))
    document["figures"] = summed(document["runs"])
    document["coverage"] = coverage(data, given.draws, 0.05)
    print(json.dumps(document) if given.json else json.dumps(document["figures"] | document["coverage"], indent=1))


if __name__ == "__main__":
    main()
