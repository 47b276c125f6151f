"""`insource init`: make a workspace."""

from pathlib import Path

import click

from insource.cli.door import Door, verb
from insource.journeys.init import init

EXAMPLE = """
\b
Examples:
  insource init plant && cd plant
  insource init                               here
"""


@verb("init", epilog=EXAMPLE)
@click.argument("folder", metavar="[DIR]", required=False, type=click.Path(path_type=Path))
def command(door: Door, folder: Path | None) -> None:
    """Make a workspace: insource.toml with every section explained, tasks/ and labels/.

    Refuses where there is one. Files of your own in the folder are left alone.
    """
    root = door.directory / folder if folder else door.directory
    made = init(root)
    shown = folder or root
    going = "" if str(shown) == "." else f"cd {shown} && "
    words = (
        f"a workspace in {shown}: {', '.join(made)}\n\nnext: {going}insource collect TASK FILE --input COL --target COL"
    )
    door.show({"workspace": str(root.resolve()), "made": made}, words)
