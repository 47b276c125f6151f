"""Reports: every measurement that is kept, and each as the page that `insource measure` writes."""

from starlette.responses import HTMLResponse, Response

from insource.console.guard import Visit
from insource.console.pages import page
from insource.errors import Missing
from insource.measure.render import html
from insource.settings import load_task

# a report is one file with its styles in it, and no script: nothing of it may run or ask for anything
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


async def listed(visit: Visit) -> Response:
    """The reports of the tasks that may be seen, newest first."""
    reports = [report for name in visit.tasks for report in await visit.store.reports(name)]
    return page(visit, "reports.html", reports=sorted(reports, key=lambda one: one.created, reverse=True))


async def show(visit: Visit) -> Response:
    """One report. Raises `Missing`: also where its task may not be seen."""
    name = visit.http.path_params["report"]
    report = await visit.store.report(name)
    if report.task not in visit.tasks:
        raise Missing(f"there is no report {name}")
    said = html(report, load_task(visit.settings, report.task))
    return HTMLResponse(said, headers={"content-security-policy": POLICY})
