"""The pack's page in a browser: nothing asked of anyone, nothing too wide, nothing that axe-core minds."""

import json
import re
import shutil
from pathlib import Path

import golden
import pytest

from insource.govern.pack import pack


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    """The golden pack, written out."""
    folder = tmp_path_factory.mktemp("pack")
    for name, data in pack(golden.facts()).files.items():
        (folder / name).write_bytes(data)
    return folder / "index.html"


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("chromium"), reason="no chromium here")
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_it_fits_asks_nobody_and_can_be_read_by_everybody(page, theme, width):
    from axe_playwright_python.sync_playwright import Axe
    from playwright.sync_api import sync_playwright

    asked: list[str] = []
    with sync_playwright() as tools:
        chromium = tools.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        shown = chromium.new_page(viewport={"width": width, "height": 900}, color_scheme=theme)
        complaints: list[str] = []
        shown.on("request", lambda one: asked.append(one.url))
        shown.on("console", lambda one: complaints.append(one.text))
        shown.goto(page.as_uri())
        shown.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        assert shown.evaluate("document.documentElement.scrollWidth") <= width
        found = Axe().run(shown).response["violations"]
        assert not found, json.dumps([(one["id"], [node["html"] for node in one["nodes"]][:3]) for one in found])[:2000]
        assert shown.locator("#f-evaluation table").is_visible()
        shown.keyboard.press("Tab")
        assert shown.evaluate("document.activeElement.textContent") == "Skip to the checklist"
        chromium.close()
    assert asked == [page.as_uri()]
    assert complaints == []


def test_every_link_leads_somewhere(page):
    text = page.read_text()
    ids = set(re.findall(r'id="([^"]+)"', text))
    for link in re.findall(r'href="([^"]+)"', text):
        assert link[1:] in ids if link.startswith("#") else (page.parent / link).is_file(), link
