"""What people declare of a task, written into one table of its file; all that stands beside it stays as it is."""

import json
import re
import tomllib
from collections.abc import Mapping

from insource.errors import Invalid
from insource.settings import Settings, task_file
from insource.store.files import write_whole

Plain = str | float | bool
HEAD = re.compile(r"[ \t]*\[")


def declare(settings: Settings, task: str, table: str, said: Mapping[str, Plain]) -> None:
    """Sets keys of `[table]` in tasks/TASK.toml. Raises `Invalid`, and writes nothing, for a file it cannot change so.

    What was there is compared with what is there then: nothing but these keys may differ.
    """
    path, _ = task_file(settings, task)
    before = path.read_bytes().decode("utf-8")
    after = with_keys(before, table, said)
    wanted = tomllib.loads(before)
    wanted[table] = {**wanted.get(table, {}), **said}
    try:
        found = tomllib.loads(after)
    except tomllib.TOMLDecodeError:
        found = {}
    if found != wanted:
        lines = "\n".join(_line(key, value) for key, value in said.items())
        raise Invalid(f"{path}: [{table}] cannot be written there", hint=f"write it by hand:\n[{table}]\n{lines}")
    write_whole(path, after)


def with_keys(text: str, table: str, said: Mapping[str, Plain]) -> str:
    """The TOML text with these keys in that table: changed where they stand, else added at the table's head."""
    ends = "\r\n" if "\r\n" in text else "\n"
    lines = text.split(ends)
    new = [_line(key, value) for key, value in said.items()]
    start = next((i for i, line in enumerate(lines) if _opens(line, table)), None)
    if start is None:
        before = lines[:-1] if lines[-1] == "" else lines
        gap = [""] if before and before[-1] else []
        return ends.join([*before, *gap, f"[{table}]", *new, ""])
    end = next((i for i in range(start + 1, len(lines)) if HEAD.match(lines[i])), len(lines))
    inside = [line for line in lines[start + 1 : end] if not any(_sets(line, key) for key in said)]
    return ends.join([*lines[: start + 1], *new, *inside, *lines[end:]])


def _opens(line: str, table: str) -> bool:
    return re.match(rf"[ \t]*\[[ \t]*{re.escape(table)}[ \t]*\][ \t]*(#.*)?$", line) is not None


def _sets(line: str, key: str) -> bool:
    return re.match(rf"[ \t]*[\"']?{re.escape(key)}[\"']?[ \t]*=", line) is not None


def _line(key: str, value: Plain) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return f"{key} = {json.dumps(value, ensure_ascii=False)}".replace("\x7f", "\\u007f")
