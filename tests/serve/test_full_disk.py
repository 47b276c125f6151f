"""Every verb on a disk that takes no more: exit 4, one error with a next step, nothing half-made, and then it works."""

import asyncio
import json
import resource
import signal
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import httpx2 as httpx
import pytest
from live_workspace import folder, go_live, release
from serving import say

from command_line import started
from insource.settings import load_settings
from insource.store import Store

VERBS = {
    "init": ["init", "other"],
    "collect": ["collect", "tickets", "more.csv", "--input", "text", "--target", "intent"],
    "measure": ["measure", "tickets", "--candidate", "baseline", "--report", "report.html"],
    "train": ["train", "tickets", "--base", "linear"],
    "gate": ["release", "gate", "tickets@1.1.0"],
    "answer": ["answer", "tickets", "--input", "please give my money back"],
    "batch": ["batch", "tickets", "in.jsonl", "--out", "out.jsonl"],
    "backup": ["store", "backup", "b.tar"],
    "demo": ["demo", "--dir", "demo"],
    "reports": ["demo", "--reports", "reports.csv"],
}


@pytest.fixture
def live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "w"
    settings = folder(root)

    async def make() -> None:
        async with await Store.open(settings) as store:
            first, second = await release(settings, store), await release(settings, store)
            await go_live(store, first.name)
            await go_live(store, second.name, retire=first.name)

    asyncio.run(make())
    rows = "".join(f"may I {word} number {i},{word}\n" for i in range(300) for word in ("refund", "status", "cancel"))
    (root / "more.csv").write_text("text,intent\n" + rows)
    (root / "in.jsonl").write_text('{"id": "a", "input": "money back please"}\n' * 3)
    monkeypatch.chdir(root)
    return root


def full(limit: int) -> dict:
    return {"preexec_fn": partial(resource.setrlimit, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))}


def files(root: Path) -> set[str]:
    return {str(p.relative_to(root)) for p in root.rglob("*") if p.is_file() and not p.name.startswith("insource.db")}


@pytest.mark.slow
@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_says_it_leaves_nothing_and_works_when_there_is_space(live: Path, verb: str) -> None:
    before = files(live)
    process = started(live, *VERBS[verb], **full(0))
    _, said = process.communicate(timeout=120)
    assert process.returncode == 4, said
    assert "error:" in said
    assert "space" in said.split("hint:")[1]
    assert "Traceback" not in said
    assert not {name for name in files(live) - before if not name.endswith(".gitkeep")}
    if verb == "demo":
        return
    again = started(live, *VERBS[verb])
    _, said = again.communicate(timeout=120)
    assert again.returncode == (1 if verb == "gate" else 0), said  # the gate has no criteria here, so it refuses


def test_a_gateway_whose_disk_fills_refuses_to_answer_and_goes_on_when_there_is_space(live: Path) -> None:
    kept, refused = [], None
    with ExitStack() as stack:
        process = started(live, "serve", "--port", "0", "--json", **full(1_000_000))
        stack.callback(process.kill)
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        http = stack.enter_context(httpx.Client(base_url=url, timeout=30))
        for i in range(2000):
            got = http.post("/v1/chat/completions", json=say(f"money back please, order {i}"))
            if got.status_code != 200:
                refused = got
                break
            kept.append(got.headers["x-insource-record"])
        assert refused is not None, "the disk never filled"
        assert refused.status_code == 503, refused.text
        assert "refund" not in refused.text
        assert "free some space" in refused.text
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert http.post("/v1/chat/completions", json=say("money back please")).status_code == 200
        http.close()
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said

    async def records() -> list[str]:
        async with await Store.open(load_settings(live)) as store:
            return [(await store.record(key)).id for key in kept]

    assert asyncio.run(records()) == kept
    assert len(kept) > 10
