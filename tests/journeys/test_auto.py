"""Rules and the router as files of a workspace: read, written, refused, fitted on the rows of its tasks."""

import asyncio
import json
import sys
from pathlib import Path

import click.testing
import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from insource.cli.main import main
from insource.engines.router import NO_TASK, Router
from insource.errors import Invalid, Missing
from insource.journeys.auto import router_folder, train_router
from insource.nouns import Dataset, Example, Route, Task, When, digest
from insource.release.task_file import task_files
from insource.settings import RouterSettings, Settings, load_settings, load_task
from insource.store import Store

sys.path.insert(0, str(Path(__file__).parents[1] / "engines"))
from router_rows import STRANGE, WORLDS, splits

TASK = 'name = "{}"\nkind = "generate"\n'


def workspace(root: Path, *tasks: str, more: str = "") -> Settings:
    (root / "tasks").mkdir(parents=True, exist_ok=True)
    (root / "insource.toml").write_text(more)
    for name in tasks:
        (root / "tasks" / f"{name}.toml").write_text(TASK.format(name))
    return load_settings(root)


async def filled(settings: Settings, *tasks: str) -> Store:
    """The store of a workspace whose tasks have the rows of their worlds."""
    store = await Store.open(settings)
    for name in tasks:
        examples = [
            Example(id=digest(row.text), task=name, input=row.text, target={"text": "x"}, split=split)
            for split, rows in zip(("train", "dev"), splits(name), strict=True)
            for row in rows
        ]
        counts = {split: sum(row.split == split for row in examples) for split in ("train", "dev")}
        await store.save_dataset(Dataset(id=digest(examples), task=name, counts=counts), examples)
    return store


async def test_the_router_is_fitted_on_the_rows_of_every_task_that_has_some(tmp_path):
    settings = workspace(tmp_path, *WORLDS, "empty")
    async with await filled(settings, *WORLDS) as store:
        card = await train_router(settings, store)
        assert card.tasks == tuple(WORLDS)
        assert card.datasets == {task: (await store.dataset(task)).id for task in WORLDS}
    assert Router.load(router_folder(settings)).card == card
    assert Router.load(router_folder(settings)).rank("reserve a seat on the night train")[0][0] == "trains"


async def test_texts_of_the_owners_that_are_for_no_task_teach_and_test(tmp_path):
    settings = workspace(tmp_path, "mails", "trains", more='[router]\nunknown = "unknown.txt"\n')
    async with await filled(settings, "mails", "trains") as store:
        with pytest.raises(Missing, match=r"unknown\.txt cannot be read"):
            await train_router(settings, store)
        (tmp_path / "unknown.txt").write_text("\n".join([*STRANGE, "", STRANGE[0]]) + "\n")
        card = await train_router(settings, store)
        assert card.strange == len(STRANGE) // 2, "each once, half of them held out"
        assert NO_TASK not in card.tasks
        (tmp_path / "unknown.txt").write_bytes(b"\xff\xfe")
        with pytest.raises(Invalid, match="not UTF-8"):
            await train_router(settings, store)


def test_the_verb_says_what_held_out_texts_showed(tmp_path):
    settings = workspace(tmp_path, *WORLDS)
    asyncio.run(closed(filled(settings, *WORLDS)))
    run = click.testing.CliRunner().invoke
    found = run(main, ["-C", str(tmp_path), "train", "--router"])
    assert found.exit_code == 0, found.output
    assert "the router tells 3 tasks: mails, recipes, trains" in found.stdout
    assert "held-out texts for none: " in found.stdout
    document = json.loads(run(main, ["-C", str(tmp_path), "train", "--router", "--json"]).stdout)
    assert document["tasks"] == list(WORLDS)
    assert "Missing argument 'TASK'" in run(main, ["-C", str(tmp_path), "train"]).output


async def closed(opening) -> None:
    await (await opening).close()


RULES = """
[[route]]
when = { longer_than = 4000, language = ["de"] }
engines = ["big", "review"]

[[route]]
when = { tenant = ["clinic"] }
sensitivity = ["premises"]
"""


def test_rules_are_read_in_their_order(tmp_path):
    settings = workspace(tmp_path)
    (tmp_path / "tasks" / "t.toml").write_text(TASK.format("t") + RULES)
    assert load_task(settings, "t").routes == (
        Route(when=When(longer_than=4000, language=("de",)), engines=("big", "review")),
        Route(when=When(tenant=("clinic",)), sensitivity=("premises",)),
    )


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("when = { longr_than = 1 }", "unknown key 'route.when.longr_than', did you mean 'longer_than'?"),
        ("wen = {}", "unknown key 'route.wen', did you mean 'when'?"),
        ('when = { language = ["German"] }', "when.language"),
        ('when = { longer_than = "many" }', "when.longer_than"),
        ("when = { shorter_than = 0 }", "when.shorter_than"),
        ('engines = "big"', "engines"),
    ],
)
def test_a_rule_that_says_nothing_we_know_is_refused(tmp_path, rule, said):
    settings = workspace(tmp_path)
    (tmp_path / "tasks" / "t.toml").write_text(TASK.format("t") + "[[route]]\n" + rule)
    with pytest.raises(Invalid) as raised:
        load_task(settings, "t")
    assert said in str(raised.value)


def test_the_routers_settings_are_read(tmp_path):
    more = '[router]\nmax_error = 0.05\nunknown = "u.txt"\nelse = "big"\nsensitivity = "any"\n'
    wanted = RouterSettings(max_error=0.05, unknown="u.txt", otherwise="big", sensitivity="any")
    assert workspace(tmp_path, more=more).router == wanted
    with pytest.raises(Invalid, match="did you mean 'unknown'"):
        workspace(tmp_path, more='[router]\nunknwon = "x"\n')


NAMES = st.lists(
    st.sampled_from(["big", "release", 'he said "no"', "back\\slash", "Überprüfung", "\x7f", "#"]), max_size=3
)
WHENS = st.builds(
    When,
    longer_than=st.none() | st.integers(0, 10**6),
    shorter_than=st.none() | st.integers(1, 10**6),
    language=st.lists(st.sampled_from(["de", "fr", "gsw"]), max_size=2).map(tuple),
    caller=NAMES.map(tuple),
    tenant=NAMES.map(tuple),
)
ROUTES = st.builds(
    Route,
    when=WHENS,
    engines=NAMES.map(tuple),
    sensitivity=st.sampled_from(["any", "premises", "eu", ("eu", "us")]),
)


@hypothesis.settings(deadline=None)
@given(st.lists(ROUTES, max_size=3))
def test_rules_that_travel_in_a_bundle_read_as_they_were(routes):
    task = Task(name="t", kind="generate", metric="exact", routes=tuple(routes))
    assert "tasks/t.toml" in task_files(task), "it raises where the file would read differently"


def test_a_task_without_rules_writes_none():
    task = Task(name="t", kind="generate", metric="exact")
    assert "route" not in task_files(task)["tasks/t.toml"]
