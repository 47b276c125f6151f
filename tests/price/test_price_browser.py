"""The page of a price in headless Chromium: narrow and wide, dark and light, from a file, nothing asked of anybody."""

import shutil

import pytest

from insource.nouns.pricing import ApiPrice, Effort, MachineRate, People, Tokens, Use
from insource.price.compare import compare
from insource.price.cost import Fleet, Option
from insource.price.page import html

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not shutil.which("chromium"), reason="no chromium here")]


def page(folder):
    looked = People(share=0.05, minutes=2, usd_per_hour=40)
    box = MachineRate(name="box", on_demand=0.8, reserved=0.5)
    own = Option(name="tickets on box (reserved)", fleet=Fleet(machine=box, paid="reserved", calls_per_s=0.5),
                 people=looked, effort=Effort(fte=0.1, salary_usd=150_000, once_usd=4000))  # fmt: skip
    apis = [Option(name=name, api=ApiPrice(name=name, input=price, output=4 * price), people=looked)
            for name, price in (("cheap", 0.1), ("a-model-with-a-rather-long-name-2026-11-27", 2.5))]  # fmt: skip
    use = Use(calls_per_day=90_000, tokens=Tokens(input=700, output=60))
    path = folder / "price.html"
    path.write_text(html(compare([own, *apis], use, today=apis[1].name)), "utf-8")
    return path.as_uri()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
async def test_it_fits_is_reached_by_keyboard_and_asks_nobody(tmp_path, theme, width):
    from axe_playwright_python.async_playwright import Axe
    from playwright.async_api import async_playwright

    async with async_playwright() as tools:
        # a container has no user namespaces for Chromium's own sandbox; the page is ours
        chromium = await tools.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        try:
            seen = await chromium.new_page(viewport={"width": width, "height": 900}, color_scheme=theme)
            asked: list[str] = []
            seen.on("request", lambda request: asked.append(request.url))
            seen.on("pageerror", lambda error: asked.append(str(error)))
            await seen.goto(page(tmp_path))
            assert [url.rsplit("/", 1)[1] for url in asked] == ["price.html"]
            assert await seen.evaluate("document.documentElement.scrollWidth") <= width
            found = await Axe().run(seen)
            assert not found.response["violations"], [one["id"] for one in found.response["violations"]]
            await seen.locator("summary").focus()
            await seen.keyboard.press("Enter")
            assert await seen.locator("details[open] tbody tr").count() == 25
            texts = await seen.evaluate("Math.min(...[...document.querySelectorAll('svg text')].map(t => "
                                        "parseFloat(getComputedStyle(t).fontSize)))")  # fmt: skip
            assert texts >= 11, "text in pictures never shrinks"
        finally:
            await chromium.close()
