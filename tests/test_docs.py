"""The documentation is complete, its links lead somewhere, and what it shows is what happens.

A page's blocks that carry a mark run in order, in one folder of the page's own:

    <!-- file: PATH -->   the block below is written to PATH
    <!-- run -->          a console block's `$ ` lines are run by bash; the lines after each must appear, in order, in
                          what it printed. A python block is run by python
    <!-- run: slow -->    the same, where it takes real weights or much time: the whole page is then a slow test
    <!-- first ... -->    `$ ` lines that readers need not see

In expected output `…` stands for anything in a line, and a line of only `…` for any lines. A command that ends with `&`
goes on while the page does; what it is to print is waited for.
"""

import importlib.util
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import click
import msgspec
import pytest

from insource import errors, settings
from insource.cli.main import VERBS, main
from insource.engines.artefact import Manifest
from insource.engines.dialects import dialects
from insource.measure.figures import scores
from insource.measure.run import Answered
from insource.measure.sureness import sureness
from insource.nouns import Example, Output, Prediction, Task
from insource.serve import app, faults, headers

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"))])
MARKED = re.compile(
    r"<!-- (?P<kind>file|run)(?:: *(?P<note>[^ ]+))? -->\n+```(?P<language>\w*)\n(?P<block>.*?)```"
    r"|<!-- first\n(?P<first>.*?)-->",
    re.DOTALL,
)
PATIENCE_S = 120


def named(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def reference(name: str) -> str:
    return (DOCS / "reference" / f"{name}.md").read_text("utf-8")


def section(text: str, heading: str) -> str:
    """What stands under `heading`, up to the next heading of the same or a higher level."""
    found = re.search(rf"^(#+) {re.escape(heading)}\n(.*?)(?=^#{{1,6}} |\Z)", text, re.DOTALL | re.MULTILINE)
    assert found, f"no heading {heading!r}"
    return found[2]


def tool(name: str) -> ModuleType:
    """A script of tools/, as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def keys(kind: type[msgspec.Struct]) -> list[str]:
    return [field.encode_name for field in msgspec.structs.fields(kind)]


# ------------------------------------------------------------------ complete


def test_the_command_reference_is_what_help_prints() -> None:
    assert reference("cli") == tool("cli_reference").page(), "run tools/cli_reference.py --write"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_ends_its_help_with_an_example(verb: str) -> None:
    command = main.get_command(click.Context(main), verb)
    assert command is not None
    for path, found in tool("cli_reference").commands(command, f"insource {verb}"):
        assert "Example" in (found.epilog or ""), path
        assert "insource " in (found.epilog or ""), path


def all_errors(kind: type[errors.InsourceError] = errors.InsourceError) -> list[type[errors.InsourceError]]:
    return [below for child in kind.__subclasses__() for below in (child, *all_errors(child))]


def test_the_door_has_errors_of_its_own() -> None:
    assert faults.TooLarge in all_errors()


@pytest.mark.parametrize("kind", all_errors(), ids=lambda kind: kind.__name__)
def test_every_error_is_documented_with_its_codes(kind: type[errors.InsourceError]) -> None:
    row = re.search(rf"^\| `{kind.__name__}` .*$", reference("errors"), re.MULTILINE)
    assert row, kind.__name__
    cells = [cell.strip() for cell in row[0].strip("|").split("|")]
    assert cells[1:5] == [f"`{kind.code}`", str(kind.status), str(kind.exit_code), "yes" if kind.retryable else "no"]


def test_every_dial_of_a_recipe_is_documented() -> None:
    from insource.train.recipe import Recipe

    rows = re.findall(r"^\| `([^`]+)`", reference("recipe"), re.MULTILINE)
    assert sorted(rows) == sorted(keys(Recipe))


def test_every_entry_of_a_manifest_is_documented() -> None:
    rows = re.findall(r"^\| `([^`]+)`", section(reference("files"), "manifest.json"), re.MULTILINE)
    assert sorted(rows) == sorted(keys(Manifest))


def documented_metrics() -> set[str]:
    return set(re.findall(r"^\| `([^`]+)`", reference("scorers"), re.MULTILINE))


def test_every_metric_that_can_be_demanded_is_documented() -> None:
    from insource.release.gate import LATENCIES, OF_FIELD, OF_KIND

    known = {metric for table in (OF_KIND, OF_FIELD) for metrics in table.values() for metric in metrics}
    assert known | set(LATENCIES) | {"path_accuracy"} <= documented_metrics()


TREE = Output(name="place", labels=("a / b", "a / c"), taxonomy=True)
SCHEMA = {"type": "object", "properties": {"total": {"type": "string"}}}


@pytest.mark.parametrize(
    ("task", "value"),
    [
        (Task(name="t", kind="classify", metric="accuracy", outputs=(TREE,)), {"place": "a / b"}),
        (Task(name="t", kind="extract", metric="f1", schema=SCHEMA), {"total": "9"}),
        (Task(name="t", kind="generate", metric="exact"), {"text": "yes"}),
    ],
    ids=lambda given: given.kind if isinstance(given, Task) else "",
)
def test_every_metric_that_is_reported_is_documented(task: Task, value: dict[str, str]) -> None:
    said = Prediction(text="", value=value, engine="e", confidence=0.9)
    rows = [Answered(i, Example(id=str(i), task="t", input="x", target=value), said) for i in range(40)]
    found = {score.metric for score in [*scores(task, rows), *sureness(task, rows)[0]]}
    assert len(found) > 6
    assert found <= documented_metrics()


def test_the_tables_of_servers_are_the_codes_own() -> None:
    page = reference("engines")
    assert page == tool("dialect_table").placed(page), "run tools/dialect_table.py --write"


def test_every_kind_of_server_has_a_setting_in_the_how_to() -> None:
    page = (DOCS / "how-to" / "use-a-remote-engine.md").read_text("utf-8")
    shown = re.findall(r'^kind = "(\w+)"\nbase_url = "([^"]+)"', page, re.MULTILINE)
    assert {kind for kind, _ in shown} == set(dialects())
    assert all(urlsplit(url).path == urlsplit(dialects()[kind].address).path for kind, url in shown)


def test_every_route_is_documented() -> None:
    text = reference("http")
    assert all(f"`{route.path}`" in text for route in app.ROUTES)


def test_every_header_of_an_answer_is_documented() -> None:
    named = set(re.findall(r'"(x-[a-z-]+)"', Path(headers.__file__).read_text("utf-8")))
    assert len(named) > 4
    assert all(f"`{name}`" in reference("http") for name in named)


# ------------------------------------------------------------------ true


def anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_its_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        place = (page.parent / path).resolve() if path else page
        assert place.exists(), f"{named(page)} links to {target}"
        assert not anchor or anchor in anchors(place), f"{named(page)} links to {target}"


def test_every_page_can_be_reached_from_the_readme() -> None:
    seen: set[Path] = set()
    wait = [ROOT / "README.md"]
    while wait:
        page = wait.pop()
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        for target in re.findall(r"\]\(([^)\s#]+)", page.read_text("utf-8")):
            place = (page.parent / target).resolve()
            if not re.match(r"[a-z]+:", target) and place.is_file():
                wait.append(place)
    assert not [named(page) for page in PAGES if page not in seen]


def test_the_readme_shows_the_figures_that_were_measured() -> None:
    figures = tool("readme_figures")
    readme = (ROOT / "README.md").read_text("utf-8")
    assert readme == figures.placed(readme, figures.render(figures.results())), "run tools/readme_figures.py --write"


def test_a_figure_that_misses_its_bar_is_shown_as_missed() -> None:
    row: dict[str, Any] = {"what": "w", "bar": "≥ 2", "figure": "1", "holds": False}
    shown = tool("readme_figures").render([{"name": "n", "machine": "m", "date": "d", "rows": [row]}])
    assert "| w | ≥ 2 | 1 | **no** |" in shown


# ------------------------------------------------------------------ it runs


def marked(page: Path) -> list[dict[str, str]]:
    return [found.groupdict(default="") for found in MARKED.finditer(page.read_text("utf-8"))]


def kind(page: Path) -> str:
    """Whether following the page is quick, slow or not asked for."""
    found = marked(page)
    return "slow" if any(block["note"] == "slow" for block in found) else "quick" if found else ""


def commands(block: str) -> list[tuple[str, list[str]]]:
    """Each command of a block (a trailing backslash goes on) with the lines it is said to print."""
    found: list[tuple[str, list[str]]] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif found and found[-1][0].endswith("\\"):
            found[-1] = (f"{found[-1][0]}\n{line}", [])
        elif found:
            found[-1][1].append(line)
    return found


def appears(expected: list[str], printed: str) -> bool:
    """Whether the expected lines are in what was printed, in order; `…` stands for anything."""
    pattern = r"(?:.*\n)*"
    for line in expected:
        if line.strip() == "…":
            pattern += r"(?:.*\n)*"
        elif line.strip():
            pieces = [re.escape(piece.strip()) for piece in line.strip().split("…")]
            pattern += r"\s*" + ".*".join(pieces) + r"\s*\n(?:\s*\n)*"
    return re.match(pattern, printed if printed.endswith("\n") else printed + "\n") is not None


class Reader:
    """Somebody who follows a page, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        inherited = settings.inherited_environment()
        path = f"{Path(sys.executable).parent}{os.pathsep}{inherited['PATH']}"
        self.env = inherited | {"PATH": path, "NO_COLOR": "1", "COLUMNS": "100"}
        self.place = self.home = folder
        self.running: list[subprocess.Popen[bytes]] = []

    def follow(self, block: dict[str, str]) -> None:
        """Does what one marked block says."""
        if block["kind"] == "file":
            path = self.place / block["note"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block["block"], "utf-8")
        elif block["language"] == "python":
            self._run([sys.executable, "-c", block["block"]], [])
        else:
            for command, expected in commands(block["first"] or block["block"]):
                self._command(command, expected)

    def close(self) -> None:
        """Ends what still runs."""
        for process in self.running:
            process.terminate()
            process.wait(30)

    def _command(self, command: str, expected: list[str]) -> None:
        if command.startswith("cd "):
            self.place = (self.place / command.removeprefix("cd ").strip()).resolve()
        elif command.endswith(" &"):
            self._start(command.removesuffix(" &"), expected)
        else:
            self._run(["bash", "-c", command], expected)

    def _run(self, words: list[str], expected: list[str]) -> None:
        piped = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        done = subprocess.run(words, cwd=self.place, env=self.env, check=False, **piped)
        assert done.returncode == 0, f"$ {words[-1]}\n{done.stdout}"
        assert appears(expected, done.stdout), f"$ {words[-1]}\nprinted\n{done.stdout}\nnot\n" + "\n".join(expected)

    def _start(self, command: str, expected: list[str]) -> None:
        log = self.home / f"running-{len(self.running)}.log"
        with log.open("wb") as file:
            self.running.append(
                subprocess.Popen(
                    ["bash", "-c", f"exec {command}"], cwd=self.place, env=self.env, stdout=file, stderr=file
                )
            )
        until = time.monotonic() + PATIENCE_S
        while not appears(expected, log.read_text("utf-8")):
            assert self.running[-1].poll() is None, f"$ {command} ended\n{log.read_text('utf-8')}"
            assert time.monotonic() < until, f"$ {command} printed\n{log.read_text('utf-8')}"
            time.sleep(0.1)


def follow(page: Path, folder: Path) -> None:
    reader = Reader(folder)
    try:
        for block in marked(page):
            reader.follow(block)
    finally:
        reader.close()


@pytest.mark.parametrize("page", [page for page in PAGES if kind(page) == "quick"], ids=named)
def test_following_the_page_works(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an empty cache: what this machine has fetched before is not on the page."""
    monkeypatch.setenv("INSOURCE_CACHE", str(tmp_path / "cache"))
    follow(page, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("page", [page for page in PAGES if kind(page) == "slow"], ids=named)
def test_following_the_long_page_works(page: Path, tmp_path: Path) -> None:
    follow(page, tmp_path)


def test_expected_output_is_really_compared() -> None:
    assert appears(["one", "…", "th…ee"], "zero\none\ntwo\nthree\n")
    assert not appears(["one", "two"], "two\none\n")
    assert commands("$ a \\\n  b\nout\n$ c\n") == [("a \\\n  b", ["out"]), ("c", [])]


def test_a_page_that_promises_what_does_not_happen_is_found_out(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- run -->\n```console\n$ echo yes\nno\n```\n", "utf-8")
    with pytest.raises(AssertionError, match="printed"):
        follow(page, tmp_path)
