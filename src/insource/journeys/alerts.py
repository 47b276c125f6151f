"""What a person should look at, told once: to the log, and to the webhook of the settings until that has taken it."""

import logging

from insource.engines.outward import Outward
from insource.engines.webhook import PAUSES_S, post, secret_headers
from insource.nouns import Alert, Noun, to_json
from insource.settings import Settings
from insource.store import Store, egress

LOG = "insource.alerts"


class Told(Noun, frozen=True, kw_only=True):
    """How many alerts the log and the webhook were told of."""

    logged: int
    sent: int


async def tell(settings: Settings, store: Store, *, pauses_s: tuple[float, ...] = PAUSES_S) -> Told:
    """Tells each sink of what was opened or closed since it was told last.

    Each is noted when the sink has it: a kill in between tells it again, under the same `id`. Where there is no webhook
    the log is enough, and nothing is saved up for one. Raises `EngineError` when the webhook does not take one: the
    next call goes on there.
    """
    log = logging.getLogger(LOG)
    waiting = await store.alerts.untold("logged")
    for alert in waiting:
        log.warning("%s", words(alert))
        await store.alerts.told(alert, "logged")
    return Told(logged=len(waiting), sent=await _sent(settings, store, pauses_s))


async def _sent(settings: Settings, store: Store, pauses_s: tuple[float, ...]) -> int:
    alerts, waiting = settings.alerts, await store.alerts.untold("sent")
    headers = secret_headers(alerts.headers_env, "alerts.headers_env")
    outward = Outward("alerts", alerts.region, networks=settings.networks, journal=settings.state / egress.FILE)
    try:
        for alert in waiting:
            if alerts.webhook:
                await post(alerts.webhook, _message(alert), headers, outward, pauses_s=pauses_s)
            await store.alerts.told(alert, "sent")
    finally:
        outward.close()
    return len(waiting) if alerts.webhook else 0


def words(alert: Alert) -> str:
    """The alert in a line."""
    what = f"{alert.task}: {alert.cause}" if alert.task else alert.cause
    if alert.state == "closed":
        return f"over: {what}"
    return f"{what}: {alert.words}" + (f" (next: {alert.next})" if alert.next else "")


def _message(alert: Alert) -> bytes:
    """The alert as JSON. `text` is what chat services show."""
    return to_json({"event": f"alert.{alert.state}", "text": f"insource · {words(alert)}", "alert": alert})
