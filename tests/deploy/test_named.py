"""What the deployment and its pages name is there: commands and their options, alerts, files."""

import re

import click
import pytest
from deployed import CHART, DEPLOY, ROOT

from insource.cli.main import main

PAGES = [ROOT / "docs" / "how-to" / name for name in ("run-in-production.md", "runbook.md")]
FILES = [path for path in DEPLOY.rglob("*") if path.is_file() and path.suffix in {".yaml", ".service", ".txt", ".yml"}]
CALLED = re.compile(r"(?:\$ |`|-- |bin/|&& |gateway )(?:insource )?((?:insource|keys|serve) [a-z][^\n`|>&;]*)")


def command(words: list[str]) -> click.Command | None:
    """The command that the words lead to; None where one of them is none."""
    found: click.Command | None = main
    for word in words:
        if not isinstance(found, click.Group):
            break
        found = found.get_command(click.Context(found), word)
    return found


def called() -> set[str]:
    texts = [path.read_text("utf-8") for path in [*PAGES, *FILES]]
    found = {each.removeprefix("insource ").strip() for text in texts for each in CALLED.findall(text)}
    return {each for each in found if not each.startswith("deploy/")}


def test_there_is_something_to_look_at() -> None:
    verbs = {each.split()[0] for each in called()}
    assert {"serve", "keys", "store", "release", "audit", "nightly", "watch"} <= verbs


@pytest.mark.parametrize("words", sorted(called()))
def test_a_command_that_is_named_is_one_and_so_are_its_options(words: str) -> None:
    plain = [word for word in words.split() if re.fullmatch("[a-z]+", word)]
    found = command(plain)
    assert found is not None and found is not main, words
    known = {name for option in found.params for name in option.opts} | {"--json", "-C", "--help"}
    assert set(re.findall(r"(?<= )--[a-z-]+", words)) <= known, words


def test_every_alert_has_a_row_in_the_runbook() -> None:
    alerts = re.findall(r"alert: (\w+)", (CHART / "files" / "alerts.yaml").read_text("utf-8"))
    rows = re.findall(r"^\| `(Insource\w+)` \|", PAGES[1].read_text("utf-8"), re.MULTILINE)
    assert rows == alerts


def test_every_name_of_the_list_of_who_may_reach_whom_is_a_value_of_the_chart() -> None:
    values = (CHART / "values.yaml").read_text("utf-8")
    for section, key in re.findall(r"`(network|state|gateway|metrics|vllm|store)\.(\w+)`", PAGES[0].read_text("utf-8")):
        assert re.search(rf"^{section}:.*?^  {key}:", values, re.MULTILINE | re.DOTALL), f"{section}.{key}"
