"""What a bundle lets pass that the release in it does not: the files of a release are signed, its policy is not."""

from insource.engines.artefact import Manifest
from insource.nouns import Task
from insource.release.bundle import Bundle
from insource.route import HUMAN, RELEASE, demanded

PREMISES = "premises"


def laxer(bundle: Bundle, manifest: Manifest) -> list[str]:
    """Every way in which the bundle's task is laxer than the one in the signed `manifest`, in words.

    Threshold, where texts may go, and who else is asked. Scans, and limits of single fields and of what is out of
    scope, are not compared: the manifest does not have them.
    """
    now, then = bundle.task, manifest.task
    asked = demanded(now.risk, then.risk.max_error, manifest.threshold)
    least = demanded(then.risk, then.risk.max_error, manifest.threshold)
    said = []
    if least is not None and (asked is None or asked < least):
        said.append(f"it asks for a confidence of {asked or 0:g}, and not of {least:g}")
    if not _places(now) <= _places(then) and then.sensitivity != "any":
        said.append("texts may go to other places")
    others = {*now.risk.otherwise, *(name for rule in now.routes for name in rule.engines)} - {RELEASE, HUMAN}
    said += ["it asks other engines"] * bool(others)
    return said


def _places(task: Task) -> set[str]:
    said = (task.sensitivity,) if isinstance(task.sensitivity, str) else task.sensitivity
    return {*said} - {PREMISES}
