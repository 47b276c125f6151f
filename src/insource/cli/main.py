"""`insource`: the table of verbs, and the one place where an error becomes words and an exit code.

A verb's file is imported only when the verb is typed, so `insource --help` stays instant.
"""

import importlib
import json
import sys
from pathlib import Path
from typing import Any, NoReturn

import click

from insource import __version__
from insource.errors import InsourceError, StoreError
from insource.nouns import visible

VERBS = {
    "init": "Make a workspace, or one that answers from a bundle.",
    "status": "Where each task stands, and what its next gate needs.",
    "collect": "Bring labelled rows in, checked and split.",
    "teach": "Have a stronger model label what has no label, within a budget.",
    "measure": "Measure every candidate on the same rows.",
    "train": "Make a specialist: a candidate release.",
    "price": "What a task costs, hosted and on machines of one's own.",
    "migrate": "Whether a task should move in-house, in six steps and one verdict.",
    "release": "List, show, gate, sign, promote, roll back, verify, export and bundle releases.",
    "serve": "Serve the OpenAI API at /v1.",
    "answer": "Put one input to a task and see the decision explained.",
    "batch": "Answer a file of inputs; a second run does only what is missing.",
    "review": "See and settle what waits for a person.",
    "watch": "Whether traffic is still what the release was made for.",
    "govern": "Write the evidence of a release: cards, assessments, plans, each field with its source.",
    "improve": "Reviewed rows in, retrained release out, tried beside what is live.",
    "nightly": "Do what is due: retention, audit, rollouts, watch.",
    "keys": "Make, list, replace and end API keys, with roles, limits and budgets.",
    "models": "List, pull and verify base models.",
    "audit": "Verify what was recorded, export it, see what was spent.",
    "store": "Back up, restore and bring up to date all that is kept; carry records home.",
    "demo": "The whole loop on generated defect reports, on this machine.",
}

EXAMPLES = """
\b
Examples:
  insource demo                                   the whole loop in minutes
  insource collect tickets rows.csv --input text --target intent
  insource train tickets && insource release gate tickets
  insource migrate tickets                        should it move at all? the plan, then the verdict
"""


class Verbs(click.Group):
    """Finds a verb's command in `insource.cli.VERB`, suggests the nearest one, prints errors as people read them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs in the order of the loop."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb's command, imported now."""
        if cmd_name not in VERBS:
            return None
        command: click.Command = importlib.import_module(f"insource.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the verbs from the table, importing none of them."""
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Names the nearest verb when there is no such one."""
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], VERBS, n=1)
            hint = f"Did you mean {near[0]}?" if near else "insource --help lists the verbs."
            raise click.UsageError(f"There is no verb {args[0]!r}. {hint}", ctx)
        return super().resolve_command(ctx, args)

    def main(self, *args: Any, **extra: Any) -> Any:
        """Runs the command line; an output that takes no more is one of our errors too."""
        try:
            return super().main(*args, **extra)
        except OSError as error:
            from insource.store.files import FULL  # the store is heavy, and --help is not to wait for it

            if error.errno not in FULL:
                raise
            what = error.filename or "the output"
            _complain(StoreError(f"{what} cannot be written: {error.strerror}", hint="free some space, run again"))
            sys.exit(StoreError.exit_code)

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the verb; our errors become a message on stderr and their exit code."""
        try:
            return super().invoke(ctx)
        except InsourceError as error:
            _complain(error)
            ctx.exit(error.exit_code)
        except KeyboardInterrupt:
            _stop(ctx)
        except ImportError as error:
            if not _interrupted(error):
                raise
            _stop(ctx)
        except BrokenPipeError:
            sys.stderr.close()
            ctx.exit(0)


def _stop(ctx: click.Context) -> NoReturn:
    click.echo("\nstopped; nothing half-written. Run the same command to go on.", err=True)
    ctx.exit(130)


def _interrupted(error: BaseException | None) -> bool:
    """Whether Ctrl-C is what an error came from: inside a compiled library's import it comes out as another."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _complain(error: InsourceError) -> None:
    if "--json" in sys.argv:
        body = {"error": {"message": str(error), "code": error.code, "hint": error.hint, "at": error.at}}
        click.echo(json.dumps(body))
    click.echo(f"error: {visible(str(error))}", err=True)
    if error.hint:
        click.echo(f"hint:  {visible(error.hint)}", err=True)


@click.group(
    cls=Verbs, epilog=EXAMPLES, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(__version__, prog_name="insource", message="%(prog)s %(version)s")
@click.option("-C", "directory", metavar="DIR", type=click.Path(path_type=Path), help="The workspace (default: here).")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout, nothing else there.")
@click.pass_context
def main(ctx: click.Context, directory: Path | None, as_json: bool) -> None:
    """Bring LLM work in-house, one task at a time.

    collect labelled rows, measure every candidate, train a specialist, release it behind a gate, serve it over the
    OpenAI API, and send what it doubts to a person.
    """
    ctx.obj = {"directory": directory, "json": as_json}
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
