#!/usr/bin/env python3
"""The clients that people call an OpenAI API with, installed once under the cache folder: tests run the real ones.

    tools/clients_env.py          makes it if need be, and prints where it lies

They are apart because they pin versions that are not ours. OpenAI's client for Node needs npm.
"""

import fcntl
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from insource.settings import cache_folder

PYTHON = ("langchain-openai==1.7.4", "llama-index-llms-openai-like==0.8.1", "instructor==1.17.0",
          "pydantic-ai-slim[openai]==2.31.1")  # fmt: skip
NODE = ("openai@6",)


def home() -> Path:
    """Where they lie, made or not; other versions lie elsewhere."""
    return cache_folder() / f"clients-{hashlib.sha256(repr((PYTHON, NODE)).encode()).hexdigest()[:12]}"


def make() -> Path:
    """Makes it unless it is there, one at a time, and returns its folder: `bin/python`, and `node_modules` with npm."""
    home().parent.mkdir(parents=True, exist_ok=True)
    with home().with_name(f"{home().name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (home() / "made").is_file():
            return home()
        if not (home() / "bin" / "python").is_file():
            _run([sys.executable, "-m", "venv", str(home())])
        pip = [str(home() / "bin" / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
        _run([*pip, *PYTHON])
        npm = shutil.which("npm")
        if npm:
            _run([npm, "install", "--no-audit", "--no-fund", "--prefix", str(home()), *NODE])
        (home() / "made").write_text("\n".join((*PYTHON, *NODE)), "utf-8")
    return home()


def _run(words: list[str]) -> None:
    subprocess.run(words, check=True, stdout=sys.stderr)  # noqa: S603 - our own words


if __name__ == "__main__":
    print(make())
