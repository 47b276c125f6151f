"""The form of a specialist to serve on this machine: every one that can be made here, tried; the quickest that holds.

forms whose engine is installed → each made once → all measured on the same test rows → those that break the task's
acceptance are retired → the others timed, each in a process of its own → the quickest that gives the same labels
"""

from collections.abc import Sequence

from insource.errors import EngineDown, Invalid
from insource.journeys.convert import FORMS, convertible, converting, make_over
from insource.journeys.forms import Compared, compare, forms_of, origin
from insource.journeys.lineup import Progress, quiet
from insource.journeys.measure import measure
from insource.journeys.promote import promote
from insource.nouns import Noun, Release, Report, Task
from insource.release.gate import acceptance
from insource.settings import Settings, load_task
from insource.store import Store


class Tried(Noun, frozen=True, kw_only=True):
    """One form. `release` is what it became, "" if nothing; `why_not` says why it is not to be chosen, "" if it is."""

    form: str
    release: str = ""
    why_not: str = ""


class Best(Noun, frozen=True, kw_only=True):
    """Every form that there is, the report on those that were made, and how quick those are that may be chosen."""

    source: str
    tried: tuple[Tried, ...]
    report: Report
    compared: Compared


async def best(
    release: Release, settings: Settings, store: Store, *, rows: int = 0, progress: Progress = quiet
) -> Best:
    """Makes `release` over into every form this machine can, and chooses one; `release` itself may be the one.

    `rows` test rows are measured, 0 are all. A form that was made before is not made again. Raises `Invalid` for a
    release that has no forms or a machine that can make none, `Refused` for one that was changed on disk.
    """
    task = load_task(settings, release.task)
    if not convertible(release, settings).heads:
        raise Invalid(f"{release.name} writes its answers; only forms that read labels are timed against each other",
                      hint=f"insource release export {release.name} --format openvino")  # fmt: skip
    with converting(release, settings):
        tried = [await _tried(release, form, settings, store, progress) for form in FORMS]
    made = [one.release for one in tried if one.release]
    if not made:
        said = "; ".join(f"{one.form}: {one.why_not}" for one in tried)
        raise Invalid(f"this machine can make no other form of {release.name}: {said}",
                      hint="pip install 'insource[quantize,llamacpp]'")  # fmt: skip
    both = [release.name, *made]
    report = await measure(task, settings, store, candidates=both, rows=rows or None, progress=progress)
    tried = [_held(one, task, report) for one in tried]
    await _retire(tried, settings, store)
    among = [release.name, *[one.release for one in tried if one.release and not one.why_not]]
    compared = await compare(task, release, settings, store, among=among, progress=progress)
    return Best(source=release.name, tried=tuple(tried), report=report, compared=compared)


async def _tried(release: Release, form: str, settings: Settings, store: Store, progress: Progress) -> Tried:
    lacks = FORMS[form].lacks
    if lacks:
        return Tried(form=form, why_not=f"{lacks} is not installed")
    known = [one for one in await forms_of(release, store) if one.changelog.startswith(origin(release, form))]
    if known:
        return Tried(form=form, release=known[-1].name)
    try:
        made = await make_over(release, settings, store, form=form, progress=progress)
    except (EngineDown, Invalid) as error:
        return Tried(form=form, why_not=str(error))
    return Tried(form=form, release=made.name)


def _held(tried: Tried, task: Task, report: Report) -> Tried:
    """The same with what keeps it from being chosen: it cannot be read here, or breaks a line of the acceptance."""
    if not tried.release:
        return tried
    if tried.release in report.failed:
        return Tried(form=tried.form, release=tried.release, why_not=report.failed[tried.release])
    checks = acceptance(task, report, tried.release) if task.acceptance else ()
    broken = [f"{check.name} {check.found}, demanded {check.demanded}" for check in checks if not check.passed]
    return Tried(form=tried.form, release=tried.release, why_not="; ".join(broken))


async def _retire(tried: Sequence[Tried], settings: Settings, store: Store) -> None:
    """Takes the candidates among those that cannot be chosen out of the way."""
    for one in tried:
        if one.release and one.why_not:
            task, _, version = one.release.partition("@")
            found = await store.release(task, version)
            if found.stage == "candidate":
                await promote(found, settings, store, to="retired", why=one.why_not)
