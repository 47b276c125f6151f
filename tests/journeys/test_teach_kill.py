"""Killed at any moment, teaching goes on: nothing is lost, nothing is paid for twice, the budget holds."""

import asyncio
import json
import os
import random
import signal
import sys
from pathlib import Path

import pytest
from teaching import PAID, fill, label_of, place, right_label, text

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
from insource.store import Store
from paid_server import Day, PaidServer

ROWS, KILLS, BUDGET = 60, 8, 1.0
COMMAND = ("-m", "insource", "teach", "tickets", "--teacher", "large", "--second", "other", "--second-share", "0.3")
MORE = ("--budget", str(BUDGET), "--yes", "--json", "--at-once", "6")


async def start(root: Path) -> asyncio.subprocess.Process:
    """The command, on its way."""
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(sys.executable, *COMMAND, *MORE, cwd=root, stdout=pipe, stderr=pipe)


async def whole(root: Path) -> dict:
    """What the command says when nobody kills it."""
    process = await start(root)
    out, said = await process.communicate()
    assert process.returncode == 0, said.decode()
    return json.loads(out)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_killed_again_and_again_it_ends_with_every_label_and_within_its_budget(tmp_path):
    chance = random.Random(7)  # noqa: S311 - when to kill is no secret
    async with PaidServer(label_of, Day(busy=0.05, takes_s=0.05)) as server:
        paid = [PAID.format(name=name, url=server.base_url, more="") for name in ("large", "other")]
        settings = place(tmp_path, *paid)
        async with await Store.open(settings) as store:
            await fill(settings, store, ROWS)
        seen = 0
        for _ in range(KILLS):
            before, process = server.calls, await start(tmp_path)
            while server.calls == before and process.returncode is None:
                await asyncio.sleep(0.01)
            await asyncio.sleep(chance.uniform(0.0, 0.15))
            seen += server.calls - before
            if process.returncode is None:
                os.kill(process.pid, signal.SIGKILL)
            await process.communicate()
        taught = await whole(tmp_path)
        async with await Store.open(settings) as store:
            dataset = await store.dataset("tickets")
            rows = await store.examples(dataset.id)
            lessons = await store.lessons.of("tickets")
            assert {row.input: row.target["intent"] for row in rows} == {text(n): right_label(n) for n in range(ROWS)}
            lost = [one for one in lessons if one.why.startswith("the process that asked was killed")]
            assert len(lost) > 0
            assert all(one.usd == one.most and not one.known for one in lost)
            labels = [one.row for one in lessons if one.became == "label"]
            assert len(labels) == len(set(labels)) == ROWS
            assert not [one for one in lessons if one.became == "asked"]
            assert (await store.verify_chain()).faults == ()
        assert server.billed <= taught["spent"] <= BUDGET
        assert taught["differing"]["n"] == 18
        assert (await whole(tmp_path))["plan"]["rows"] == 0
    assert seen > KILLS
