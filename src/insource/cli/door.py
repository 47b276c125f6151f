"""What every verb shares: the workspace, `--json`, one event loop, and words on stderr."""

import asyncio
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from insource.nouns import to_json
from insource.settings import Settings, load_settings

T = TypeVar("T")


class Door:
    """How a verb speaks: `say` to people on stderr, `show` the result on stdout (JSON when asked)."""

    def __init__(self, directory: Path | None, as_json: bool) -> None:
        self.directory = (directory or Path()).expanduser()
        self.json = as_json

    def settings(self) -> Settings:
        """The workspace's settings. Raises `Missing` outside a workspace."""
        return load_settings(self.directory)

    def say(self, words: str = "") -> None:
        """A line for people; never on stdout when JSON was asked for."""
        click.echo(words, err=True)

    @contextmanager
    def progress(self) -> Iterator[Callable[[str, int, int], None]]:
        """A `progress(what, done, total)`: a bar with rate and time left on a terminal, else a line each 30 s."""
        if not sys.stderr.isatty():
            yield _Lines()
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description:<38}"), BarColumn(28), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            shown = bar.add_task("", total=None, visible=False)

            def progress(what: str, done: int, total: int) -> None:
                bar.update(shown, description=what, completed=done, total=total or None, visible=True)

            yield progress

    def show(self, value: object, words: str) -> None:
        """The result: `value` as one JSON document with --json, else `words`."""
        click.echo(to_json(value).decode() if self.json else words)


class _Lines:
    """Progress where there is no terminal: the first and last of each piece of work, and a line every 30 seconds."""

    def __init__(self) -> None:
        self._said = float("-inf")
        self._began: tuple[float, int] = (time.monotonic(), 0)
        self._total = -1

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if total != self._total:
            self._began, self._total, self._said = (now, done), total, float("-inf")
        if now - self._said < 30 and done < total:
            return
        self._said = now
        started, first = self._began
        left = (now - started) / max(1, done - first) * (total - done)
        rest = f", {left / 60:.0f} min left" if total > done > first and left > 60 else ""
        click.echo(f"  {what}: {done:,}" + (f" of {total:,}{rest}" if total else ""), err=True)


def run(work: Coroutine[Any, Any, T], loop: Callable[[], asyncio.AbstractEventLoop] | None = None) -> T:
    """Runs the verb's journey: the one event loop of a terminal command, made by `loop` where one is given.

    Ctrl-C ends it at once, also inside a computation that does not come back to the loop for minutes; asyncio's own
    handler would wait for it.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _stop)
    with asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(_watched(work))


async def _watched(work: Coroutine[Any, Any, T]) -> T:
    asyncio.get_running_loop().set_exception_handler(_unless_stopped)
    return await work


def _unless_stopped(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A task that Ctrl-C ended has nobody left to ask for its error: that is no news."""
    if not isinstance(context.get("exception"), KeyboardInterrupt):
        loop.default_exception_handler(context)


def _stop(*_: object) -> None:
    raise KeyboardInterrupt


class InOrder(click.Group):
    """A verb with commands below it, listed in the order in which they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 click asks with it
        """The commands as they were added."""
        return list(self.commands)


def _sentence(text: str) -> str:
    """The first sentence, whole: click cuts what it is not given."""
    return " ".join(text.split("\n\n", maxsplit=1)[0].split()).split(". ")[0].rstrip(".") + "."


def verb(*arguments: Any, **keywords: Any) -> Callable[[Callable[..., Any]], click.Command]:
    """A click command that takes `-C` and `--json` before or after its name and hands the function a `Door`."""

    def wrap(function: Callable[..., Any]) -> click.Command:
        @click.pass_context
        def call(ctx: click.Context, /, directory: Path | None, as_json: bool, **options: Any) -> Any:
            above = ctx.obj or {}
            door = Door(directory or above.get("directory"), as_json or bool(above.get("json")))
            return function(door, **options)

        call.__doc__ = function.__doc__
        call.__name__ = function.__name__
        call.__click_params__ = getattr(function, "__click_params__", [])  # type: ignore[attr-defined]
        called = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")(call)
        called = click.option(
            "-C", "directory", metavar="DIR", type=click.Path(path_type=Path), help="The workspace (default: here)."
        )(called)
        made: click.Command = click.command(*arguments, **keywords)(called)
        made.short_help = made.short_help or _sentence(made.help or "")
        return made

    return wrap
