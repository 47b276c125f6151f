"""improve, nightly and promote, killed with SIGKILL at any step.

    python bench/kill_steps.py [DATA] [--kills 200] [--json]

A workspace with a live release of the linear engine and people's verdicts. In each round there are new verdicts;
`insource improve`, `insource nightly`, or a promotion and a rollback is started, killed at a random moment, some times
over, and then run to its end. After every kill the store opens, the audit chain is whole, one release is live, one at
most is on trial, and every release has its files as they were released. At the end of a round the work is done, once.
"""

import argparse
import asyncio
import json
import os
import platform
import random
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

from hostile_place import examples
from insource.journeys.promote import promote, verify
from insource.journeys.train import train
from insource.nouns import Check, Dataset, Gate, Pending, Record, Release, Review, digest
from insource.settings import Settings, load_settings, load_task
from insource.stats import zero_failures_upper
from insource.store import Store

TASK = """
name = "tickets"
kind = "classify"
[outputs.intent]
labels = ["refund", "status", "cancel"]
[acceptance]
accuracy = 0.3
[rollout]
staging_days = 0
"""
ROWS, AGAIN = 24, 3  # new verdicts a round; kills before the work may end
LABELS = ("refund", "status", "cancel")
LONGEST_S = {"improve": 5.0, "nightly": 2.0, "promote": 1.5, "rollback": 1.5}


def command(root: Path, *words: str) -> list[str]:
    """The verb, as typed."""
    return [sys.executable, "-m", "insource", "-C", str(root), *words, "--json"]


async def gated(settings: Settings, store: Store) -> Release:
    """A release that passed its gate."""
    made = await train(load_task(settings, "tickets"), settings, store, base="linear")
    check = Check(name="accuracy", demanded="≥ 0.3", found="0.9", passed=True)
    await store.save_gate(Gate(release=made.name, artefact=made.artefact, checks=(check,), report="bench"))
    return made


async def made(root: Path) -> Settings:
    """The workspace, with two releases that were live one after the other."""
    (root / "tasks").mkdir(parents=True)
    (root / "insource.toml").write_text("")
    (root / "tasks" / "tickets.toml").write_text(TASK)
    settings, rows = load_settings(root), examples()
    async with await Store.open(settings) as store:
        counts = dict(Counter(row.split for row in rows))
        await store.save_dataset(Dataset(id=digest([row.id for row in rows]), task="tickets", counts=counts), rows)
        for _ in range(2):
            await promote(await gated(settings, store), settings, store)
    return settings


async def verdicts(settings: Settings, number: int) -> None:
    """What people said since the last round."""
    async with await Store.open(settings) as store:
        for i in range(ROWS):
            name, label = f"{number * ROWS + i:032x}", LABELS[i % 3]
            await store.append(
                Record(id=name, task="tickets", release=None, tenant="local", attempts=(), outcome="review",
                       input_hash="", latency_ms=1.0, created="2026-11-27T00:00:00.000+00:00"),
                Pending(record=name, task="tickets", input=f"{label} as in case {number} of row {i}",
                        value={"intent": label}),
            )  # fmt: skip
            await store.settle(Review(record=name, verdict="right", decided="2026-11-27T00:00:00+00:00"))


async def faults(settings: Settings) -> list[str]:
    """What may not be, whatever was killed."""
    async with await Store.open(settings) as store:
        found = [f"audit: {fault}" for fault in (await store.verify_chain()).faults]
        releases = await store.releases("tickets")
        stages = Counter(release.stage for release in releases)
        if stages["live"] != 1:
            found.append(f"{stages['live']} releases are live")
        if stages["shadow"] + stages["canary"] > 1:
            found.append("two are on trial")
        for release in releases:
            found += [f"{release.name}: {fault}" for fault in (await verify(release, settings)).faults]
        dataset = await store.dataset("tickets")
        rows = await store.examples(dataset.id) if dataset else []
        if len({row.id for row in rows}) != len(rows):
            found.append("a row twice")
    return found


async def killed(words: list[str], root: Path, after: float) -> bool:
    """Starts the verb and kills it after so many seconds; whether it was still at work."""
    process = await asyncio.create_subprocess_exec(
        *command(root, *words), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        await asyncio.wait_for(process.wait(), after)
    except TimeoutError:
        with suppress(ProcessLookupError):  # it ended at that very moment
            process.send_signal(signal.SIGKILL)
        return await process.wait() == -signal.SIGKILL
    return False


async def finished(words: list[str], root: Path) -> tuple[int, Any]:
    """Runs the verb to its end: exit code and document."""
    process = await asyncio.create_subprocess_exec(
        *command(root, *words), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    said, error = await process.communicate()
    code = process.returncode or 0
    return code, json.loads(said) if said.strip() else {"error": error.decode()[-500:]}


async def words_of(kind: str, settings: Settings) -> list[str]:
    """What is typed for this round."""
    if kind in ("improve", "nightly"):
        return [kind, "tickets"] if kind == "improve" else [kind]
    async with await Store.open(settings) as store:
        tried = await store.on_trial("tickets")
        if tried is not None:
            await promote(tried, settings, store, to="retired", why="drill")
        if kind == "promote":
            return ["release", "promote", (await gated(settings, store)).name]
    return ["release", "rollback", "tickets"]


async def done(kind: str, code: int, said: Any, settings: Settings, before: str) -> list[str]:
    """What is amiss after the verb has run to its end; a change that a killed run had made is no fault."""
    async with await Store.open(settings) as store:
        live = await store.live("tickets")
        now = live.name if live else ""
        if kind == "improve":
            human = sum(row.origin == "human" for row in await store.examples((await store.dataset("tickets")).id))  # type: ignore[union-attr]
            reviews = len(await store.reviews("tickets"))
            return [] if code == 0 and human == reviews else [f"improve ended with {code}, {human} of {reviews} rows"]
    if kind == "nightly":
        return [] if code == 0 else [f"nightly ended with {code}: {said}"]
    moved = now != before
    return [] if moved and code in (0, 2) else [f"{kind} ended with {code}, {before} → {now}: {said}"]


async def drill(root: Path, kills: int, seed: int) -> dict[str, Any]:
    """Round after round, until so many were killed at work."""
    settings, dice = await made(root), random.Random(seed)  # noqa: S311 - the same moments each time
    struck: Counter[str] = Counter()
    amiss: list[str] = []
    took: dict[str, list[float]] = {kind: [] for kind in LONGEST_S}
    number = 0
    while sum(struck.values()) < kills:
        kind = ("improve", "nightly", "promote", "rollback")[number % 4]
        if kind == "improve":
            await verdicts(settings, number)
        words = await words_of(kind, settings)
        async with await Store.open(settings) as store:
            live = await store.live("tickets")
        for _ in range(AGAIN):
            struck[kind] += await killed(words, root, dice.uniform(0.2, LONGEST_S[kind]))
            amiss += [f"{kind}, killed: {fault}" for fault in await faults(settings)]
        began = time.monotonic()
        code, said = await finished(words, root)
        took[kind].append(time.monotonic() - began)
        amiss += await done(kind, code, said, settings, live.name if live else "")
        amiss += [f"{kind}, ended: {fault}" for fault in await faults(settings)]
        number += 1
        print(
            f"  round {number}: {kind}, {sum(struck.values())} of {kills} killed, {len(amiss)} amiss", file=sys.stderr
        )
    median = {kind: round(statistics.median(s), 1) for kind, s in took.items() if s}
    return {"kills": sum(struck.values()), "by_verb": dict(struck), "rounds": number, "amiss": amiss[:20],
            "faults": len(amiss), "took_s": median}  # fmt: skip


def main() -> None:
    """Runs it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", help="not needed")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=4)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(drill(Path(folder) / "place", given.kills, given.seed))
    document = {"bench": "kill_steps", "upper95": zero_failures_upper(found["kills"]),
                "machine": f"{platform.machine()}, {os.cpu_count()} cores"} | found  # fmt: skip
    print(json.dumps(document) if given.json else json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
