"""A migration that is killed: at each piece of work it keeps, and in the middle of it; the same call then goes on."""

import asyncio
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from migrating import filled, folder, migrated, script

from insource.journeys.replay import replay
from insource.nouns.assessment import Asked, Assessed, Assessment
from insource.settings import Settings
from insource.store import Store
from insource.store.stored import stored

LONGEST_S = 120.0
CHILD = Path(__file__).parent / "migrating.py"


def place(root: Path) -> Settings:
    """A workspace whose frontier takes a moment for each answer: there is a middle to be killed in."""
    settings = folder(root, {"large": (40.0, 6)})
    script(root, "large", 6, delay_s=0.01)
    asyncio.run(filled(settings))
    return settings


async def kept(settings: Settings) -> Assessment | None:
    """The run as far as it came."""
    async with await Store.open(settings) as store:
        runs = await store.assessments.of_task("tickets")
    return runs[0] if runs else None


def killed(root: Path, settings: Settings, pieces: int, after_s: float) -> bool:
    """Starts a migration and kills it so many seconds after it kept so many pieces; True where that came to pass."""
    child = subprocess.Popen([sys.executable, str(CHILD), str(root)], stderr=subprocess.DEVNULL)
    until = time.monotonic() + LONGEST_S
    try:
        while child.poll() is None and time.monotonic() < until:
            run = asyncio.run(kept(settings))
            if run is not None and len(run.pieces) >= pieces:
                time.sleep(after_s)
                break
            time.sleep(0.02)
        return child.poll() is None
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()


async def said(settings: Settings, found: Assessed) -> dict[str, str]:
    """What everyone answered, by the digest of the answers; times differ from run to run and are left out."""
    async with await Store.open(settings) as store:
        asked = {name: stored(store.blobs.get(sha), Asked) for name, sha in found.pieces.items()
                 if name.startswith(("asked/", "hardened/"))}  # fmt: skip
    return {name: one.answers for name, one in asked.items()}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_at_every_piece_and_in_between_the_same_call_goes_on_to_the_same_answers(tmp_path: Path) -> None:
    whole = place(tmp_path / "whole")
    wanted = asyncio.run(migrated(whole))
    settings = place(tmp_path / "killed")
    before: dict[str, str] = {}
    kills = 0
    for pieces in range(1, len(wanted.pieces) + 1):
        for after_s in (0.0, 0.3):
            kills += killed(tmp_path / "killed", settings, pieces, after_s)
            run = asyncio.run(kept(settings))
            now = run.pieces if run is not None else {}
            assert before.items() <= now.items(), "a piece that was kept is never made again"
            before = dict(now)
    assert kills >= 8
    found = asyncio.run(migrated(settings))
    assert before.items() <= found.pieces.items()
    assert found.run == wanted.run, "the same criteria"
    assert found.criteria == wanted.criteria
    assert found.verdict.word == wanted.verdict.word
    assert asyncio.run(said(settings, found)) == asyncio.run(said(whole, wanted))

    async def again() -> bool:
        async with await Store.open(settings) as store:
            return (await replay("tickets", store, found.run))[0].same

    assert asyncio.run(again())
