"""`insource release`: list, show, gate, sign, promote, roll back, verify, export and bundle releases."""

from pathlib import Path
from typing import NoReturn

import click
import msgspec

from insource import route
from insource.cli import release_sign
from insource.cli import release_words as words
from insource.cli.door import Door, InOrder, verb
from insource.cli.release_pick import candidate, live, live_or_newest, named, newest, pick
from insource.cli.stored import with_store
from insource.engines.artefact import Manifest, read_manifest
from insource.errors import InsourceError, Refused
from insource.journeys import edge
from insource.journeys import promote as journey
from insource.journeys.best import Best, best
from insource.journeys.convert import FORMS, Converted, convert
from insource.journeys.copies import Copy, Order, copy
from insource.journeys.forms import form_of
from insource.journeys.gate import gate as ask_gate
from insource.journeys.terms import terms_now
from insource.journeys.trial import Standing, standing
from insource.nouns import Gate, JsonObject, Noun, Release, StageChange, Task
from insource.release.export import COPIES, MERGED
from insource.release.stages import ON_ITS_WAY, STAGES, Stop, at, let_on
from insource.settings import Settings, load_task, task_names
from insource.store import Store

BEST = "best"
WHY = click.option("--why", metavar="TEXT", default="", help="The reason, kept with the change.")
HELP = """List, show, gate, sign, promote, roll back, verify, export and bundle releases.

A release is named TASK@VERSION. TASK alone means the newest candidate (gate, promote), what is live (rollback,
verify, export, bundle), or the newest (show).
"""
EXAMPLE = """
\b
Examples:
  insource release gate tickets              ask the newest candidate every question
  insource release promote tickets           the newest candidate answers traffic
  insource release rollback tickets --why "urgency is wrong since noon"
"""


@verb("list", epilog="\b\nExample:\n  insource release list tickets\n"
      "  insource release list tickets --at 2026-11-27T09:30")  # fmt: skip
@click.argument("task", required=False, default="")
@click.option("--at", "moment", metavar="TIME", default="", help="Which had to do with the traffic then (UTC).")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="How many of each, the newest.")
def list_releases(door: Door, task: str, moment: str, limit: int) -> None:
    """The newest releases of TASK, or of each task, oldest first, with what is live or on its way."""
    if moment:
        _at(door, task, moment)
        return

    async def work(settings: Settings, store: Store) -> tuple[list[Release], dict[str, Gate], dict[str, str], int]:
        names = [load_task(settings, task).name] if task else task_names(settings)
        pages = [await store.listings.releases(name, limit) for name in names]
        found = [release for page in pages for release in reversed(page.releases)]
        gates = await store.listings.gates([release.name for release in found])
        moved = await store.listings.changes_of([one.name for one in found if one.stage in ON_ITS_WAY])
        return found, gates, let_on(found, moved), sum(page.total for page in pages) - len(found)

    found, gates, who, earlier = with_store(door, work)
    door.show(
        {"releases": [_plain(r) | {"name": r.name, "form": form_of(r),
                                   "gate": gates[r.name].passed if r.name in gates else None} for r in found]}
        | ({"earlier": earlier} if earlier else {}),
        words.list_words(found, gates, who, earlier),
    )  # fmt: skip


def _at(door: Door, task: str, moment: str) -> None:
    async def work(settings: Settings, store: Store) -> dict[str, Stop]:
        names = [load_task(settings, task).name] if task else task_names(settings)
        return {name: stop for one in names for name, stop in at(await store.stage_changes(one), moment).items()}

    found = with_store(door, work)
    document = [{"release": name, "stage": stop.stage, "share": stop.share} for name, stop in found.items()]
    door.show({"at": moment, "releases": document}, words.at_words(found, moment))


@verb("show", epilog="\b\nExample:\n  insource release show tickets@1.0.0")
@click.argument("name", metavar="TASK[@VERSION]")
def show(door: Door, name: str) -> None:
    """One release: rows, recipe, digests, changelog, gate and stages; on its way, what its trial came to."""

    async def work(settings: Settings, store: Store) -> tuple[words.Card, Standing | None]:
        release = await named(name, settings, store, newest)
        changes = await store.listings.changes_of([release.name])
        stands = await standing(release, settings, store) if release.stage in ON_ITS_WAY else None
        manifest = _manifest(release, settings)
        said = _terms(release, manifest, settings)
        promise = _promise(_task_now(release, settings), manifest)
        return words.Card(release, manifest, await _newest_gate(release, store), changes, said, promise), stands

    card, stands = with_store(door, work)
    release, manifest, gate, changes, said, promise = card
    made: JsonObject | None = None
    if manifest:
        made = {"promise": promise, "threshold": manifest.threshold, "dev": manifest.dev}
        made |= {"terms": said} if said else {}
    door.show(
        {"release": _plain(release) | {"name": release.name}, "trained": made,
         "gate": _gate_document(gate) if gate else None, "changes": [_plain(change) for change in changes],
         "standing": _plain(stands) if stands else None},
        words.show_words(card) + (words.standing_words(stands) if stands else ""),
    )  # fmt: skip


@verb("gate", epilog="\b\nExample:\n  insource release gate tickets")
@click.argument("name", metavar="TASK[@VERSION]")
def gate(door: Door, name: str) -> None:
    """Measure the artefact as it will be served, and check it against what the task demands.

    Ends with exit code 1 when a check does not hold.
    """

    async def work(settings: Settings, store: Store) -> Gate:
        release = await pick(name, settings, store, candidate)
        with door.progress() as progress:
            return await ask_gate(load_task(settings, release.task), release, settings, store, progress=progress)

    answer = with_store(door, work)
    hint = f"\n\nnext: insource release promote {answer.release}" if answer.passed else ""
    door.show(_gate_document(answer), words.gate_words(answer) + hint)
    if not answer.passed:
        failed = ", ".join(check.name for check in answer.checks if not check.passed)
        _end(door, Refused(f"the gate said no to {answer.release}: {failed}", hint=_next_step(answer)))


@verb(
    "promote",
    epilog='\b\nExamples:\n  insource release promote tickets@1.1.0 --why "33% fewer errors on urgency"\n'
    "  insource release promote tickets@1.1.0 --to staging\n"
    "  insource release promote tickets@1.1.0 --to canary --share 10",
)
@click.argument("name", metavar="TASK[@VERSION]")
@click.option("--to", metavar="STAGE", default="live", show_default=True, help=", ".join(STAGES) + ".")
@click.option("--share", type=click.IntRange(1, 100), help="Per cent of the calls that a canary answers.")
@WHY
def promote(door: Door, name: str, to: str, share: int | None, why: str) -> None:
    """Let a release answer traffic, all of it or as the task's [rollout] says. Needs a passed gate on the artefact.

    From staging on it goes its way by itself, in the shadow of what is live and then as a canary, or back: the gateway
    and insource nightly move it. insource release show says what it waits for. What was live is retired at the end.
    """

    async def work(settings: Settings, store: Store) -> tuple[StageChange, str]:
        release = await pick(name, settings, store, candidate)
        change = await journey.promote(release, settings, store, to=to, why=why, share=share or 0)
        return change, _promise(load_task(settings, release.task), _manifest(release, settings))

    change, said = with_store(door, work)
    promise = f"\nits promise: {said}" if said else ""
    task = change.release.partition("@")[0]
    hint = f"\nnext: insource serve, or insource answer {task} --input TEXT"
    if change.after in ON_ITS_WAY:
        promise, hint = "", f"\nnext: insource release show {change.release} says what it waits for"
    door.show(change, words.change_words(change) + (promise + hint if change.after in (*ON_ITS_WAY, "live") else ""))


@verb("rollback", epilog='\b\nExample:\n  insource release rollback tickets --why "urgency is wrong since noon"')
@click.argument("name", metavar="TASK[@VERSION]")
@WHY
def rollback(door: Door, name: str, why: str) -> None:
    """Take the canary out; without one, go back to the release that was live before. What leaves is retired."""

    async def work(settings: Settings, store: Store) -> StageChange:
        task, _, version = name.partition("@")
        load_task(settings, task)
        return await journey.rollback(task, settings, store, version=version, why=why)

    change = with_store(door, work)
    door.show(change, words.change_words(change))


@verb("verify", epilog="\b\nExamples:\n  insource release verify tickets@1.0.0\n"
      "  insource release verify tickets@1.0.0 --key release.pub")  # fmt: skip
@click.argument("name", metavar="TASK[@VERSION]")
@click.option("--key", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False),
              help="The public key that must have signed it.")  # fmt: skip
def verify(door: Door, name: str, key: Path | None) -> None:
    """Compare every file of a release with what was released. Ends with exit code 1 when one differs.

    With --key, or [signing] in insource.toml, it must be signed, too.
    """

    async def work(settings: Settings, store: Store) -> journey.Verified:
        return await journey.verify(await pick(name, settings, store, live), settings, key)

    found = with_store(door, work)
    door.show(_plain(found) | {"whole": found.whole}, words.verify_words(found))
    if not found.whole:
        what, hint = "is not what was released", "restore its files from a backup, or train again"
        if found.unvouched:
            what = "has no signature that holds"
            hint = f"if you know whose files these are: insource release sign {found.release} --key FILE"
        _end(door, Refused(f"{found.release} {what}: {'; '.join(found.faults)}", hint=hint))


@verb(
    "export",
    epilog="\b\nExamples:\n  insource release export tickets@1.0.0 --out tickets-1.0.0\n"
    "  insource release export tickets@1.0.0 --format openvino-int8\n"
    "  insource release export tickets@1.0.0 --format best",
)
@click.argument("name", metavar="TASK[@VERSION]")
@click.option("--out", metavar="DIR", type=click.Path(path_type=Path), help="A new folder (default: TASK-VERSION).")
@click.option("--format", "form", type=click.Choice([*COPIES, *FORMS, BEST]), default=MERGED, show_default=True)
@click.option("--rows", type=click.IntRange(0), default=0, help="Test rows to measure on (default: all).")
def export(door: Door, name: str, out: Path | None, form: str, rows: int) -> None:
    """The model in another form.

    Copied out: safetensors as trained, with the manifest that says which token each label is; hf for vLLM and the like,
    gptq for vLLM in 4 bits and gguf-* for llama.cpp and Ollama, whose plain text reads as the answer. Where what reads
    a copy is installed, it is measured beside the release on the test rows; else it says what to install. Made over for
    another engine of ours (openvino*, llamacpp-*) it becomes a release of its own, measured likewise, with its own gate
    to pass. best makes every such form that this machine can, and says which to serve and why.
    """
    if form == BEST:
        _best(door, name, rows)
        return
    if form in FORMS:
        _convert(door, name, form, rows)
        return

    async def work(settings: Settings, store: Store) -> Copy:
        release = await pick(name, settings, store, live_or_newest)
        order = Order(out=out or Path(f"{release.task}-{release.version}"), form=form, rows=rows)
        with door.progress() as progress:
            return await copy(release, order, settings, store, progress=progress)

    made = with_store(door, work)
    door.show(made, words.copied_words(made))


def _convert(door: Door, name: str, form: str, rows: int) -> None:
    async def work(settings: Settings, store: Store) -> Converted:
        release = await pick(name, settings, store, live_or_newest)
        with door.progress() as progress:
            return await convert(release, settings, store, form=form, rows=rows, progress=progress)

    made = with_store(door, work)
    hint = f"\n\nnext: insource release gate {made.release.name}"
    door.show(made, words.converted_words(made) + hint)


def _best(door: Door, name: str, rows: int) -> None:
    async def work(settings: Settings, store: Store) -> Best:
        release = await pick(name, settings, store, live_or_newest)
        with door.progress() as progress:
            return await best(release, settings, store, rows=rows, progress=progress)

    found = with_store(door, work)
    door.show(found, words.best_words(found))


@verb("bundle", epilog="\b\nExample:\n  insource release bundle tickets@1.0.0 --out tickets.bundle")
@click.argument("name", metavar="TASK[@VERSION]")
@click.option("--out", metavar="FILE", type=click.Path(path_type=Path), help="A new file (default: NAME.bundle).")
def bundle(door: Door, name: str, out: Path | None) -> None:
    """One file with all that a machine without network needs to answer: insource init DIR --bundle FILE.

    Only a release that passed its gate is bundled. The same release gives the same bytes.
    """

    async def work(settings: Settings, store: Store) -> edge.Bundled:
        release = await pick(name, settings, store, live_or_newest)
        place = out or Path(f"{release.task}-{release.version}.bundle")
        return await edge.bundle(load_task(settings, release.task), release, settings, store, place)

    made = with_store(door, work)
    door.show(made, words.bundle_words(made))


command = InOrder(
    "release",
    commands=[
        list_releases,
        show,
        gate,
        *release_sign.VERBS,
        promote,
        rollback,
        verify,
        export,
        bundle,
    ],
    help=HELP,
    epilog=EXAMPLE,
    short_help="List, show, gate, sign, promote, roll back, verify, export and bundle releases.",
)


async def _newest_gate(release: Release, store: Store) -> Gate | None:
    return (await store.listings.gates([release.name])).get(release.name)


def _manifest(release: Release, settings: Settings) -> Manifest | None:
    """The manifest, None where it cannot be read: `verify` says why."""
    try:
        return read_manifest(settings.state / release.folder)
    except InsourceError:
        return None


def _terms(release: Release, manifest: Manifest | None, settings: Settings) -> tuple[str, ...]:
    """What is promised beside the confidence of the whole; nothing where the task's file is not here any more."""
    try:
        return terms_now(release, manifest, settings) if manifest else ()
    except InsourceError:
        return ()


def _task_now(release: Release, settings: Settings) -> Task | None:
    try:
        return load_task(settings, release.task)
    except InsourceError:
        return None


def _promise(task: Task | None, manifest: Manifest | None) -> str:
    """What its confidence promises under the task's policy of today; empty where training said nothing.

    Without the task's file the policy is still the one that it was trained under.
    """
    if manifest is None or not manifest.promise:
        return ""
    task = task or manifest.task
    return route.promise(task.risk, manifest.task.risk, manifest.threshold, manifest.promise)


def _plain(noun: Noun) -> JsonObject:
    plain: JsonObject = msgspec.to_builtins(noun)
    return plain


def _gate_document(gate: Gate) -> JsonObject:
    return {"release": gate.release, "passed": gate.passed} | _plain(gate)


def _next_step(gate: Gate) -> str:
    damaged = any(check.name == "artefact" and not check.passed for check in gate.checks)
    task = gate.release.partition("@")[0]
    if damaged:
        return f"insource release verify {gate.release}"
    if any(check.name == "acceptance" and not check.passed for check in gate.checks):
        return f"write [acceptance] into tasks/{task}.toml, then ask again"
    return f"insource measure {task} --report report.html"


def _end(door: Door, error: Refused) -> NoReturn:
    """Ends the verb with the error's exit code; with --json the result on stdout stays the only document."""
    if not door.json:
        raise error
    door.say(f"error: {error}")
    click.get_current_context().exit(error.exit_code)
