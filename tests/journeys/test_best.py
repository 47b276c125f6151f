"""The forms of one specialist: tried where they can be made, kept where they hold, chosen with a reason."""

import json
import sys
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

pytest.importorskip("torch")
pytest.importorskip("openvino")
pytest.importorskip("xllamacpp")

sys.path.insert(0, str(Path(__file__).parents[1] / "train"))
import tiny

from insource.cli.main import main
from insource.errors import Invalid
from insource.journeys.best import best
from insource.journeys.convert import FORMS
from insource.journeys.forms import Timed, chosen
from insource.journeys.gate import gate
from insource.nouns import Output, Task
from insource.settings import load_settings, load_task
from insource.stats import clopper_pearson_lower
from insource.store import Store

pytestmark = pytest.mark.slow
TOML = """name = "defects"
kind = "classify"
[outputs.category]
labels = ["heat", "leak", "noise"]
[acceptance]
accuracy = 0.2
"""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory) -> Path:
    """One with a trained release."""
    place = tmp_path_factory.mktemp("best")
    (place / "tasks").mkdir()
    (place / "insource.toml").write_text("[workspace]\nthreads = 1\n")
    (place / "tasks" / "defects.toml").write_text(TOML)
    (place / "recipe.toml").write_text("epochs = 4\nbatch = 16\nrank = 4\nlearning_rate = 5e-3\n")
    task = Task(name="defects", kind="classify", outputs=(Output(name="category", labels=("heat", "leak", "noise")),))
    rows = [{"input": f"{row.input} no {i}", "category": row.target["category"]}
            for i, row in enumerate(tiny.rows(task, 400, "x"))]  # fmt: skip
    (place / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    base = tiny.build(place / "base", width=64)
    typed(place, "collect", "defects", str(place / "rows.jsonl"))
    typed(place, "train", "defects", "--base", f"file:{base}", "--recipe", str(place / "recipe.toml"))
    return place


def typed(place: Path, *words: str) -> str:
    done = CliRunner().invoke(main, ["-C", str(place), *words])
    assert done.exit_code == 0, done.output
    return done.stdout


async def test_every_form_that_can_be_made_is_measured_and_the_quickest_that_holds_is_named(workspace, monkeypatch):
    monkeypatch.setitem(sys.modules, "nncf", None)
    settings = load_settings(workspace)
    async with await Store.open(settings) as store:
        first = (await store.releases("defects"))[0]
        found = await best(first, settings, store)
        tried = {one.form: one for one in found.tried}
        assert set(tried) == set(FORMS)
        for form in ("openvino-int8", "openvino-int4"):
            assert (tried[form].release, tried[form].why_not) == ("", "nncf is not installed")
        made = [one for one in found.tried if one.release]
        assert {one.form for one in made} == {"openvino", "llamacpp-f16", "llamacpp-q8_0", "llamacpp-q4_0"}
        assert not [one for one in made if one.why_not]
        measured = {candidate.candidate for candidate in found.report.candidates}
        assert measured == {first.name, *[one.release for one in made]}
        assert [one.release for one in found.compared.forms] == [first.name, *[one.release for one in made]]
        chosen = {one.release: one for one in found.compared.forms}[found.compared.best]
        assert chosen.same >= 0.99 * chosen.rows
        assert found.compared.why
        exact = tried["llamacpp-f16"].release
        agreed = {one.release: one.same / one.rows for one in found.compared.forms}
        assert agreed[exact] >= 0.99
        answered = await gate(
            load_task(settings, "defects"), await store.release("defects", exact[8:]), settings, store
        )
        [served] = [check for check in answered.checks if check.name == "served = trained"]
        assert served.passed, served.found

        again = await best(first, settings, store)
        assert {one.form: one.release for one in again.tried} == {one.form: one.release for one in found.tried}


async def test_a_form_that_breaks_the_acceptance_is_retired_and_not_chosen(workspace, monkeypatch):
    demanded = TOML.replace("accuracy = 0.2", "accuracy = 0.2\np50_ms = 0.000001")
    (workspace / "tasks" / "defects.toml").write_text(demanded)
    settings = load_settings(workspace)
    for name in ("openvino", "nncf"):
        monkeypatch.setitem(sys.modules, name, None)
    async with await Store.open(settings) as store:
        first = (await store.releases("defects"))[0]
        found = await best(first, settings, store)
        made = [one for one in found.tried if one.release]
        assert {one.form for one in made} == {"llamacpp-f16", "llamacpp-q8_0", "llamacpp-q4_0"}
        assert all("p50_ms" in one.why_not for one in made)
        assert (found.compared.best, len(found.compared.forms)) == (first.name, 1)
        stages = {one.name: one.stage for one in await store.releases("defects")}
        assert {stages[one.release] for one in made} == {"retired"}
        assert stages[first.name] == "candidate"
        monkeypatch.setitem(sys.modules, "xllamacpp", None)
        with pytest.raises(Invalid, match="can make no other form"):
            await best(first, settings, store)
        with pytest.raises(Invalid, match="served by llamacpp"):
            await best(await store.release("defects", made[0].release.partition("@")[2]), settings, store)
    (workspace / "tasks" / "defects.toml").write_text(TOML)


def test_the_verb_says_which_and_why(workspace, monkeypatch):
    for name in ("openvino", "nncf"):
        monkeypatch.setitem(sys.modules, name, None)
    said = typed(workspace, "release", "export", "defects@1.0.0", "--format", "best", "--rows", "30")
    assert "openvino is not installed" in said
    assert "llamacpp-q8_0: defects@1.0." in said
    assert "against defects@1.0" in said
    assert "rows/s with 64 calls waiting" in said
    document = json.loads(typed(workspace, "release", "export", "defects@1.0.0", "--format", "best", "--json"))
    assert document["source"] == "defects@1.0.0"
    assert document["compared"]["best"] in {form["release"] for form in document["compared"]["forms"]}
    assert msgspec.json.encode(document)


def test_each_form_is_called_by_its_name_and_knows_where_it_came_from(workspace, monkeypatch):
    for name in ("openvino", "nncf"):
        monkeypatch.setitem(sys.modules, name, None)
    typed(workspace, "release", "export", "defects@1.0.0", "--format", "best", "--rows", "30")
    listed = {one["name"]: one["form"] for one in json.loads(typed(workspace, "release", "list", "--json"))["releases"]}
    assert listed["defects@1.0.0"] == "torch"
    assert {"llamacpp-f16", "llamacpp-q8_0", "llamacpp-q4_0"} <= set(listed.values())
    assert "llamacpp-q4_0" in typed(workspace, "release", "list", "defects")
    shown = typed(workspace, "models", "bench", "defects@1.0.0", "--rows", "4")
    assert {"torch", "llamacpp-q8_0"} <= set(shown.split())
    _, proposed, best = shown.rpartition("\nnext: insource release gate ")
    assert not proposed or best.strip() in listed
    made = next(name for name, form in listed.items() if form == "llamacpp-q8_0")
    for form in ("gguf-q8_0", "openvino"):
        done = CliRunner().invoke(main, ["-C", str(workspace), "release", "export", made, "--format", form])
        assert done.exit_code == 2
        assert "it was made from defects@1.0.0" in done.stderr
        assert "copying" not in done.stderr


def test_so_few_rows_show_no_99_percent():
    def form(release: str, rate: float, rows: int) -> Timed:
        return Timed(release=release, engine="e", form="e", rows=rows, p50_ms=1.0, rows_per_s=rate, memory_mb=1.0,
                     disk_mb=1.0, same=rows, same_low=clopper_pearson_lower(rows, rows))  # fmt: skip

    best, why = chosen([form("a", 1.0, 16), form("b", 2.0, 16)])
    assert best == "b"
    assert why.endswith("16 of 16 labels the same, which shows 82.9% at least: 99% takes more rows")
    assert chosen([form("a", 1.0, 500), form("b", 2.0, 500)])[1].endswith("500 of 500 labels the same")
