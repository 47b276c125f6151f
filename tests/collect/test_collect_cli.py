"""The verbs init and collect as they are typed: words, JSON, exit codes, and what a stop or a full disk leaves."""

import json
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from command_line import started
from insource.cli.main import main
from insource.nouns import digest
from insource.settings import load_settings

# a process of a small one: what a fork of the tests' own holds would count as the child's
PEAK = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(code)
"""


def insource(*arguments: object, cwd: Path | None = None) -> Result:
    front = ["-C", str(cwd)] if cwd else []
    return CliRunner().invoke(main, [*front, *map(str, arguments)])


def table(count: int) -> str:
    return "text,label\n" + "".join(
        f"{digest(str(i))[:16]} {digest(str(-i))[:16]},{'ab'[i % 2]}\n" for i in range(count)
    )


@pytest.fixture
def plant(tmp_path: Path) -> Path:
    assert insource("init", tmp_path / "plant").exit_code == 0
    return tmp_path / "plant"


def test_init_makes_a_workspace_that_loads_and_explains_every_section(plant: Path) -> None:
    assert load_settings(plant).workspace.base == "smollm2-135m"
    words = (plant / "insource.toml").read_text()
    assert all(f"[{section}]" in words for section in ("workspace", "store", "serve", "engines.tier2"))
    assert (plant / "tasks").is_dir()
    assert (plant / "labels").is_dir()
    assert (plant / ".gitignore").read_text() == ".insource/\n"


def test_every_commented_setting_of_init_is_a_real_one(plant: Path) -> None:
    words = (plant / "insource.toml").read_text()
    told = [line[2:].split("  #")[0] if line.startswith("# ") and (" = " in line or line.startswith("# [")) else line
            for line in words.splitlines()]  # fmt: skip
    (plant / "insource.toml").write_text("\n".join(told))
    settings = load_settings(plant)
    assert settings.engines["tier2"].api_key_env == "TIER2_KEY"
    assert settings.serve.port == 8080


def test_init_refuses_a_workspace_and_leaves_other_files_alone(plant: Path, tmp_path: Path) -> None:
    again = insource("init", plant)
    assert again.exit_code == 2
    assert "a workspace already" in again.stderr
    other = tmp_path / "other"
    other.mkdir()
    (other / "notes.txt").write_text("mine")
    (other / ".gitignore").write_text("*.log")
    assert insource("init", other).exit_code == 0
    assert (other / "notes.txt").read_text() == "mine"
    assert (other / ".gitignore").read_text() == "*.log\n.insource/\n"
    file = tmp_path / "file"
    file.write_text("")
    assert insource("init", file).exit_code == 2


def test_init_here_and_as_json(tmp_path: Path) -> None:
    made = json.loads(insource("--json", "init", cwd=tmp_path).stdout)
    assert made["made"] == ["insource.toml", "tasks/", "labels/", ".gitignore"]


def test_collect_tells_what_it_did_and_what_to_do_next(plant: Path) -> None:
    (plant / "rows.csv").write_text(table(600))
    said = insource("collect", "tickets", plant / "rows.csv", "--input", "text", "--target", "label", cwd=plant)
    assert said.exit_code == 0
    for words in (
        "tickets: ready",
        "600 read: 600 new",
        "made tasks/tickets.toml",
        "check.html",
        "insource train tickets",
    ):
        assert words in said.stdout, words


def test_collect_json_is_one_document_of_the_promised_shape(plant: Path) -> None:
    (plant / "rows.csv").write_text(table(600) + "x,\n")
    asked = ("collect", "tickets", plant / "rows.csv", "--input", "text", "--target", "label", "--json")
    document = json.loads(insource(*asked, cwd=plant).stdout)
    promised = {"task", "dataset", "rows", "splits", "rejects", "findings", "verdict", "page"}
    assert promised <= set(document)
    assert document["rows"] == {"read": 601, "kept": 600, "rejected": 1, "duplicates": 0, "removed": 0, "elsewhere": 0}
    assert set(document["findings"][0]) == {"kind", "severity", "count", "message", "do", "examples"}
    assert (plant / document["page"]).is_file()
    assert (plant / document["rejects"]).is_file()


def test_strict_exits_1_with_the_document_and_the_reasons(plant: Path) -> None:
    (plant / "rows.csv").write_text(table(600) + "x,\n")
    asked = ("collect", "tickets", plant / "rows.csv", "--input", "text", "--target", "label", "--strict", "--json")
    said = insource(*asked, cwd=plant)
    assert said.exit_code == 1
    assert "cannot be used" in json.loads(said.stdout)["refused"][0]
    assert "nothing was kept" in said.stderr


@pytest.mark.parametrize(
    ("content", "said"),
    [("", "is empty"), ("a,b\n1,2\n", "no column 'text'"), ("text,label\nx,a\ny,a\n", "nothing to learn")],
)
def test_wrong_input_exits_2_with_an_error_and_a_hint(plant: Path, content: str, said: str) -> None:
    (plant / "rows.csv").write_text(content)
    found = insource("collect", "tickets", plant / "rows.csv", "--input", "text", "--target", "label", cwd=plant)
    assert found.exit_code == 2
    assert said in found.stderr
    assert "hint:" in found.stderr
    assert "Traceback" not in found.output


@pytest.mark.parametrize("field", ['q"r', "../../evil", "a b", "x" * 65, "a=b"])
def test_a_field_that_could_be_no_name_is_refused_and_nothing_is_written(plant: Path, field: str) -> None:
    (plant / "rows.csv").write_text(table(600))
    found = insource(
        "collect", "tickets", plant / "rows.csv", "--input", "text", "--target", f"{field}=label", cwd=plant
    )
    assert found.exit_code == 2, field
    assert not (plant / "tasks" / "tickets.toml").exists()
    assert not list((plant.parent).rglob("evil*"))


def test_a_label_that_steers_a_terminal_is_set_aside(plant: Path) -> None:
    (plant / "rows.csv").write_text(table(600) + "one more,\x1b[31mred\n")
    asked = ("collect", "tickets", plant / "rows.csv", "--input", "text", "--target", "label", "--json")
    assert json.loads(insource(*asked, cwd=plant).stdout)["rows"]["rejected"] == 1


def test_two_columns_of_one_name_are_refused(plant: Path) -> None:
    (plant / "rows.csv").write_text("text,label,label\nx,a,b\ny,b,a\n")
    found = insource("collect", "tickets", plant / "rows.csv", "--input", "text", "--target", "label", cwd=plant)
    assert found.exit_code == 2
    assert "two columns are called 'label'" in found.stderr


@pytest.mark.parametrize(
    ("section", "line"),
    [
        ("workspace", "threads = -1"),
        ("serve", "port = 99999"),
        ("serve", "queue = -5"),
        ("serve", "max_body_bytes = -1"),
        ("serve", "port = " + "[" * 3000 + "]" * 3000),
        ("engines.x", 'kind = "openai"\ntimeout_s = nan'),
        ("engines.x", 'kind = "openai"\nusd_per_million_input = -1'),
    ],
)
def test_a_setting_out_of_range_is_said_with_its_file(plant: Path, section: str, line: str) -> None:
    (plant / "insource.toml").write_text(f"[{section}]\n{line}\n")
    found = insource("status", cwd=plant)
    assert found.exit_code == 2
    assert "insource.toml" in found.stderr
    assert "Traceback" not in found.output


def test_outside_a_workspace_the_next_step_is_init(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(table(10))
    found = insource("collect", "tickets", tmp_path / "rows.csv", cwd=tmp_path)
    assert found.exit_code == 2
    assert "insource init" in found.stderr


@pytest.mark.parametrize("verb", ["init", "collect"])
def test_help_ends_with_an_example(verb: str) -> None:
    said = insource(verb, "--help").stdout
    assert f"insource {verb}" in said.split("Examples:")[1]


def asked(plant: Path, *extra: str) -> list[str]:
    return ["collect", "tickets", str(plant / "rows.csv"), "--input", "text", "--target", "label", *extra]


def collecting(plant: Path, *extra: str, **how: object) -> subprocess.Popen[str]:
    return started(plant, *asked(plant, *extra), **how)


def left(plant: Path) -> list[str]:
    folders = [plant / "tasks", plant / "labels", plant / ".insource" / "collect"]
    return [
        p.name
        for folder in folders
        if folder.exists()
        for p in folder.rglob("*")
        if p.is_file() and p.name != ".gitkeep"
    ]


def test_a_disk_that_takes_no_more_ends_with_4_and_leaves_nothing(plant: Path) -> None:
    (plant / "rows.csv").write_text(table(5000))
    limit = 400_000
    process = collecting(plant, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    _, words = process.communicate(timeout=200)
    assert process.returncode == 4, words
    assert "error:" in words
    assert "Traceback" not in words
    assert left(plant) == []
    assert not list((plant / ".insource").rglob("*.part"))


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["reading", "comparing", "wrong labels"])
def test_ctrl_c_at_any_step_ends_with_130_and_leaves_nothing(plant: Path, moment: str) -> None:
    (plant / "rows.csv").write_text(table(12_000))
    process = collecting(plant)
    assert process.stderr is not None
    for line in process.stderr:
        if moment in line:
            process.send_signal(signal.SIGINT)
            break
    _, words = process.communicate(timeout=120)
    assert process.returncode == 130, words
    assert "Traceback" not in words
    assert left(plant) == []


@pytest.mark.slow
def test_a_line_of_a_gigabyte_is_named_in_little_memory(plant: Path) -> None:
    with (plant / "rows.csv").open("w") as file:
        file.write(table(600))
        for _ in range(1024):
            file.write("x" * 2**20)
        file.write("\nlast words,a\n")
    began = time.monotonic()
    words = [sys.executable, "-m", "insource", "-C", str(plant), *asked(plant, "--json")]
    command = [sys.executable, "-c", PEAK, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["rows"] == {"read": 602, "kept": 601, "rejected": 1, "duplicates": 0, "removed": 0, "elsewhere": 0}
    assert "line too long" in (plant / document["rejects"]).read_text()
    assert int(done.stderr.splitlines()[-1]) < 700_000  # kilobytes
    assert time.monotonic() - began < 250
