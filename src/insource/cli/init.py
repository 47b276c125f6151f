"""`insource init`: make a workspace."""

from pathlib import Path

import click

from insource.cli.door import Door, run, verb
from insource.errors import Invalid
from insource.journeys.edge import Installed, install
from insource.journeys.init import init

EXAMPLE = """
\b
Examples:
  insource init plant && cd plant
  insource init                               here
  insource init kiosk --bundle tickets.bundle
"""


@verb("init", epilog=EXAMPLE)
@click.argument("folder", metavar="[DIR]", required=False, type=click.Path(path_type=Path))
@click.option(
    "--bundle", metavar="FILE", type=click.Path(path_type=Path), help="Answer from this file; a newer one replaces it."
)
@click.option("--sha256", default="", metavar="HEX", help="The SHA-256 that the bundle must have.")
@click.option("--key", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False),
              help="The public key that must have signed its release, now and later.")  # fmt: skip
def command(door: Door, folder: Path | None, bundle: Path | None, sha256: str, key: Path | None) -> None:
    """Make a workspace: insource.toml with every section explained, tasks/ and labels/.

    Refuses where there is one. Files of your own in the folder are left alone. With --bundle the workspace answers what
    the bundle answers, and the network is never needed; one that answers from a bundle already takes the new one.
    """
    root = door.directory / folder if folder else door.directory
    shown = folder or root
    going = "" if str(shown) == "." else f"cd {shown} && "
    if bundle is not None:
        made = run(install(bundle, root, sha256=sha256, key=key))
        door.show(made, _installed(made, going))
        return
    if sha256 or key:
        raise Invalid("--sha256 and --key go with --bundle FILE")
    files = init(root)
    words = (
        f"a workspace in {shown}: {', '.join(files)}\n\n"
        f"next: {going}insource collect TASK FILE --input COL --target COL"
    )
    door.show({"workspace": str(root.resolve()), "made": files}, words)


def _installed(made: Installed, going: str) -> str:
    task = made.release.partition("@")[0]
    sure = "every valid answer is given" if made.threshold is None else f"below {made.threshold:.2f} a person is asked"
    lines = [f"{made.release} answers in {made.workspace}; {sure}"]
    lines += [f"its promise: {made.promise}"] * bool(made.promise)
    lines += [f"{made.replaced} is retired"] * bool(made.replaced)
    lines += [f"the task was another here; it is kept in {made.kept}"] * bool(made.kept)
    next_ = f"next: {going}insource answer {task} --input TEXT, or insource serve"
    return "\n".join([*lines, f"it needs: pip install '{made.needs}'", "", next_])
