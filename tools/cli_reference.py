#!/usr/bin/env python3
"""docs/reference/cli.md, from what every verb prints for --help.

tools/cli_reference.py            print the page
tools/cli_reference.py --write    put it there
tools/cli_reference.py --check    end with 1 when the page is another
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from insource.cli.main import VERBS, main

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "cli.md"
HEAD = """# Command line

Written by `tools/cli_reference.py` from `--help`; a test compares the two.

Every verb takes `-C DIR` (the workspace, default: the present folder) and `--json` (one JSON document on stdout and
nothing else there; words and progress go to stderr). `insource` is also `python -m insource`.

| exit code | meaning |
|--:|---|
| 0 | done; an answer sent to review is done, a measurement that was made is done |
| 1 | a gate, `verify` or `collect --strict` said no |
| 2 | what you gave is wrong |
| 3 | denied |
| 4 | something it needs is down, or gave invalid output |
| 130 | stopped with Ctrl-C; the same command goes on |
"""


def commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    """A command and everything under it, depth first, with the words that call it."""
    yield path, command
    if isinstance(command, click.Group):
        ctx = click.Context(command, info_name=path)
        for name in command.list_commands(ctx):
            below = command.get_command(ctx, name)
            if below is not None:
                yield from commands(below, f"{path} {name}")


def help_of(path: str, command: click.Command) -> str:
    """What `PATH --help` prints, 100 columns wide."""
    defaults = {"max_content_width": 100, "terminal_width": 100, "help_option_names": ["-h", "--help"]}
    settings = defaults | command.context_settings
    with click.Context(command, info_name=path, **settings) as ctx:
        return "\n".join(line.rstrip() for line in command.get_help(ctx).splitlines())


def page() -> str:
    """The whole page."""
    parts = [HEAD, f"## insource\n\n```text\n{help_of('insource', main)}\n```\n"]
    ctx = click.Context(main, info_name="insource")
    for verb in VERBS:
        command = main.get_command(ctx, verb)
        if command is None:
            raise SystemExit(f"the verb {verb} has no command")
        for path, found in commands(command, f"insource {verb}"):
            level = "##" if path.count(" ") == 1 else "###"
            parts.append(f"{level} {path}\n\n```text\n{help_of(path, found)}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    if "--write" in sys.argv:
        PAGE.write_text(page(), "utf-8")
    elif "--check" in sys.argv:
        sys.exit(PAGE.read_text("utf-8") != page())
    else:
        print(page())
