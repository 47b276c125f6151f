"""The systemd unit: what systemd says of it, and that its command is the product's."""

import re
import shutil
import subprocess
from pathlib import Path

import click
import pytest
from deployed import DEPLOY

from insource.cli.main import main
from insource.serve.run import DRAIN_S, LAST_WORDS_S

UNIT = DEPLOY / "systemd" / "insource.service"
TEXT = UNIT.read_text("utf-8")
MOST_EXPOSED = 1.5  # of 10, as `systemd-analyze security` counts; a service without any of it has 9.6
needs_systemd = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd here")


def analyze(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, check=False)


def runnable(folder: Path) -> Path:
    """The unit with a program that is there in the place of ours: verify looks whether it can be run."""
    path = folder / UNIT.name
    path.write_text(TEXT.replace("/usr/local/lib/insource/bin/insource", "/bin/true"), "utf-8")
    return path


@needs_systemd
def test_systemd_has_nothing_to_say(tmp_path: Path) -> None:
    done = analyze("verify", "--man=no", str(runnable(tmp_path)))
    said = [line for line in done.stderr.splitlines() if UNIT.name in line]
    assert (done.returncode, said) == (0, [])


@needs_systemd
def test_a_key_that_systemd_does_not_know_is_found_out(tmp_path: Path) -> None:
    path = runnable(tmp_path)
    path.write_text(path.read_text("utf-8").replace("ProtectHome=", "ProtectHomes="), "utf-8")
    assert "ProtectHomes" in analyze("verify", "--man=no", str(path)).stderr


@needs_systemd
def test_it_is_as_closed_as_it_can_be(tmp_path: Path) -> None:
    done = analyze("security", "--offline=true", "--no-pager", str(runnable(tmp_path)))
    found = re.search(r"Overall exposure level for insource\.service: ([\d.]+)", done.stdout)
    assert found, done.stdout + done.stderr
    assert float(found[1]) <= MOST_EXPOSED


def test_its_command_is_one_of_the_product() -> None:
    words = re.findall(r"^ExecStart=\S+ (.*)$", TEXT, re.MULTILINE)[0].split()
    serve = main.get_command(click.Context(main), words[0])
    assert serve is not None
    known = {name for option in serve.params for name in option.opts}
    assert {word for word in words if word.startswith("--")} <= known


def test_it_waits_until_calls_begun_are_answered() -> None:
    assert int(re.findall(r"^TimeoutStopSec=(\d+)$", TEXT, re.MULTILINE)[0]) >= DRAIN_S + LAST_WORDS_S


def test_what_decides_who_died_can_be_read() -> None:
    """/proc/sys/kernel/random/boot_id tells which processes are gone; ProcSubset=pid hides it."""
    assert "ProcSubset=pid" not in [line for line in TEXT.splitlines() if not line.startswith("#")]
