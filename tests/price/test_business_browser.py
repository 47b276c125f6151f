"""The page of a case in headless Chromium: narrow and wide, dark and light, from a file, nothing asked of anybody."""

import shutil

import pytest
from test_business import API, HAND, OWN, USE, WRONG, case

from insource.price.business_page import html

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not shutil.which("chromium"), reason="no chromium here")]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
async def test_it_fits_is_reached_by_keyboard_and_asks_nobody(tmp_path, theme, width):
    from axe_playwright_python.async_playwright import Axe
    from playwright.async_api import async_playwright

    path = tmp_path / "case.html"
    path.write_text(html(case(API, OWN, USE, quality=WRONG, hands=(0.02, 0.01), **HAND)), "utf-8")
    async with async_playwright() as tools:
        # a container has no user namespaces for Chromium's own sandbox; the page is ours
        chromium = await tools.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        try:
            seen = await chromium.new_page(viewport={"width": width, "height": 900}, color_scheme=theme)
            asked: list[str] = []
            seen.on("request", lambda request: asked.append(request.url))
            seen.on("pageerror", lambda error: asked.append(str(error)))
            await seen.goto(path.as_uri())
            assert [url.rsplit("/", 1)[1] for url in asked] == ["case.html"]
            assert await seen.evaluate("document.documentElement.scrollWidth") <= width
            found = await Axe().run(seen)
            assert not found.response["violations"], [one["id"] for one in found.response["violations"]]
            await seen.locator("summary").focus()
            await seen.keyboard.press("Enter")
            assert await seen.locator("details[open] tbody tr").count() == 25
            await seen.locator("nav a").nth(3).press("Enter")
            assert await seen.evaluate("location.hash") == "#s4"
        finally:
            await chromium.close()
