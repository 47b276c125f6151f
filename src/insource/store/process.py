"""Which process is this, and is that one gone? Linux says so in /proc; elsewhere nobody is known to be gone."""

import os
from pathlib import Path

BOOT = Path("/proc/sys/kernel/random/boot_id")


def this_process() -> str:
    """Host, boot, number and start of this process: no other has ever been called so. Empty where that is not known."""
    return _named(os.getpid())


def is_gone(process: str) -> bool:
    """Whether `process`, as `this_process` calls it, ran on this machine and runs no more."""
    host, _, rest = process.partition(" ")
    boot, _, rest = rest.partition(" ")
    number = rest.partition(" ")[0]
    if host != os.uname().nodename or not number.isdecimal() or not _boot():
        return False
    if boot != _boot():
        return True
    seen = _named(int(number))
    return seen != process if seen else not _runs(int(number))


def _runs(number: int) -> bool:
    """Whether there is such a process: /proc may hide those of other users (hidepid), and kill does not."""
    try:
        os.kill(number, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True


def _named(number: int) -> str:
    try:
        stat = Path(f"/proc/{number}/stat").read_text("utf-8", "replace")
    except OSError:
        return ""
    started = stat.rpartition(")")[2].split()[19]
    return f"{os.uname().nodename} {_boot()} {number} {started}"


def _boot() -> str:
    try:
        return BOOT.read_text("utf-8").strip()
    except OSError:
        return ""
