"""Spans on their way to a collector: OTLP over HTTP, by the way out that every connection of ours takes."""

import http.client
import logging
import urllib.request
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from insource.engines.outward import Outward, destination_of
from insource.engines.outward_urllib import handlers
from insource.engines.webhook import secret_headers
from insource.errors import InsourceError, Invalid
from insource.settings import Settings
from insource.store import egress

PATIENCE_S = 5.0


class Collector:
    """Takes spans from OpenTelemetry's SDK, as its exporters do, and sends them to `observe.otlp`.

    It follows no redirect and knows no proxy. What cannot be sent is dropped, and the log says so once until the next
    success. Raises `Invalid` for an address or a header that is none.
    """

    def __init__(self, settings: Settings) -> None:
        from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
        from opentelemetry.sdk.trace.export import SpanExportResult

        observe = settings.observe
        _check(observe.otlp)
        self._url, self._encode, self._result = observe.otlp, encode_spans, SpanExportResult
        self._headers = {"content-type": "application/x-protobuf", "user-agent": "insource"}
        self._headers |= secret_headers(observe.otlp_headers_env, "observe.otlp_headers_env")
        self._outward = Outward("traces", networks=settings.networks, journal=settings.state / egress.FILE)
        self._away = False

    def export(self, spans: Sequence[Any]) -> Any:
        """Sends some spans; called in a thread of the SDK."""
        body = self._encode(spans).SerializeToString()
        opener = urllib.request.OpenerDirector()
        for handler in (*handlers(self._outward), urllib.request.HTTPErrorProcessor(), _Plainly()):
            opener.add_handler(handler)
        request = urllib.request.Request(self._url, body, self._headers, method="POST")  # noqa: S310 - checked
        try:
            with opener.open(request, timeout=PATIENCE_S) as answer:
                answer.read(65_536)
        except (InsourceError, OSError, http.client.HTTPException) as error:
            if not self._away:
                logging.getLogger("insource.serve").warning("spans are not taken: %s", error)
            self._away = True
            return self._result.FAILURE
        self._away = False
        self._outward.sent(destination_of(self._url), len(body))
        return self._result.SUCCESS

    def force_flush(self, timeout_millis: int = 0) -> bool:
        """Nothing waits here."""
        return timeout_millis >= 0

    def shutdown(self) -> None:
        """Writes down what left."""
        self._outward.close()


class _Plainly(urllib.request.HTTPDefaultErrorHandler):
    """Any status but a good one is an error, one that sends on to another place too."""


def _check(url: str) -> None:
    try:
        place = urlsplit(url)
        fine = place.scheme in ("http", "https") and bool(place.hostname) and (place.port or 1) > 0
    except ValueError:
        fine = False
    if not fine:
        hint = 'for example otlp = "http://localhost:4318/v1/traces"'
        raise Invalid(f"observe.otlp is no http address: {url!r}", hint=hint)
