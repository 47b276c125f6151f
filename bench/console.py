"""The console as a person uses it: python bench/console.py [DATA] [--items 300] [--calls 50000] [--json].

`insource serve` over a workspace of three tasks, one of them with 4,000 labels, in headless Chromium (playwright):

- every page in both themes, at 360 and 1,280 pixels: what axe-core finds, what the browser complains of, what is wider
  than the window, and every request that goes to another host;
- a queue reviewed by keyboard alone, a key drawn by chance for each item: items a minute, and what the store holds;
- calls of one caller, one after another, while people open a page of the console five times a second, and while nobody
  does, in turns: what a page costs who calls.
"""

import argparse
import asyncio
import json
import os
import platform
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from insource.nouns import Attempt, Decision, Pending, Prediction, Record, stamp
from insource.nouns.record import record_id
from insource.settings import load_settings
from insource.stats import zero_failures_upper
from insource.store import Store

KEYS = ("Enter", "1", "2", "3", "x", "d", "n")
VERDICTS = {
    "Enter": "right",
    "1": "right",
    "x": "wrong",
    "2": "wrong",
    "3": "wrong",
    "d": "unsure",
    "n": "none_of_these",
}
PAGES = ("", "tasks/tickets", "tasks/tickets/review", "tasks/industries/review", "tasks/invoices/review",
         "tasks/tickets/drift", "tasks/tickets/move", "calls", "reports", "governance", "login", "nowhere")  # fmt: skip
LOOKED_AT = ("", "tasks/tickets", "calls", "calls?outcome=failed", "governance")
TICKETS = 'name = "tickets"\nkind = "classify"\n[outputs.intent]\nlabels = ["refund", "status", "cancel", "other"]\n'
INDUSTRIES = 'name = "industries"\nkind = "classify"\n[outputs.industry]\ntaxonomy = "leaves.txt"\n'
INVOICES = (
    'name = "invoices"\nkind = "extract"\n[schema]\ntype = "object"\n[schema.properties.total]\ntype = "number"\n'
)
ENGINE = '[engines.hub]\nkind = "scripted"\nscript = "hub.jsonl"\nmodel = "hub"\nusd_per_million_output = 1.0\n'
ROUNDS, ROUND_S, PAUSE_S = 6, 5.0, 0.19


def furnish(root: Path) -> None:
    """The workspace."""
    (root / "tasks").mkdir()
    (root / "insource.toml").write_text(ENGINE)
    (root / "hub.jsonl").write_text('{"match": "*", "text": "hello there"}\n')
    leaves = [f"Sector {a} / Branch {b} / Trade {c}" for a in range(10) for b in range(40) for c in range(10)]
    (root / "leaves.txt").write_text("\n".join(leaves) + "\n")
    for name, body in {"tickets": TICKETS, "industries": INDUSTRIES, "invoices": INVOICES}.items():
        (root / "tasks" / f"{name}.toml").write_text(body)


def call(task: str, value: dict[str, Any], text: str = "") -> tuple[Record, Pending | None]:
    """A call on record; one with a text waits for a person."""
    now = stamp(time.time())
    decision = Decision(engine="one", rule="task", accepted=not text, reason="a bench", confidence=0.6, threshold=0.8)
    said = Prediction(text="", value=value, engine="one", confidence=0.6)
    record = Record(id=record_id(), task=task, release=f"{task}@1.0.0", tenant="local", input_hash="0" * 64, usd=0.0,
                    outcome="review" if text else "answered", latency_ms=3.0, created=now,
                    attempts=(Attempt(decision=decision, prediction=said),))  # fmt: skip
    if not text:
        return record, None
    return record, Pending(record=record.id, task=task, input=text, value=value, confidence=0.6, reason="a bench",
                           created=now, worth=0.4)  # fmt: skip


async def fill(root: Path, items: int, calls: int) -> None:
    """Calls on record, and what waits."""
    values = {"tickets": {"intent": "refund"}, "industries": {"industry": "Sector 3 / Branch 12 / Trade 2"},
              "invoices": {"total": 99.5}}  # fmt: skip
    rows = [call("tickets", values["tickets"]) for _ in range(calls)]
    rows += [call("tickets", values["tickets"], f"please give me money back, number {i}") for i in range(items)]
    rows += [call(task, value, "Invoice A-17 over 99.5") for task, value in values.items() if task != "tickets"]
    async with await Store.open(load_settings(root)) as store:
        for start in range(0, len(rows), 2_000):
            await asyncio.gather(*[store.append(*row) for row in rows[start : start + 2_000]])


@asynccontextmanager
async def serving(root: Path) -> AsyncIterator[str]:
    """A gateway's URL."""
    command = (sys.executable, "-m", "insource", "serve", "--port", "0", "--json")
    process = await asyncio.create_subprocess_exec(
        *command, cwd=root, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        assert process.stdout is not None
        yield json.loads(await process.stdout.readline())["url"]
    finally:
        process.terminate()
        await process.wait()


async def looks(chromium: Any, url: str) -> dict[str, Any]:
    """Every page, as it is seen."""
    from axe_playwright_python.async_playwright import Axe

    found: Counter[str] = Counter()
    for theme in ("light", "dark"):
        for width in (360, 1280):
            context = await chromium.new_context(
                base_url=url, color_scheme=theme, viewport={"width": width, "height": 800}
            )
            page = await context.new_page()
            page.on("pageerror", lambda _: found.update(["complaints"]))
            page.on("console", lambda said: found.update(["complaints"] * _is_fault(said)))
            page.on("request", lambda asked: found.update([_where(asked.url, url)]))
            for name in PAGES:
                await page.goto(f"/console/{name}")
                found["looks"] += 1
                found["too_wide"] += await page.evaluate("document.documentElement.scrollWidth > innerWidth")
                found["violations"] += (await Axe().run(page)).violations_count
            await context.close()
    names = ("looks", "requests", "elsewhere", "complaints", "too_wide", "violations")
    return {name: found[name] for name in names} | {"pages": len(PAGES)}


def _is_fault(said: Any) -> bool:
    """Whether the browser complains; of a page that is not there it does, and rightly."""
    return said.type == "error" and "404" not in said.text


def _where(asked: str, url: str) -> str:
    return "requests" if asked.startswith((url, "data:")) else "elsewhere"


async def review(chromium: Any, url: str, root: Path, items: int) -> dict[str, Any]:
    """The queue, by keys alone."""
    keys = random.Random(3)  # noqa: S311 - which key, not a secret
    context = await chromium.new_context(base_url=url)
    page = await context.new_page()
    await page.goto("/console/tasks/tickets/review")
    wanted: Counter[str] = Counter()
    began, times = time.perf_counter(), []
    for _ in range(items):
        key = keys.choice(KEYS)
        wanted[VERDICTS[key]] += 1
        pressed = time.perf_counter()
        async with page.expect_navigation():
            await page.keyboard.press(key)
        times.append(time.perf_counter() - pressed)
    took = time.perf_counter() - began
    await context.close()
    async with await Store.open(load_settings(root)) as store:
        said = Counter(review.verdict for _, review in await store.reviews("tickets"))
        left = len(await store.pending("tickets", items))
        faults = len((await store.verify_chain()).faults)
    return {"items": items, "a_minute": items / took * 60, "p50_ms": statistics.median(times) * 1000,
            "as_pressed": said == wanted, "left": left, "chain_faults": faults}  # fmt: skip


async def beside(url: str) -> dict[str, Any]:
    """A caller's times with a console that is read without a pause, and without."""
    times: dict[bool, list[float]] = {True: [], False: []}
    shown: list[float] = []
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
        for turn in range(2 * ROUNDS):
            read = bool(turn % 2)
            reading = asyncio.create_task(_read(http, url, shown)) if read else None
            until = time.perf_counter() + ROUND_S
            while time.perf_counter() < until:
                began = time.perf_counter()
                body = {"model": "hub", "messages": [{"role": "user", "content": "hi"}]}
                async with http.post(f"{url}/v1/chat/completions", json=body) as answer:
                    await answer.read()
                    assert answer.status == 200
                times[read].append((time.perf_counter() - began) * 1000)
                await asyncio.sleep(0.002)
            if reading is not None:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)
    return {
        "pages": len(shown),
        "page_p50_ms": statistics.median(shown),
        **{f"{'read' if read else 'alone'}_p{q}_ms": sorted(some)[int(len(some) * q / 100)]
           for read, some in times.items() for q in (50, 95, 99)},
        "calls": len(times[True]),
    }  # fmt: skip


async def _read(http: aiohttp.ClientSession, url: str, shown: list[float]) -> None:
    while True:
        for name in LOOKED_AT:
            began = time.perf_counter()
            async with http.get(f"{url}/console/{name}") as answer:
                await answer.read()
                assert answer.status == 200
            shown.append((time.perf_counter() - began) * 1000)
            await asyncio.sleep(PAUSE_S)


async def bench(items: int, calls: int) -> dict[str, Any]:
    """All of it."""
    from playwright.async_api import async_playwright

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        furnish(root)
        await fill(root, items, calls)
        async with serving(root) as url, async_playwright() as tools:
            chromium = await tools.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            found = {"looks": await looks(chromium, url), "review": await review(chromium, url, root, items)}
            await chromium.close()
            found["beside"] = await beside(url)
    looked = found["looks"]["looks"]
    return found | {"records": calls, "upper95": zero_failures_upper(looked)}


def main() -> None:
    """Runs it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", help="not used")
    parser.add_argument("--items", type=int, default=300)
    parser.add_argument("--calls", type=int, default=50_000)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if shutil.which("chromium") is None:
        sys.exit("this takes chromium: apt-get install chromium")
    found = asyncio.run(bench(given.items, given.calls))
    document = {"bench": "console", **found, "machine": f"{platform.machine()}, {os.cpu_count()} cores"}
    print(json.dumps(document) if given.json else json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
