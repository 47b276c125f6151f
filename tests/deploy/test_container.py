"""The image: linted, without rights, without secrets, and made of what is pinned."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from deployed import DEPLOY, ROOT

from insource.settings import inherited_environment

FILE = DEPLOY / "Containerfile"
TEXT = FILE.read_text("utf-8")
HADOLINT = Path(sys.executable).with_name("hadolint")
needs_hadolint = pytest.mark.skipif(not HADOLINT.exists(), reason="no hadolint for this kind of machine")


def linted(path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([HADOLINT, "--no-color", str(path)], capture_output=True, text=True, check=False)


@needs_hadolint
def test_hadolint_has_nothing_to_say() -> None:
    done = linted(FILE)
    assert (done.returncode, done.stdout) == (0, "")


@needs_hadolint
def test_a_fault_is_found_out(tmp_path: Path) -> None:
    bad = tmp_path / "Containerfile"
    bad.write_text(TEXT.replace('CMD ["serve"', "CMD serve # ["), "utf-8")
    assert linted(bad).returncode == 1


def stages() -> dict[str, str]:
    """Stage → its instructions, comments and continued lines put straight."""
    plain = re.sub(r"^#.*\n", "", TEXT, flags=re.MULTILINE).replace("\\\n", " ")
    found = re.split(r"^FROM (\S+) AS (\S+)\n", plain, flags=re.MULTILINE)
    return {found[i + 1]: f"FROM {found[i]}\n{found[i + 2]}" for i in range(1, len(found), 3)}


def test_the_default_target_is_the_gateway_without_torch() -> None:
    made = stages()
    assert list(made)[-1] == "gateway"
    assert "train" not in re.findall(r"EXTRAS=(\S+)", made["gateway-packages"])[0].split(",")
    assert "train" in re.findall(r"EXTRAS=(\S+)", made["full-packages"])[0].split(",")


def test_the_extras_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    named = {extra for found in re.findall(r"EXTRAS=(\S+)", TEXT) for extra in found.split(",")}
    assert named <= set(project["optional-dependencies"])


def test_it_runs_without_rights_and_says_whether_it_is_ready() -> None:
    base = stages()["base"]
    assert re.search(r"^USER 10001:10001$", base, re.MULTILINE)
    assert "USER" not in stages()["gateway"] + stages()["full"]
    assert re.search(r"^HEALTHCHECK .*/readyz", base, re.MULTILINE)
    assert "apt-get" not in TEXT and "sudo" not in TEXT and "chmod 777" not in TEXT


def test_everything_that_goes_in_is_pinned() -> None:
    bases = re.findall(r"^ARG (?:BUILD|SLIM)=(\S+)$", TEXT, re.MULTILINE)
    assert len(bases) == 2
    assert all(re.fullmatch(r"docker\.io/library/python:\d+\.\d+\.\d+-[a-z-]+", each) for each in bases)
    assert len({re.findall(r":([\d.]+)", each)[0] for each in bases}) == 1, "both of one Python"
    assert "PIP_CONSTRAINT=/source/constraints.txt" in stages()["source"]
    assert "PIP_BUILD_CONSTRAINT=/source/constraints.txt" in stages()["source"]


def test_nothing_secret_is_asked_for_while_it_is_made() -> None:
    assert not re.search(r"(?i)^(ARG|ENV).*(key|password|secret|token)", TEXT, re.MULTILINE)
    assert re.findall(r"^COPY (?!--from)(.*)$", TEXT, re.MULTILINE) == [
        "constraints.txt pyproject.toml README.md LICENSE ./",
        "tools/compiled_wheel.py tools/",
        "src src",
    ]


def test_what_is_copied_is_all_that_the_builder_gets() -> None:
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    let = {line[1:] for line in rules if line.startswith("!")}
    copied = " ".join(re.findall(r"^COPY (?!--from)(.*) \S+$", TEXT, re.MULTILINE)).split()
    assert let == set(copied)
    assert all((ROOT / each).exists() for each in copied)


@pytest.mark.slow
def test_the_gateways_packages_are_those_of_the_constraints_and_torch_is_none_of_them(tmp_path: Path) -> None:
    """The command of the image, but for the last step: what would be installed, and in which versions."""
    extras = re.findall(r"EXTRAS=(\S+)", stages()["gateway-packages"])[0]
    constraints = ROOT / "constraints.txt"
    wanted = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--report"]
    where = {"PIP_CONSTRAINT": str(constraints), "PIP_BUILD_CONSTRAINT": str(constraints)}
    done = subprocess.run([*wanted, str(tmp_path / "report.json"), f"{ROOT}[{extras}]"], cwd=tmp_path, check=False,
                          capture_output=True, text=True, env=inherited_environment() | where)  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "report.json").read_text("utf-8"))["install"]
    named = {each["metadata"]["name"].lower().replace("_", "-"): each["metadata"]["version"] for each in found}
    named.pop("insource")
    pinned = dict(line.split("==") for line in constraints.read_text("utf-8").splitlines() if "==" in line)
    assert not {"torch", "transformers", "scikit-learn"} & set(named)
    assert {name: version for name, version in named.items() if pinned.get(name) != version} == {}
