"""The evidence pack: the same state to the same bytes, and a field without its source is missing, never made up."""

import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable

import click
import golden
import msgspec
import pytest
from click.testing import CliRunner
from governed import CONFIG, TASK, workspace

from behind import behind
from insource.cli.main import main
from insource.govern.checklist import fields
from insource.govern.documents import documents, maps
from insource.govern.evidence import Field
from insource.govern.pack import SUMS, pack
from insource.journeys.facts import about, gather
from insource.journeys.govern import govern
from insource.nouns import digest
from insource.route import permitted
from insource.settings import Settings, load_settings, load_task
from insource.store import Store, egress


def insource(settings: Settings, *words: str):
    return CliRunner().invoke(main, ["-C", str(settings.root), *words], catch_exceptions=False)


async def facts_of(settings: Settings):
    async with await Store.open(settings) as store:
        return await gather("defects", settings, store, release=await about("defects", "", store))


async def states(settings: Settings) -> dict[str, Field]:
    return fields(await facts_of(settings))


async def packed(settings: Settings) -> dict[str, bytes]:
    async with await Store.open(settings) as store:
        return (await govern("defects", settings, store)).pack.files


async def test_the_same_state_gives_the_same_bytes_here_and_in_a_restored_copy(settings, tmp_path):
    (settings.state / "drill.json").unlink()  # a drill is of a backup, and in none
    shutil.rmtree(settings.state / "backups")  # nor is a backup
    first = await packed(settings)
    assert await packed(settings) == first
    async with await Store.open(settings) as store:
        await store.backup(tmp_path / "kept.tar")
    (tmp_path / "other").mkdir()
    shutil.copy(settings.root.parent / "signed.jsonl", tmp_path / "other" / "signed.jsonl")
    other = workspace(tmp_path / "other" / "elsewhere", TASK)
    assert insource(other, "store", "restore", str(tmp_path / "kept.tar")).exit_code == 0
    assert await packed(other) == first
    assert not [name for name, data in first.items() if str(tmp_path).encode() in data], "a path of this machine"


async def test_what_is_written_is_what_the_sums_say(settings):
    async with await Store.open(settings) as store:
        found = await govern("defects", settings, store)
    folder = settings.root / found.folder
    assert sorted(path.name for path in folder.iterdir()) == sorted(found.pack.files)
    sums = dict(reversed(line.split("  ")) for line in (folder / SUMS).read_text().splitlines())
    assert sums == {name: digest((folder / name).read_bytes()) for name in found.pack.files if name != SUMS}


async def test_what_a_kill_left_half_written_is_whole_after_the_same_command(settings):
    first = await packed(settings)
    folder = settings.state / "govern" / "defects@1.1.0"
    (folder / SUMS).unlink()
    (folder / "bias.md").write_bytes(first["bias.md"][:40])
    (folder / ".record.md.part").write_bytes(b"half")
    (folder / "my notes.txt").write_text("stays")
    assert await packed(settings) == first
    assert {name: (folder / name).read_bytes() for name in first} == first
    assert (folder / "my notes.txt").read_text() == "stays"


async def test_with_everything_there_only_what_nobody_said_and_nobody_asked_is_missing(settings):
    found = await states(settings)
    assert found["intended_use"].state == "declared"
    assert (found["intended_use"].by, found["intended_use"].on) == ("A. Muster", "2026-11-20")
    assert (found["risks"].state, found["risks"].by) == ("declared", "B. Beispiel")
    assert {name for name, one in found.items() if one.state == "missing"} == UNSAID
    assert found["rollback"].commands[0] == "insource release rollback defects --why 'INCIDENT'"
    assert "back to defects@1.0.0" in found["rollback"].words
    assert dict(found["rejected"].table.rows) == {"no target": "1", "unknown label": "1"}
    assert dict(found["personal_data"].table.rows) == {"email": "1"}


UNSAID = {
    "out_of_scope_use", "affected", "limitations", "developers", "languages", "licence", "energy", "metric_choice",
    "motivation", "collection", "labelling", "data_terms", "data_upkeep", "purpose", "legal_basis", "data_subjects",
    "necessity", "privacy_risks", "rights", "dpo_advice", "incident_duties", "quarterly_review", "standards",
    "conformity", "holdout",
}  # fmt: skip


def sql(settings: Settings, *statements: str) -> None:
    with behind(settings.root) as db:
        for statement in statements:
            db.execute(statement)


def rewrite(settings: Settings, table: str, **values: str | None) -> None:
    """Puts values into every body of a table; None takes one out."""
    with behind(settings.root) as db:
        for seq, body in db.execute(f"SELECT seq, body FROM {table}").fetchall():  # noqa: S608
            said = {name: value for name, value in (json.loads(body) | values).items() if value is not None}
            db.execute(f"UPDATE {table} SET body = ? WHERE seq = ?", (json.dumps(said), seq))  # noqa: S608


def without(text: str) -> Callable[[Settings], None]:
    def remove(settings: Settings) -> None:
        assert text in TASK
        (settings.root / "tasks" / "defects.toml").write_text(TASK.replace(text, ""))

    return remove


OF_REPORT = {"evaluation", "comparison", "known_errors", "calibration", "environment", "bias"}
OF_GATE = {"gate", "acceptance", "robustness"}
OF_ROWS = {"labels", "origins", "near_duplicates", "personal_data", "slices"}
OF_DATASET = {"dataset", "lineage", "rejected", *OF_ROWS}
OF_ARTEFACT = {"base_model", "training", "artefact", "promise", "signature"}
OF_CHANGES = {"history", "approval", "live", "rollback"}

# what is taken away → how, and exactly which fields are missing then
SOURCES: dict[str, tuple[Callable[[Settings], None], set[str]]] = {
    "the reports": (lambda s: sql(s, "DELETE FROM report"), OF_REPORT),
    "the gates": (lambda s: sql(s, "DELETE FROM gate"), OF_GATE),
    "the dataset": (lambda s: sql(s, "DELETE FROM dataset"), OF_DATASET),
    "the rows": (lambda s: shutil.rmtree(s.state / "blobs"), OF_ROWS),
    "the lineage": (
        lambda s: rewrite(s, "dataset", lineage=None), {"lineage", "rejected"}
    ),
    "the artefact": (lambda s: shutil.rmtree(s.state / "releases"), OF_ARTEFACT),
    "the changes of stage": (lambda s: sql(s, "DELETE FROM stage_change"), OF_CHANGES),
    "the release before": (
        lambda s: sql(s, "DELETE FROM stage_change WHERE release = 'defects@1.0.0'"), {"rollback"}
    ),
    "the journal": (lambda s: (s.state / egress.FILE).unlink(), {"egress"}),
    "the signatures": (lambda s: shutil.rmtree(s.state / "signatures"), {"signature"}),
    "the trust": (lambda s: (s.root / "insource.toml").write_text(CONFIG.partition("[signing]")[0]), {"signature"}),
    "the drill": (lambda s: (s.state / "drill.json").unlink(), {"restore_drill"}),
    "the backups": (lambda s: shutil.rmtree(s.state / "backups"), {"backup"}),
    "the checkpoint": (lambda s: (s.root.parent / "signed.jsonl").unlink(), {"checkpoint"}),
    "the chain": (lambda s: sql(s, "DELETE FROM entry"), {"audit"}),
    "the records": (lambda s: sql(s, "DELETE FROM record"), {"service_levels", "reviewed"}),
    "what was said": (lambda s: sql(s, "DELETE FROM declaration"), {"risks"}),
    "the owner": (without('owner = "quality@plant.example"'), {"owner", "incident_contact"}),
    "the slices": (without('slices = ["shift"]'), {"bias"}),
    "the acceptance": (without("[acceptance]\naccuracy = 0.3"), {"acceptance"}),
    "who says so": (without('by = "A. Muster"'), {"intended_use"}),
    "the day": (without("on = 2026-11-20"), {"intended_use"}),
    "the word itself": (without('intended_use = "Files defect reports of plant 4."'), {"intended_use"}),
    "everything released": (
        lambda s: sql(s, "DELETE FROM release", "DELETE FROM stage_change"),
        {"model", "changelog", "stop", "calendar", *OF_ARTEFACT, *OF_REPORT, *OF_GATE, *OF_CHANGES},
    ),
}  # fmt: skip


@pytest.mark.parametrize("source", SOURCES)
async def test_what_stood_on_a_source_that_is_gone_is_missing_and_nothing_else_is(settings, source):
    remove, expected = SOURCES[source]
    before = await states(settings)
    remove(settings)
    after = await states(load_settings(settings.root))
    gone = {name for name in after if after[name].state == "missing" and before[name].state != "missing"}
    assert gone == expected
    kinds = {name: {one.kind for one in field.sources} for name, field in after.items() if field.state != "missing"}
    assert all(kinds.values()), "every field that is there names its source"


async def test_every_field_stands_in_a_document_and_every_document_names_no_other(settings):
    found = await states(settings)
    placed = {name for one in documents() for section in one.section for name in section.fields}
    assert placed == set(found)
    assert {name for one in maps() for line in one.line for name in line.fields} <= set(found)
    assert [line.of for line in maps()[0].line] == list("123456789")


def commands_of(found: dict[str, Field]) -> list[str]:
    typed = [one for field in found.values() for one in (*field.commands, field.fill) if one.startswith("insource ")]
    return [one.partition(",")[0] for one in typed]


async def test_every_command_of_the_pack_is_one_that_there_is(settings):
    whole = await facts_of(settings)
    bare = msgspec.structs.replace(
        whole, release=None, manifest=None, dataset=None, rows=None, gate=None, report=None, changes=(), recorded=None,
        served=None, live="", before="", made=(),
    )  # fmt: skip
    files = {"FILE": __file__, "incident-defects.tar": "new.tar"}
    typed = sorted({*commands_of(fields(whole)), *commands_of(fields(bare))})
    assert len(typed) > 20
    for line in typed:
        words = [files.get(word, word) for word in shlex.split(line.partition(" keeps ")[0])[1:]]
        command: click.Command = main
        context = click.Context(main, info_name="insource")
        while isinstance(command, click.Group) and words:
            found = command.get_command(context, words[0])
            assert found is not None, line
            command, words = found, words[1:]
        command.make_context(line, words, parent=context)


async def test_what_was_taken_out_and_what_a_log_said_brought_no_rows(settings):
    facts = await facts_of(settings)
    assert facts.dataset is not None
    beside = ({"incumbent": "a" * 64, "sha256": "a" * 64}, {"removals": "b" * 64, "sha256": "b" * 64, "removed": {}})
    more = msgspec.structs.replace(facts.dataset, lineage=(*facts.dataset.lineage, *beside))
    before = fields(facts)["lineage"]
    assert "from 1 import." in before.words
    assert fields(msgspec.structs.replace(facts, dataset=more))["lineage"] == before
    alone = msgspec.structs.replace(facts.dataset, lineage=beside)
    assert fields(msgspec.structs.replace(facts, dataset=alone))["lineage"].state == "missing"


def test_check_ends_with_1_and_names_what_is_missing_in_one_document_and_writes_nothing(settings):
    words = ["-m", "insource", "-C", str(settings.root), "govern", "defects", "--check", "--json"]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "missing: intended_use" not in done.stderr
    assert "limitations" in done.stderr
    found = json.loads(done.stdout)
    assert {"limitations", "quarterly_review", "purpose"} <= set(found["missing"])
    assert found["folder"] == ""
    assert not (settings.state / "govern").exists()


def test_what_is_declared_counts_with_a_name_and_can_be_taken_back(settings):
    wrong = [
        (("--declare", "limitations=long texts"), "somebody says it"),
        (("--declare", "limitatons=long texts", "--by", "C"), "did you mean limitations"),
        (("--declare", "evaluation=very good", "--by", "C"), "nobody can declare it"),
        (("--declare", "limitations", "--by", "C"), "FIELD=TEXT"),
    ]
    for words, why in wrong:
        done = insource(settings, "govern", "defects", *words)
        assert done.exit_code == 2, words
        assert why in done.stderr
    said = ["govern", "defects", "--by", "C. Exemplo", "--declare"]
    assert insource(settings, *said, "limitations=long texts").exit_code == 0
    shown = json.loads(insource(settings, "govern", "defects", "--json").stdout)["fields"]["limitations"]
    assert (shown["state"], shown["words"], shown["by"]) == ("declared", "long texts", "C. Exemplo")
    assert insource(settings, *said, "limitations=").exit_code == 0
    assert (
        json.loads(insource(settings, "govern", "defects", "--json").stdout)["fields"]["limitations"]["state"]
        == "missing"
    )
    assert insource(settings, "audit", "verify").exit_code == 0


async def test_a_pack_of_a_task_without_anything_is_all_gaps_and_settings(tmp_path):
    settings = workspace(tmp_path / "bare")
    async with await Store.open(settings) as store:
        made = pack(await gather("defects", settings, store, release=None))
    measured = {name for name, one in made.fields.items() if one.state == "measured"}
    assert {one.kind for name in measured for one in made.fields[name].sources} <= {
        "task file", "insource.toml", "keys", "installation"
    }  # fmt: skip
    assert "0 of 7" not in made.files["index.html"].decode(), "the owner is named"


def test_the_golden_pack_is_written_byte_for_byte():
    """What changes here changes for everybody who keeps the sums of a pack: python tests/govern/golden.py writes it."""
    made = pack(golden.facts()).files
    kept = {path.name: path.read_bytes() for path in golden.FOLDER.iterdir() if path != golden.FACTS}
    assert {name: data for name, data in made.items() if name not in golden.SUMMED} == kept


KINDS = {
    "extract": 'name = "defects"\nkind = "extract"\nsensitivity = ["eu"]\n[schema]\ntype = "object"\n'
               '[schema.properties]\ntotal = {type = "string"}\n',
    "generate": 'name = "defects"\nkind = "generate"\nsensitivity = "any"\n[scan.input]\nemail = "redact"\n',
}  # fmt: skip
ENGINES = """
[engines.near]
kind = "ollama"
base_url = "http://127.0.0.1:11434"
model = "m"
region = "premises"
[engines.eu]
kind = "openai"
base_url = "https://eu.example/v1"
model = "m"
region = "eu"
[engines.somewhere]
kind = "openai"
base_url = "https://us.example/v1"
model = "m"
"""
MAY_SEE = {
    "extract": {"the release": "yes", "near": "yes", "eu": "yes", "somewhere": "no"},
    "generate": {"the release": "yes", "near": "yes", "eu": "yes", "somewhere": "yes"},
}


@pytest.mark.parametrize("kind", KINDS)
async def test_every_kind_of_task_has_a_pack_and_says_which_engine_may_see_a_text(tmp_path, kind):
    workspace(tmp_path / "plant", KINDS[kind])
    (tmp_path / "plant" / "insource.toml").write_text(ENGINES)
    settings = load_settings(tmp_path / "plant")
    found = await states(settings)
    assert {row[0]: row[2] for row in found["sensitivity"].table.rows} == MAY_SEE[kind]
    for name, answer in MAY_SEE[kind].items():
        if name in settings.engines:
            place, sensitivity = settings.engines[name].place, load_task(settings, "defects").sensitivity
            assert permitted(name, place, sensitivity).allowed == (answer == "yes"), "as the router has it"
    assert (await packed(settings))["bom.cdx.json"]
