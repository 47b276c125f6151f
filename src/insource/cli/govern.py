"""`insource govern`: documents with evidence, rebuilt from facts."""

from pathlib import Path

import click

from insource.cli.door import Door, verb
from insource.cli.stored import with_store
from insource.cli.words import bold, dim, mark
from insource.errors import Refused
from insource.govern.evidence import Field
from insource.journeys.govern import Governed, declare, govern
from insource.settings import Settings
from insource.store import Store

EXAMPLE = """
\b
Examples:
  insource govern tickets
  insource govern tickets@1.2.0 --out evidence
  insource govern tickets --declare intended_use="Sorts mails of customers" --by "A. Muster"
  insource govern tickets --check              ends with 1 while something required is missing
"""


@verb("govern", epilog=EXAMPLE)
@click.argument("task", metavar="TASK[@VERSION]")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), help="Where the pack goes (default: .insource/govern)."
)
@click.option("--check", is_flag=True, help="Write nothing; end with 1 where something is missing or overdue.")
@click.option("--declare", "said", metavar="FIELD=TEXT", default="", help="Keep what a person says of a field.")
@click.option("--by", metavar="NAME", default="", help="Who says so.")
def command(door: Door, task: str, out: Path | None, check: bool, said: str, by: str) -> None:
    """Write the evidence pack of TASK's live release, or of another.

    Model card, CycloneDX bill of materials, datasheet, bias evaluation, privacy impact assessment, incident plan,
    calendar, changes, audit and service levels, mapped to the EU AI Act and the NIST AI RMF. Each field is measured,
    declared by a person with a name, or missing; the same state gives the same bytes.
    """
    name, _, version = task.partition("@")
    if said or by:
        made = with_store(door, lambda settings, store: declare(name, said, by, settings, store))
        what = f"is {made.value!r}" if made.value else "is taken back"
        door.show(made, f"{made.field} {what}, says {made.by}, {made.created}")
        return

    async def work(settings: Settings, store: Store) -> Governed:
        return await govern(name, settings, store, version=version, out=out, write=not check)

    found = with_store(door, work)
    door.show(_plain(found), _words(found))
    if check and not found.holds:
        why = [f"missing: {', '.join(found.missing)}"] * bool(found.missing)
        why += [f"overdue: {', '.join(f'{one.what} ({one.day})' for one in found.overdue)}"] * bool(found.overdue)
        door.say(f"error: {found.pack.about}: {'; '.join(why)}\nhint:  insource govern {task} says what fills it")
        click.get_current_context().exit(Refused.exit_code)


def _plain(found: Governed) -> dict[str, object]:
    """The document of --json: the fields and the sums, without the files."""
    made = found.pack
    return {
        "about": made.about,
        "folder": found.folder,
        "sha256": made.sha256,
        "files": sorted(made.files),
        "checklist": made.items,
        "required": found.required,
        "missing": found.missing,
        "overdue": found.overdue,
        "due": made.due,
        "fields": made.fields,
    }


def _words(found: Governed) -> str:
    made = found.pack
    lines = [f"{bold(made.about)}: {', '.join(f'{n} fields {state}' for state, n in made.counts.items())}"]
    lines += [f"  {mark(item.holds, item.title)}" + _lacks(item.missing, made.fields) for item in made.items]
    gaps: dict[tuple[str, str], list[str]] = {}
    for name in found.missing:
        gaps.setdefault((made.fields[name].words, made.fields[name].fill), []).append(name)
    for (why, fill), names in gaps.items():
        lines.append(f"\n  {', '.join(names)}: {why}" + (f"\n    {dim(fill)}" if fill else ""))
    lines += [f"\n  overdue since {one.day}: {one.what}\n    {dim(one.how)}" for one in found.overdue]
    if found.folder:
        lines.append(f"\n{len(made.files)} files in {found.folder}; open {found.folder}/index.html")
        lines.append(dim(f"SHA-256 of SHA256SUMS: {made.sha256}"))
    return "\n".join(lines)


def _lacks(missing: tuple[str, ...], fields: dict[str, Field]) -> str:
    return dim(f"  missing: {', '.join(fields[name].title.lower() for name in missing)}") if missing else ""
