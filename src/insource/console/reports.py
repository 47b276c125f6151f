"""Reports: every measurement that is kept, and each as the page that `insource measure` writes."""

import msgspec
from starlette.responses import HTMLResponse, Response

from insource.console.guard import Visit
from insource.console.pages import address, page
from insource.errors import Missing
from insource.measure.render import html
from insource.nouns import Candidate, JsonObject, Report
from insource.settings import load_task

PAGE = 50
# a report is one file with its styles in it, and no script: nothing of it may run or ask for anything
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


async def listed(visit: Visit) -> Response:
    """The reports of the tasks that may be seen, newest first, a page at a time."""
    found = await visit.store.listings.reports(visit.tasks, PAGE, visit.place())
    older = address("/console/reports", before=found.older)
    return page(visit, "reports.html", reports=found.reports, older=older if found.older else "")


async def show(visit: Visit) -> Response:
    """One report, to an admin with its rows. Raises `Missing`: also where its task may not be seen."""
    name = visit.http.path_params["report"]
    report = await visit.store.report(name)
    if report.task not in visit.tasks:
        raise Missing(f"there is no report {name}")
    if visit.tenant is not None:
        report = without_texts(report)
    said = html(report, load_task(visit.settings, report.task))
    return HTMLResponse(said, headers={"content-security-policy": POLICY})


def without_texts(report: Report) -> Report:
    """The report without the rows it quotes: they came from the calls of whatever tenant."""
    candidates = tuple(_without_examples(one) for one in report.candidates)
    return msgspec.structs.replace(report, rows=(), candidates=candidates)


def _without_examples(candidate: Candidate) -> Candidate:
    confusions = candidate.details.get("confusions") or []
    found: list[JsonObject] = [{**each, "examples": []} for each in confusions]
    return msgspec.structs.replace(candidate, details={**candidate.details, "confusions": found})
