"""`insource` as a person types it: a process of its own, which Ctrl-C and limits reach."""

import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any


def started(home: Path, *words: str, **how: Any) -> subprocess.Popen[str]:
    """`insource -C home words` under way; `how` goes to Popen."""
    # A shell that runs us in the background has Ctrl-C ignored, and children inherit it.
    how = {"preexec_fn": partial(signal.signal, signal.SIGINT, signal.default_int_handler)} | how
    command = [sys.executable, "-m", "insource", "-C", str(home), *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **how)
