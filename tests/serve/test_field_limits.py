"""Each field has its limit: an answer leaves when all are sure enough, and the decision names those that are not."""

import random

import httpx2 as httpx
from serving import say, socket_of

from insource.engines.artefact import read_manifest
from insource.journeys.answer import answer
from insource.journeys.serve import close_path, open_live, open_path
from insource.journeys.terms import terms_now
from insource.journeys.train import train
from insource.nouns import Dataset, Example, StageChange, ask, digest, record_id
from insource.serve.app import create_app
from insource.settings import load_settings, load_task
from insource.store import Store

TASK = """
name = "defects"
kind = "classify"
[outputs.area]
labels = ["spindle", "coolant"]
[outputs.urgency]
labels = ["low", "high"]
[risk]
{whole}
[risk.fields]
{limits}
"""
AREAS = {"spindle": ["chatter", "runout", "bearing noise"], "coolant": ["leak", "low level", "foam"]}


def rows() -> list[Example]:
    """The area can be told from the words, the urgency in three texts of four; else it is a coin's."""
    dice = random.Random(2)  # noqa: S311 - test data
    made = []
    for number in range(1600):
        area, urgency = dice.choice(list(AREAS)), dice.choice(["low", "high"])
        told = {"low": "whenever", "high": "line is down"}[urgency] if dice.random() < 0.75 else "soon"
        text = f"{area} {dice.choice(AREAS[area])}, {told} #{number}"
        made.append(Example(id=str(number), task="defects", input=text, target={"area": area, "urgency": urgency},
                            split=("train", "dev")[number % 2]))  # fmt: skip
    return made


async def place(root, limits: str, whole: str = ""):
    (root / "tasks").mkdir(parents=True, exist_ok=True)
    (root / "insource.toml").write_text("")
    (root / "tasks" / "defects.toml").write_text(TASK.format(limits=limits, whole=whole))
    settings = load_settings(root)
    return settings, await Store.open(settings)


async def live(settings, store):
    examples = rows()
    await store.save_dataset(Dataset(id=digest(["rows"]), task="defects", counts={"train": 1}), examples)
    made = await train(load_task(settings, "defects"), settings, store, base="linear")
    await store.change_stage(StageChange(release=made.name, before="candidate", after="live", who="t", why="t"))
    return made


async def one(path, store, text: str):
    return await answer(ask(path.task, text, id=record_id()), path, store.append)


async def test_a_doubtful_field_holds_the_answer_back_and_is_named(tmp_path):
    settings, store = await place(tmp_path, "area = 0.02\nurgency = 0.05")
    async with store:
        made = await live(settings, store)
        path = await open_path("defects", settings, store)
        demanded = path.tiers[0].terms.fields
        assert (path.threshold, list(demanded)) == (None, ["area", "urgency"])
        sure = await one(path, store, "spindle runout, line is down #1")
        others = [await one(path, store, f"spindle runout, soon #{number}") for number in range(30)]
        await close_path(path)
        assert sure.outcome == "answered"
        doubtful = [record for record in others if record.outcome == "review"]
        assert len(doubtful) > 10
        assert {record.attempts[0].decision.short for record in doubtful} == {("urgency",)}
        assert all(one.reason.startswith("confidence of urgency 0.") for one in await store.pending("defects"))
        (said,) = terms_now(made, read_manifest(settings.state / made.folder), settings)
        assert said.endswith("given automatically (area 2.0%, urgency 5.0%; 95% confidence)")
        paths, _ = await open_live(settings, store)
        async with socket_of(create_app(settings, store, paths)) as url, httpx.AsyncClient(base_url=url) as http:
            bodies = [
                (await http.post("/v1/chat/completions", json=say(f"spindle runout, soon #{n}", "defects"))).json()
                for n in range(30)
            ]
        short = [body["insource"]["short"] for body in bodies if body["insource"]["decision"] == "review"]
        assert short == [["urgency"]] * len(doubtful)


async def test_what_is_promised_holds_on_new_rows_and_the_whole_keeps_its_own_limit(tmp_path):
    settings, store = await place(tmp_path, "urgency = 0.03", "max_error = 0.05")
    async with store:
        await live(settings, store)
        path = await open_path("defects", settings, store)
        assert path.threshold is not None
        right = given = 0
        dice = random.Random(9)  # noqa: S311 - test data
        for number in range(400):
            urgency = dice.choice(["low", "high"])
            told = {"low": "whenever", "high": "line is down"}[urgency] if dice.random() < 0.75 else "soon"
            record = await one(path, store, f"spindle runout, {told} #{number}")
            if record.outcome == "answered":
                given += 1
                right += record.answer.value["urgency"] == urgency
        await close_path(path)
    assert given > 200
    assert 1 - right / given <= 0.03


async def test_other_limits_need_no_training_and_one_that_cannot_be_kept_promises_nothing(tmp_path):
    settings, store = await place(tmp_path, "urgency = 0.05")
    async with store:
        made = await live(settings, store)
        file = tmp_path / "tasks" / "defects.toml"
        file.write_text(file.read_text().replace("urgency = 0.05", "urgency = 0.0001"))
        path = await open_path("defects", settings, store)
        await close_path(path)
        assert path.tiers[0].terms.fields == {"urgency": 0.9999}
        (said,) = terms_now(made, read_manifest(settings.state / made.folder), settings)
        assert "no error of a field can be promised yet" in said
        file.write_text(file.read_text().replace("[risk.fields]\nurgency = 0.0001", "").replace(
            "[risk]\n", "[risk]\nfields = 0.05\n"))  # fmt: skip
        path = await open_path("defects", settings, store)
        await close_path(path)
        assert set(path.tiers[0].terms.fields) == {"area", "urgency"}
