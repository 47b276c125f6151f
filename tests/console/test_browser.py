"""The console in headless Chromium: by keyboard alone, in both themes, narrow and wide, no request going elsewhere.

Screenshots of every page lie in the folder that INSOURCE_SCREENSHOTS names, else in the test's own.
"""

import asyncio
import os
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from seated import Place, seated

from insource.nouns import Attempt, Decision, Pending, Prediction, Record, stamp
from insource.nouns.record import record_id

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not shutil.which("chromium"), reason="no chromium here")]

TASKS = {
    "industries": 'kind = "classify"\n[outputs.industry]\ntaxonomy = "industries.txt"\n',
    "complaints": 'kind = "classify"\n[outputs.topic]\nlabels = ["damage", "delay", "price"]\n'
    '[outputs.urgency]\nlabels = ["low", "high"]\n',
    "invoices": 'kind = "extract"\n[schema]\ntype = "object"\nrequired = ["number", "total"]\n'
    '[schema.properties.number]\ntype = "string"\n[schema.properties.total]\ntype = "number"\n',
}
VALUES = {
    "industries": {"industry": "Sector 3 / Branch 12 / Trade 2"},
    "complaints": {"topic": "delay", "urgency": "low"},
    "invoices": {"number": "A-17", "total": 99.5},
}
PAGES = ("", "tasks/tickets", "tasks/tickets/review", "tasks/industries/review", "tasks/complaints/review",
         "tasks/invoices/review", "tasks/tickets/drift", "tasks/tickets/move", "calls", "calls?outcome=failed",
         "reports", "governance", "governance?evidence=tickets", "login", "nowhere")  # fmt: skip


def furnish(root: Path) -> None:
    """Tasks of every kind; one has a taxonomy of 4,000 leaves."""
    (root / "tasks").mkdir(parents=True, exist_ok=True)
    (root / "insource.toml").write_text("")
    leaves = [f"Sector {a} / Branch {b} / Trade {c}" for a in range(10) for b in range(40) for c in range(10)]
    (root / "tasks" / "industries.txt").write_text("\n".join(leaves) + "\n")
    for name, body in TASKS.items():
        body = body.replace('"industries.txt"', '"tasks/industries.txt"')
        (root / "tasks" / f"{name}.toml").write_text(f'name = "{name}"\n{body}')


async def waits(place: Place, task: str, text: str) -> str:
    """An answer of the task that waits for a person."""
    value, now = VALUES[task], stamp(time.time())
    reason = "confidence 0.62 is below 0.85"
    decision = Decision(engine="one", rule="task", accepted=False, reason=reason, confidence=0.62, threshold=0.85)
    said = Prediction(text="", value=value, engine="one", confidence=0.62)
    record = Record(id=record_id(), task=task, release=None, tenant="local", outcome="review", input_hash="0" * 64,
                    attempts=(Attempt(decision=decision, prediction=said),), latency_ms=3.0, created=now)  # fmt: skip
    pending = Pending(record=record.id, task=task, input=text, value=value, confidence=0.62, reason=reason,
                      created=now, worth=0.38)  # fmt: skip
    await place.store.append(record, pending)
    return record.id


@asynccontextmanager
async def browser():
    from playwright.async_api import async_playwright

    async with async_playwright() as tools:
        # a container has no user namespaces for Chromium's own sandbox; the pages are ours
        chromium = await tools.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        try:
            yield chromium
        finally:
            await chromium.close()


@asynccontextmanager
async def watched(place: Place, **looks) -> AsyncIterator:
    """A page on which every complaint of the browser and every request elsewhere is a failure."""
    async with browser() as chromium:
        context = await chromium.new_context(base_url=place.url, **looks)
        page = await context.new_page()
        wrong: list[str] = []
        page.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on(
            "request", lambda asked: None if asked.url.startswith((place.url, "data:")) else wrong.append(asked.url)
        )
        yield page
        assert [one for one in wrong if "404" not in one] == []


async def furnished(place: Place) -> None:
    for text in ("refund please", "unsure about it", "unsure as well", "down with it"):
        try:
            await place.asked(text)
        except Exception as error:  # noqa: BLE001 - a scripted failure is one of the rows
            assert "down" in str(error)
    for task in TASKS:
        await waits(place, task, f"Invoice A-17 over 99.5, which is about {task}")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
async def test_every_page_in_both_themes_wide_and_narrow(tmp_path, theme, width):
    from axe_playwright_python.async_playwright import Axe

    out = Path(os.environ.get("INSOURCE_SCREENSHOTS", tmp_path / "screenshots"))  # noqa: TID251 - where a person looks
    furnish(tmp_path)
    async with seated(tmp_path) as place:
        await furnished(place)
        async with watched(place, viewport={"width": width, "height": 800}, color_scheme=theme) as page:
            for name in PAGES:
                await page.goto(f"/console/{name}")
                wide = await page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
                assert wide <= 0, f"{name} is {wide} pixels too wide"
                if name == "governance":
                    inside = "[...document.querySelectorAll('.scroll')].map(one => one.scrollWidth - one.clientWidth)"
                    assert set(await page.evaluate(inside)) == {0}, "no table is scrolled sideways"
                found = await Axe().run(page)
                assert found.violations_count == 0, f"{name}: {found.generate_report()}"
                shot = out / f"{name.replace('/', '-').replace('?', '-') or 'overview'}-{theme}-{width}.png"
                await page.screenshot(path=shot, full_page=True)


async def test_a_theme_that_was_chosen_stands_above_the_systems(tmp_path):
    async with seated(tmp_path) as place, watched(place, color_scheme="light") as page:
        await page.goto("/console/")
        paper = "getComputedStyle(document.body).backgroundColor"
        light = await page.evaluate(paper)
        await page.click(".me summary")
        await page.click("text=dark")
        assert await page.evaluate(paper) != light
        await page.goto("/console/calls")
        assert await page.evaluate(paper) != light


async def test_review_by_keyboard_alone(tmp_path):
    """Each key does what stands on its button, and twenty a minute is far below what it lets a person do."""
    texts = [f"unsure about number {i}" for i in range(24)]
    async with seated(tmp_path) as place:
        for text in texts:
            await place.asked(text)
        async with watched(place) as page:
            await page.goto("/console/tasks/tickets/review")
            began = time.monotonic()
            for i in range(20):
                before = await page.input_value("[name=record]")
                async with page.expect_navigation():
                    await page.keyboard.press(("Enter", "1", "2", "x", "d", "n")[i % 6])
                if i < 19:
                    assert await page.input_value("[name=record]") != before
            a_minute = 20 / (time.monotonic() - began) * 60
            said = [review.verdict for _, review in await place.store.reviews("tickets")]
            assert said == (["right", "right", "wrong", "wrong", "unsure", "none_of_these"] * 4)[:20]
            assert a_minute >= 20
            async with page.expect_navigation():
                await page.keyboard.press("u")
            assert len(await place.store.reviews("tickets")) == 19
            async with page.expect_navigation():
                await page.keyboard.press("s")
            assert "1 left for later" in await page.inner_text("#standing")


async def test_a_label_of_four_thousand_is_found_by_typing(tmp_path):
    furnish(tmp_path)
    async with seated(tmp_path) as place:
        await waits(place, "industries", "a text about trade")
        async with watched(place) as page:
            await page.goto("/console/tasks/industries/review")
            await page.keyboard.press("/")
            await page.keyboard.type("sector 7 branch 31 trade 4")
            await page.wait_for_selector("[role=option] >> text=Sector 7 / Branch 31 / Trade 4")
            async with page.expect_navigation():
                await page.keyboard.press("Enter")
        ((_, review),) = await place.store.reviews("industries")
        assert review.corrected == {"industry": "Sector 7 / Branch 31 / Trade 4"}


async def test_keys_sleep_in_text_fields_and_can_be_turned_off(tmp_path):
    async with seated(tmp_path) as place:
        for i in range(3):
            await place.asked(f"unsure about {i}")
        async with watched(place) as page:
            await page.goto("/console/tasks/tickets/review")
            await page.keyboard.press("m")
            await page.keyboard.type("x 1 d n u")
            assert await place.store.reviews("tickets") == []
            await page.keyboard.press("Escape")
            async with page.expect_navigation():
                await page.keyboard.press("x")
            ((_, review),) = await place.store.reviews("tickets")
            assert review.note == "x 1 d n u"
            await page.click(".me summary")
            await page.click("[name=shortcuts][value=off]")
            await page.keyboard.press("x")
            await asyncio.sleep(0.3)
            assert len(await place.store.reviews("tickets")) == 1


async def test_two_outputs_are_chosen_one_after_the_other(tmp_path):
    furnish(tmp_path)
    async with seated(tmp_path) as place:
        await waits(place, "complaints", "it was late again")
        async with watched(place) as page:
            await page.goto("/console/tasks/complaints/review")
            await page.keyboard.press("2")
            await page.keyboard.press("2")
            async with page.expect_navigation():
                await page.keyboard.press("Enter")
        ((_, review),) = await place.store.reviews("complaints")
        assert review.verdict == "wrong" and review.corrected["urgency"] == "high"


async def test_fields_are_corrected_beside_the_text(tmp_path):
    furnish(tmp_path)
    async with seated(tmp_path) as place:
        await waits(place, "invoices", "Invoice A-17, total 95.9")
        async with watched(place) as page:
            await page.goto("/console/tasks/invoices/review")
            assert await page.locator("mark").all_inner_texts() == ["A-17\n (number)"]
            await page.fill("#field-total", "95.9")
            await page.keyboard.press("Escape")
            async with page.expect_navigation():
                await page.keyboard.press("Enter")
        ((_, review),) = await place.store.reviews("invoices")
        assert review.corrected == {"number": "A-17", "total": 95.9}


async def test_everything_can_be_done_without_a_script(tmp_path):
    furnish(tmp_path)
    async with seated(tmp_path) as place:
        await waits(place, "industries", "a text about trade")
        async with watched(place, java_script_enabled=False) as page:
            await page.goto("/console/")
            await page.click("text=1 to review")
            await page.click(".find summary")
            await page.select_option("noscript select, select[name=other-industry]", "Sector 0 / Branch 3 / Trade 1")
            await page.click("button >> text=this one")
            assert "Nothing waits" in await page.inner_text("main")
        ((_, review),) = await place.store.reviews("industries")
        assert review.corrected == {"industry": "Sector 0 / Branch 3 / Trade 1"}


async def test_rows_by_keyboard(tmp_path):
    async with seated(tmp_path) as place:
        asked = [await place.asked(f"refund {i}") for i in range(3)]
        async with watched(place) as page:
            await page.goto("/console/")
            await page.keyboard.press("g")
            async with page.expect_navigation():
                await page.keyboard.press("c")
            await page.keyboard.press("j")
            await page.keyboard.press("j")
            async with page.expect_navigation():
                await page.keyboard.press("Enter")
            assert page.url.endswith(asked[-2].id)
            await page.keyboard.press("?")
            assert await page.is_visible("dialog")
            await page.keyboard.press("Escape")
            assert not await page.is_visible("dialog")
