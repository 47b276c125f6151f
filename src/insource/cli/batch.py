"""`insource batch`: a file or folder of documents."""

from pathlib import Path

import click
import msgspec

from insource.cli.door import Door, run, verb
from insource.cli.numbers import Number
from insource.collect.documents import Columns, documents
from insource.errors import Invalid
from insource.journeys.answer import Path as AnswerPath
from insource.journeys.batch import TRIES, Dead, Wish, batch, dead
from insource.journeys.batch_out import rejects_of
from insource.journeys.batch_row import Summary
from insource.journeys.on_cluster import cluster_at
from insource.journeys.serve import close_path, open_path
from insource.nouns import Noun, digest
from insource.settings import Settings, load_task
from insource.store import Store

EXAMPLE = """
\b
Examples:
  insource batch tickets in.jsonl --out out.jsonl
  head -1 in.jsonl   {"id": "r1", "input": "where is my order?"}
  insource batch tickets mails.csv --input text --id number --out out.csv
  insource batch invoices scans/ --out out.parquet --max-usd 20 --max-minutes 90
  insource batch tickets in.jsonl --out out.jsonl --ray 10.0.0.7:6379
  insource batch tickets --dead
"""


class Given(Noun, frozen=True, kw_only=True):
    """`--dead` and `--retry` in JSON."""

    task: str
    dead: list[Dead] = []
    retried: int = 0


@verb("batch", epilog=EXAMPLE)
@click.argument("task")
@click.argument("source", metavar="[IN]", required=False, type=click.Path(path_type=Path))
@click.option("--out", metavar="OUT", type=click.Path(path_type=Path, dir_okay=False), help=".jsonl, .csv or .parquet.")
@click.option("--input", "column", metavar="COL", default="", help="The column of the text (default: input).")
@click.option("--id", "named", metavar="COL", default="", help="The column of the id (default: id, else the row).")
@click.option("--workers", type=click.IntRange(1, 4096), help="Calls at a time (default: what keeps the engine busy).")
@click.option(
    "--ray", metavar="ADDRESS", default="", help="Compute on a Ray cluster: HOST:PORT, ray://HOST:PORT, auto."
)
@click.option("--max-usd", type=Number(0), help="Stop before the run may cost more.")
@click.option("--max-minutes", type=Number(0), help="Begin no call after so long.")
@click.option("--tries", type=click.IntRange(1, 100), default=TRIES, show_default=True, help="Give up after so many.")
@click.option("--dead", "listed", is_flag=True, help="List the documents that were given up.")
@click.option("--retry", is_flag=True, help="Have the next run ask for them again.")
def command(door: Door, task: str, source: Path | None, out: Path | None, **asked: object) -> None:
    """Answer every document of IN with TASK or TASK@VERSION, in order, into OUT.

    IN is JSON lines, csv, parquet, a text, a PDF or a folder of texts and PDFs. What is answered is kept by its text,
    the release and the policy: stopped or killed, the same command answers only what is missing, and so does one with
    another OUT. What cannot be read is named in OUT.rejects.jsonl. Ends with 4 when an engine left calls without an
    answer or a limit ended the run; run it again to go on.
    """
    if asked["listed"] or asked["retry"]:
        given = run(_given_up(door, task, int(str(asked["tries"])), retry=bool(asked["retry"])))
        door.show(given, _given_words(given, retry=bool(asked["retry"])))
        return
    if source is None or out is None:
        raise Invalid("what is to be answered, and where to?", hint=f"insource batch {task} IN --out OUT")
    summary = run(_batch(door, task, (source, out), asked))
    door.show(summary, _words(summary))
    if summary.failed or summary.stopped:
        click.get_current_context().exit(4)


async def _batch(door: Door, task: str, files: tuple[Path, Path], asked: dict[str, object]) -> Summary:
    settings = door.settings()
    limits = {name: asked[name] for name in ("max_usd", "max_minutes", "tries")}
    columns = Columns(input=str(asked["column"]), id=str(asked["named"]))
    given = limits | {"columns": columns, "at_once": asked["workers"] or 0}
    # what is typed wrong is told before a cluster is waited for
    load_task(settings, task.partition("@")[0])
    next(documents(files[0], columns), None)
    async with await Store.open(settings) as store:
        with door.progress() as progress:
            async with cluster_at(str(asked["ray"]), settings) as cluster:
                path = await open_path(task, settings, store, progress=progress, cluster=cluster)
                wish = msgspec.convert(given | {"hangs_on": _engines(settings, path)}, Wish, from_attributes=True)
                try:
                    return await batch(*files, path, store, progress=progress, wish=wish)
                finally:
                    await close_path(path)


def _engines(settings: Settings, path: AnswerPath) -> str:
    """What the names of its engines stand for: with another model or server behind one, its answers are others."""
    names = sorted({tier.engine.name for tier in (*path.tiers, *path.spare)} & settings.engines.keys())
    said = [(name, settings.engines[name]) for name in names]
    return digest([(name, one.kind, one.model, one.script, one.address, one.context) for name, one in said])


async def _given_up(door: Door, task: str, tries: int, *, retry: bool) -> Given:
    settings = door.settings()
    name = load_task(settings, task.partition("@")[0]).name
    async with await Store.open(settings) as store:
        listed = await dead(name, store, tries)
        retried = await store.batches.retry(name) if retry else 0
    return Given(task=name, dead=listed, retried=retried)


def _given_words(given: Given, *, retry: bool) -> str:
    if retry:
        return f"{given.retried:,} failed documents of {given.task} are asked again by the next run"
    said = [f"  {one.id}: failed {one.tries} times: {one.error}" for one in given.dead]
    hint = f"insource batch {given.task} --retry has the next run ask for them again"
    count = len(given.dead)
    return "\n".join(
        [f"{count:,} document{'s' * (count != 1)} of {given.task} given up", *said, *([hint] if said else [])]
    )


def _words(summary: Summary) -> str:
    reused = f" ({summary.reused:,} by an earlier run)" if summary.reused else ""
    said = [f"{summary.out}: {summary.rows:,} rows, {summary.answered:,} answered{reused}"]
    if summary.stopped:
        said = [f"stopped, {summary.stopped}: {summary.rows:,} done{reused}, about {summary.left:,} left"]
        said += [f"  the same command goes on; until then the answers are in {summary.out}.part as they came"]
    waiting = f"{summary.review:,} wait{'s' * (summary.review == 1)} for a person"
    said += [f"  {waiting}: insource review {summary.task}"] * bool(summary.review)
    rejects = rejects_of(Path(summary.out))
    said += [f"  {summary.bad:,} could not be read; {rejects} says why"] * bool(summary.bad and not summary.stopped)
    again = summary.failed - summary.dead
    said += [f"  {again:,} have no valid answer; the same command asks for them again"] * bool(again)
    said += [f"  {summary.dead:,} were given up: insource batch {summary.task} --dead"] * bool(summary.dead)
    said += [f"    of most it was said: {summary.why}"] * bool(summary.why)
    said += [f"  {summary.usd:,.4f} USD"] * bool(summary.usd)
    return "\n".join(said)
