"""Long lists come a page at a time: whoever follows the links sees each row once, and the first page says how many."""

import asyncio
import json
import re

import msgspec
from click.testing import CliRunner
from seated import seated

from insource.cli.main import main
from insource.nouns import Check, Gate, Release, Report, StageChange
from insource.store import Store

TASK = "/console/tasks/tickets"
LIVE = "tickets@1.0.2"


async def _filled(store: Store) -> None:
    """45 releases, of which an old one is live, and 60 reports."""
    for i in range(45):
        made = Release(
            task="tickets", version=f"1.0.{i}", engine="linear", base="", dataset="d", recipe="r", artefact=f"a{i}",
            folder="x", created="2026-11-01T09:00",
        )  # fmt: skip
        await store.add_release(made)
        check = Check(name="accuracy", demanded="0.5", found=f"found {i}", passed=True)
        await store.save_gate(Gate(release=made.name, artefact=made.artefact, checks=(check,), report=f"r{i}"))
    await store.change_stage(StageChange(release=LIVE, before="candidate", after="live", who="me", why="it is good"))
    for i in range(60):
        await store.save_report(
            Report(id=f"r{i}", task="tickets", dataset="d", split="test", candidates=(), summary=(f"report {i}.",))
        )


def _next(text: str, words: str) -> str:
    found = re.search(rf'<a href="([^"]+)"[^>]*>{words}</a>', text)
    return found[1].replace("&amp;", "&") if found else ""


async def test_older_releases_are_a_link_away_and_what_is_live_is_there_at_once(tmp_path):
    async with seated(tmp_path) as place, place.seat() as web:
        await _filled(place.store)
        at, seen = TASK, []
        while at:
            text = (await web.get(at)).text
            seen.append(re.findall(r'<th scope="row">1\.0\.(\d+)<', text.partition('id="history"')[0]))
            at = _next(text, "Older releases")
            if len(seen) == 1:
                assert "45 in all" in text and 'href="/console/reports/r44"' in text
                assert seen[0][-1] == "2", "what is live"
        assert [int(n) for page in [seen[0][:-1], *seen[1:]] for n in page] == list(range(44, -1, -1))
        told = (await web.get(f"{TASK}?before=99999999999999999999")).text
        assert "45 in all" in told, "a place that is none is the beginning"


async def test_older_reports_are_a_link_away(tmp_path):
    async with seated(tmp_path) as place, place.seat() as web:
        await _filled(place.store)
        at, seen = "/console/reports", []
        while at:
            text = (await web.get(at)).text
            seen += re.findall(r"report (\d+)\.", text)
            at = _next(text, "Older reports")
        assert [int(n) for n in seen] == list(range(59, -1, -1))


async def test_of_many_keys_those_that_open_come_first(tmp_path):
    async with seated(tmp_path) as place:
        admin = await place.key("boss", "admin")
        for i in range(60):
            text = await place.key(f"gone{i:02}")
            await place.store.revoke_key(text.split("_")[1], "2026-11-01T00:00:00+00:00")
        async with place.seat(admin) as web:
            text = (await web.get("/console/governance")).text
        assert text.index("boss") < text.index("gone59") < text.index("gone58")
        assert "gone00" not in text and "insource keys list --limit 61" in text


def test_listings_show_the_newest_and_say_how_many_are_earlier(tmp_path):
    async def made():
        async with seated(tmp_path) as place:
            await _filled(place.store)
            for i in range(3):
                await place.key(f"desk{i}")

    def told(*words: str) -> dict:
        return json.loads(CliRunner().invoke(main, ["-C", str(tmp_path), "--json", *words]).stdout)

    asyncio.run(made())
    (tmp_path / "insource.toml").touch()
    found = told("release", "list", "--limit", "3")
    assert [one["name"] for one in found["releases"]] == [LIVE, "tickets@1.0.42", "tickets@1.0.43", "tickets@1.0.44"]
    assert (found["earlier"], [one["gate"] for one in found["releases"]]) == (41, [True] * 4)
    assert "earlier" not in told("release", "list", "--limit", "45")
    words = CliRunner().invoke(main, ["-C", str(tmp_path), "release", "list", "tickets", "--limit", "3"]).stdout
    assert "41 earlier" in words
    found = told("keys", "list", "--limit", "2")
    assert ([one["name"] for one in found["keys"]], found["earlier"]) == (["desk1", "desk2"], 1)
    (found,) = told("status", "tickets")["tasks"]
    facts = found["facts"]
    assert (len(facts["releases"]), facts["earlier"], facts["releases"][0]) == (21, 24, LIVE)
    assert msgspec.json.encode(facts).count(b"1.0.44") == 3, "a release, asked and passed"
