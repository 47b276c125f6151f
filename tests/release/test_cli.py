"""`insource release` where it says no to what was typed, and the words it has for people."""

import asyncio
import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from insource.cli.main import main
from insource.journeys.promote import who
from insource.nouns import Check, Gate, Release
from insource.settings import load_task
from insource.store import Store

sys.path.insert(0, str(Path(__file__).parent))
from release_parts import stub

PARTS = ("list", "show", "gate", "promote", "rollback", "verify", "export")


def insource(settings, *words: str):
    return CliRunner().invoke(main, ["-C", str(settings.root), "release", *words], catch_exceptions=False)


def registered(settings, *versions: str, gate: bool = True) -> list[Release]:
    async def work() -> list[Release]:
        made = []
        async with await Store.open(settings) as store:
            for version in versions:
                release = stub(settings, load_task(settings, "defects"), version)
                await store.add_release(release)
                check = Check(name="accuracy", demanded="≥ 0.8", found="0.9", passed=True)
                if gate:
                    await store.save_gate(
                        Gate(release=release.name, artefact=release.artefact, checks=(check,), report="r")
                    )
                made.append(release)
        return made

    return asyncio.run(work())


@pytest.mark.parametrize("part", PARTS)
def test_every_help_ends_with_an_example(settings, part):
    done = insource(settings, part, "--help")
    assert done.exit_code == 0
    assert f"insource release {part} tickets" in done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("gate", "defects"), "defects has no release yet"),
        (("show", "defects@9.9.9"), "there is no release defects@9.9.9"),
        (("show", "defect"), "there is no task 'defect'"),
        (("show", "defects@"), "names no version"),
        (("verify", "defects"), "defects has no release yet"),
        (("rollback", "defects"), "no release to roll back to"),
        (("list", "orders"), "there is no task 'orders'"),
    ],
)
def test_what_is_not_there_ends_with_2_and_a_hint(settings, words, said):
    done = insource(settings, *words)
    assert done.exit_code == 2
    assert said in done.stderr
    assert "hint:" in done.stderr
    assert done.stdout == ""


def test_what_is_no_stage_says_which_there_are(settings):
    registered(settings, "1.0.0")
    done = insource(settings, "promote", "defects", "--to", "prod")
    assert done.exit_code == 2
    assert "stages: candidate, staging, shadow, canary, live, retired" in done.stderr


def test_a_release_on_its_way_shows_what_it_waits_for_and_who_answered_when(settings):
    registered(settings, "1.0.0", "1.1.0")
    assert insource(settings, "promote", "defects@1.0.0").exit_code == 0
    done = insource(settings, "promote", "defects@1.1.0", "--to", "canary", "--share", "25", "--why", "quicker")
    assert "candidate → canary 25% by" in done.output
    assert "next: insource release show defects@1.1.0 says what it waits for" in done.output
    said = insource(settings, "show", "defects@1.1.0").output
    assert "on its way: canary 25%" in said
    assert "before canary 50%: 2.0 days more; 200 calls more that both answer" in said
    assert "not worse" in said
    listed = next(line for line in insource(settings, "list", "defects").output.splitlines() if "canary 25%" in line)
    assert listed.rstrip().endswith(f" {who()}"), "who let it begin"
    standing = json.loads(insource(settings, "show", "defects@1.1.0", "--json").stdout)["standing"]
    assert standing["ruling"]["verdict"] == "hold"
    assert [check["name"] for check in standing["ruling"]["checks"]] == ["quality", "failures", "speed", "not worse"]
    found = json.loads(insource(settings, "list", "defects", "--at", "2999-01-01T00:00", "--json").stdout)["releases"]
    assert found == [
        {"release": "defects@1.0.0", "stage": "live", "share": 0},
        {"release": "defects@1.1.0", "stage": "canary", "share": 25},
    ]
    assert "no release answered anything" in insource(settings, "list", "defects", "--at", "2020-01-01").output
    assert "canary → retired" in insource(settings, "rollback", "defects").output


@pytest.mark.parametrize(
    ("words", "said"),
    [(("--to", "canary", "--share", "101"), "not in the range"), (("--share", "10"), "nothing else has a share")],
)
def test_a_share_is_a_canarys_and_a_percentage(settings, words, said):
    registered(settings, "1.0.0")
    done = insource(settings, "promote", "defects@1.0.0", *words)
    assert done.exit_code == 2
    assert said in done.stderr


def test_promote_takes_the_newest_candidate_and_rollback_what_is_live(settings):
    registered(settings, "1.0.0", "1.1.0")
    assert "defects@1.1.0 candidate → live" in insource(settings, "promote", "defects").stdout
    assert "defects@1.0.0 candidate → live" in insource(settings, "promote", "defects").stdout
    assert insource(settings, "promote", "defects").exit_code == 2, "no candidate is left"
    assert insource(settings, "rollback", "defects@1.1.0").exit_code == 2, "it is not live"
    done = insource(settings, "rollback", "defects", "--why", "drill")
    assert "defects@1.1.0 retired → live by" in done.stdout
    assert done.stdout.strip().endswith(": drill")


def test_retiring_by_hand_leaves_nothing_live(settings):
    registered(settings, "1.0.0")
    insource(settings, "promote", "defects")
    assert insource(settings, "promote", "defects@1.0.0", "--to", "candidate").exit_code == 2
    assert insource(settings, "promote", "defects@1.0.0", "--to", "retired").exit_code == 0
    listed = json.loads(insource(settings, "list", "--json").stdout)["releases"]
    assert [(r["name"], r["stage"], r["gate"]) for r in listed] == [("defects@1.0.0", "retired", True)]


def test_the_list_is_a_line_a_release_and_the_card_tells_its_history(settings):
    registered(settings, "1.0.0", gate=False)
    registered(settings, "1.1.0")
    insource(settings, "promote", "defects", "--why", "better on urgency")
    head, first, second = insource(settings, "list", "defects").stdout.splitlines()
    assert head.split()[:4] == ["release", "stage", "form", "base"]
    assert "not asked" in first
    assert "✓ yes" in second
    card = insource(settings, "show", "defects").stdout
    assert "defects@1.1.0" in card.splitlines()[0]
    assert "candidate → live by" in card
    assert "better on urgency" in card


def test_a_linear_release_has_nothing_to_export_and_a_trained_one_has(settings, tmp_path):
    (release,) = registered(settings, "1.0.0")
    out = tmp_path / "out"
    done = insource(settings, "export", "defects", "--out", str(out))
    assert done.exit_code == 2
    assert "has no merged model" in done.stderr
    assert not out.exists()
    (settings.state / release.folder / "weights.json").write_text("{}")
    assert insource(settings, "export", "defects", "--out", str(out)).exit_code == 1


def test_an_export_is_the_merged_model_and_its_manifest_and_never_overwrites(settings, tmp_path):
    from msgspec.structs import replace

    from insource.engines.artefact import file_digests, read_manifest, write_manifest
    from insource.release.export import export

    release = stub(settings, load_task(settings, "defects"), "2.0.0")
    folder = settings.state / release.folder
    (folder / "model").mkdir()
    (folder / "model" / "model.safetensors").write_bytes(b"weights")
    release = replace(
        release, artefact=write_manifest(folder, replace(read_manifest(folder), files=file_digests(folder)))
    )
    (tmp_path / "out.part").mkdir()
    (tmp_path / "out.part" / "mine").write_text("mine")
    files = export(release, folder, tmp_path / "out")
    assert (tmp_path / "out.part" / "mine").read_text() == "mine"
    assert [path.name for path in files] == ["manifest.json", "model.safetensors"]
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == b"weights"
    from insource.errors import Conflict, Invalid

    with pytest.raises(Conflict, match="exists already"):
        export(release, folder, tmp_path / "out")
    for form in ("hf", "gguf-q8_0"):
        with pytest.raises(Invalid, match="writes its answers"):
            export(release, folder, tmp_path / "other", form)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("template", "made"),
    [
        ("Text: {input}\nLabel:", "Text: {{ .Prompt }}\nLabel:"),
        ("{{ env }} {input}\nA:", '{{ "{{" }} env }} {{ .Prompt }}\nA:'),
        ("{{{x {{input}}\nA:", '{{ "{{{" }}x {{ "{" }}{{ .Prompt }}}\nA:'),
        ('""{input}"\nA:', '""{{ .Prompt }}"\nA:'),
    ],
)
def test_a_prompt_stays_a_prompt_in_ollamas_template(template, made):
    from insource.release.export import ollama_template

    assert ollama_template(template) == made


@pytest.mark.parametrize("template", ['{input}"""\nFROM /etc/shadow\nTEMPLATE """\nA:', '{input}\nA:"', '"""{input}A:'])
def test_a_prompt_that_would_end_in_the_middle_of_a_modelfile_is_refused(template):
    from insource.errors import Invalid
    from insource.release.export import ollama_template

    with pytest.raises(Invalid, match="Modelfile"):
        ollama_template(template)
