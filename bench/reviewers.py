"""Eight people at one queue, and kills: python bench/reviewers.py [DATA] [--items 5000] [--kills 20] [--json].

Each person is a process with the workspace's store, which takes some items (the leases of `insource review`), looks at
each for a moment, settles it and says so. Now and then one of them is killed with SIGKILL, and another comes. At the
end what they said is held against the store: each item settled once, by the person who held it, none lost.
Of every tenth item two people must have said their word, each blind to the other, before it is settled.
The control takes from the same queue without leases, as if it were alone.
"""

import argparse
import asyncio
import json
import os
import platform
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from insource.nouns import Pending, Record
from insource.settings import Settings, load_settings
from insource.stats import zero_failures_upper
from insource.store import Store

HELD_S = 10.0  # longer than a busy machine lets anybody take for five items
PERSON = """
import asyncio, sys
from pathlib import Path
from insource.errors import Conflict
from insource.nouns import Review
from insource.settings import load_settings
from insource.store import Store

async def work(root, name, leases, held):
    async with await Store.open(load_settings(Path(root))) as store:
        while True:
            if leases == "1":
                mine = await store.lease("t", name, 5, float(held))
            else:
                mine = await store.pending("t", 5)
            if not mine and not await store.pending("t", 1):
                return
            for one in mine:
                print("took", one.record, flush=True)
                await asyncio.sleep(0.002)
                try:
                    await store.settle(Review(record=one.record, verdict="right", reviewer=name))
                    print("settled", one.record, flush=True)
                except Conflict:
                    print("late", one.record, flush=True)
            if not mine:
                await asyncio.sleep(0.1)

asyncio.run(work(*sys.argv[1:]))
"""


async def filled(settings: Settings, items: int, *, double: bool) -> None:
    """A queue of so many items; with `double` two people have to see every tenth."""
    async with await Store.open(settings) as store:
        for start in range(0, items, 500):
            some = range(start, min(start + 500, items))
            await asyncio.gather(*[store.append(_record(i), _pending(i, double=double)) for i in some])


def _record(i: int) -> Record:
    return Record(id=f"{i:032x}", task="t", release=None, tenant="local", attempts=(), outcome="review",
                  input_hash="", latency_ms=1.0, created="2026-11-27T00:00:00.000+00:00")  # fmt: skip


def _pending(i: int, *, double: bool) -> Pending:
    return Pending(record=f"{i:032x}", task="t", input=f"text {i}", value={"a": "b"}, worth=(i * 7919 % 100) / 100,
                   eyes=2 if double and i % 10 == 0 else 1)  # fmt: skip


class Crowd:
    """People at the queue, and what they said."""

    def __init__(self, settings: Settings, *, leases: bool) -> None:
        self._root, self._leases, self._names = str(settings.root), str(int(leases)), 0
        self.took: list[tuple[str, str]] = []
        self.settled: list[tuple[str, str]] = []
        self.late = 0
        self.killed = set[str]()

    async def person(self) -> asyncio.subprocess.Process:
        """One more."""
        self._names += 1
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            PERSON,
            self._root,
            f"p{self._names}",
            self._leases,
            str(HELD_S),
            stdout=asyncio.subprocess.PIPE,
        )

    async def listen(self, name: str, process: asyncio.subprocess.Process) -> None:
        """Hears what one says until it ends."""
        assert process.stdout is not None
        async for line in process.stdout:
            word, _, record = line.decode().strip().partition(" ")
            if len(record) != 32:
                continue  # cut off by a kill
            if word == "took":
                self.took.append((record, name))
            elif word == "settled":
                self.settled.append((record, name))
            else:
                self.late += 1
        await process.wait()

    async def run(self, people: int, kills: int, dice: random.Random) -> None:
        """Everybody works until nothing waits; so many are killed on the way, and each has a successor."""
        running: dict[asyncio.Task[None], tuple[str, asyncio.subprocess.Process]] = {}

        async def add() -> None:
            process = await self.person()
            name = f"p{self._names}"
            running[asyncio.create_task(self.listen(name, process))] = name, process

        for _ in range(people):
            await add()
        while running:
            pause = dice.uniform(0.4, 1.2) if len(self.killed) < kills else None
            done, _ = await asyncio.wait(running, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                del running[task]
            if not done and running and len(self.killed) < kills:
                name, process = dice.choice([one for one in running.values() if one[0] not in self.killed])
                process.kill()
                self.killed.add(name)
                await add()


async def measure(items: int, people: int, kills: int, *, leases: bool) -> dict[str, Any]:
    """One queue, emptied."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "insource.toml").write_text("")
        settings = load_settings(root)
        await filled(settings, items, double=leases)
        began = time.monotonic()
        crowd = Crowd(settings, leases=leases)
        await crowd.run(people, kills, random.Random(3))  # noqa: S311 - the same kills each time
        took = time.monotonic() - began
        async with await Store.open(settings) as store:
            settled = await store.reviews("t")
            words = [review for _, review in await store.opinions("t")]
            waiting = len(await store.pending("t", items))
            faults = len((await store.verify_chain()).faults)
    on_record = Counter(review.record for _, review in settled)
    eyes = {pending.record: pending.eyes for pending, _ in settled}
    by = {(one.record, one.reviewer) for one in (*[review for _, review in settled], *words)}
    said = Counter(record for record, _ in crowd.settled)
    holders: dict[str, set[str]] = {}
    for record, name in crowd.took:
        holders.setdefault(record, set()).add(name)
    shared = [record for record, names in holders.items() if len(names - crowd.killed) > eyes.get(record, 1)]
    pairs = Counter(one.record for one in words)
    for_two = [record for record, count in eyes.items() if count == 2]
    twice = sum(n > 1 for n in on_record.values()) + sum(n > eyes.get(record, 1) for record, n in said.items())
    return {
        "items": items, "people": people, "killed": len(crowd.killed), "seconds": round(took, 1),
        "settled": len(on_record), "twice": twice,
        "lost": items - len(on_record), "waiting": waiting,
        "told_and_not_on_record": sum(one not in by for one in crowd.settled),
        "seen_by_two": len(shared), "for_two": len(for_two),
        "not_by_two": sum(pairs[record] != 2 for record in for_two), "late": crowd.late, "chain_faults": faults,
        "a_second": round(len(on_record) / took, 1),
    }  # fmt: skip


def main() -> None:
    """Runs it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", help="not needed")
    parser.add_argument("--items", type=int, default=5_000)
    parser.add_argument("--people", type=int, default=8)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    kept = asyncio.run(measure(given.items, given.people, given.kills, leases=True))
    control = asyncio.run(measure(400, given.people, 0, leases=False))
    document = {"bench": "reviewers", "kept": kept, "control": control,
                "upper95": zero_failures_upper(given.items),
                "machine": f"{platform.machine()}, {os.cpu_count()} cores"}  # fmt: skip
    print(json.dumps(document) if given.json else json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
