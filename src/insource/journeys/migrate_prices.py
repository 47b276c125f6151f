"""What costs are told from, fixed before any result: how much it is called, on what machine, and who else sells it."""

from insource.journeys.price import Asked, price
from insource.nouns import PREMISES, Task
from insource.nouns.assessment import Prices
from insource.nouns.pricing import ApiPrice
from insource.price.cost import Option, curve
from insource.settings import Settings, task_file
from insource.store import Store

CALLS, USUAL = "calls a day", "on_demand"
# what the run measures itself
OF_THE_RUN = ("reviewed share", "reviewed share of an API's", "escalated share", "calls a machine answers")


async def prices(task: Task, settings: Settings, store: Store, today: str) -> Prices:
    """The prices of the workspace and the task, `today` (YYYY-MM-DD). Raises as `price` does.

    The machine is the one that the task's file names, paid as it says; else the one that costs least on demand, which
    nobody has to buy or to promise anything for.
    """
    _, file = task_file(settings, task.name)
    calls = None if file.price.calls_per_day is not None else file.suitability.calls_per_day
    found = await price(task, settings, store, Asked(calls_per_day=calls), today)
    own = [option for option in found.options if option.fleet is not None]
    usual = [option for option in own if option.fleet is not None and option.fleet.paid == (file.price.paid or USUAL)]
    cheapest = min(usual or own, key=lambda option: curve(option, found.use, found.months).at(found.use.calls_per_day))
    fleet = cheapest.fleet
    assert fleet is not None  # noqa: S101 - chosen so
    said = {one.name: one for one in found.known}
    return Prices(
        use=found.use,
        volume=said[CALLS].how != "assumed",
        machine=fleet.machine,
        paid=fleet.paid,
        listed=_listed(found.options, settings),
        review_minutes=cheapest.people.minutes,
        reviewer_usd_per_hour=cheapest.people.usd_per_hour,
        effort=cheapest.effort,
        months=found.months,
        assumed=tuple(
            f"{one.name}: {one.value:g} {one.unit}, {one.of}"
            for one in found.known
            if one.how == "assumed" and one.name not in OF_THE_RUN
        ),
        doubts=found.warnings,
    )


def _listed(options: tuple[Option, ...], settings: Settings) -> dict[str, ApiPrice]:
    """The cheapest API of the tables, where no API is an engine of the workspace: then somebody chose one already."""
    if any(engine.place != PREMISES for engine in settings.engines.values()):
        return {}
    hosted = {option.name: option.api for option in options if option.api is not None}
    names = sorted(hosted, key=lambda name: hosted[name].input + hosted[name].output)
    return {name: hosted[name] for name in names[:1]}
