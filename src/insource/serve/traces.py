"""Spans of calls and of the engines they are put to, sent to a collector by OTLP over HTTP.

Attributes follow OpenTelemetry's conventions for generative AI, span `gen_ai.client.inference` (as of 2026-11, in
development; github.com/open-telemetry/semantic-conventions-genai). What those say of messages, of instructions and of
stop sequences is left out: it is content. So is `tracestate`, in which a caller may write what they like.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from contextvars import ContextVar
from dataclasses import replace
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

import msgspec

from insource import __version__
from insource.engines.base import Embeds, Engine, Piece, Streams
from insource.engines.bursts import Burst, bursts, one_by_one
from insource.errors import EngineDown, InsourceError
from insource.journeys.answer import Path
from insource.nouns import JsonObject, Prediction, Record, Request, Usage
from insource.serve.collector import PATIENCE_S, Collector
from insource.serve.told import status_of
from insource.settings import Settings

FORMS = {"text": "text", "json_object": "json", "json_schema": "json"}
HERE = "insource"


class Traces:
    """The spans of one gateway. Raises `EngineDown` where OpenTelemetry is not installed, `Invalid`."""

    def __init__(self, settings: Settings) -> None:
        try:
            from opentelemetry import trace
            from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
        except ImportError as error:
            raise _missing(error) from error
        self._engines = settings.engines
        self._trace, self._context = trace, TraceContextTextMapPropagator()
        self._provider = _provider(settings)
        self._tracer = self._provider.get_tracer("insource", __version__)
        self._spans: dict[str, Any] = {}
        self._caller: ContextVar[str] = ContextVar("traceparent of the caller", default="")

    def heard(self, caller: str) -> None:
        """Notes the traceparent that a call came with, for what is begun in its task."""
        self._caller.set(caller)

    def begin(self, request: Request, what: str) -> Request:
        """Begins the span of a call, below the caller's own where there is one; the request with the span's."""
        model = request.model
        span = self._tracer.start_span(
            f"{what} {model}",
            context=self._context.extract({"traceparent": self._caller.get()}),
            kind=self._trace.SpanKind.SERVER,
            attributes={"gen_ai.operation.name": what, "gen_ai.provider.name": HERE, "gen_ai.request.model": model},
        )
        self._spans[request.id] = span
        return msgspec.structs.replace(request, trace=_traceparent(span))

    def end(self, record: Record) -> str:
        """Ends the span of the call as its record says; returns the id of its trace, "" where it has none."""
        span = self._spans.pop(record.id, None)
        if span is None:
            return ""
        status, context = status_of(record), span.get_span_context()
        span.set_attributes(_of_record(record, status))
        if status >= 400:
            self._failed(span, str(status))
        span.end()
        return f"{context.trace_id:032x}"

    def drop(self, id: str, error: BaseException | None) -> None:
        """Ends the span of a call that has no record."""
        span = self._spans.pop(id, None)
        if span is not None:
            self._failed(span, _kind(error))
            span.end()

    def path(self, path: Path) -> Path:
        """The path, with a span for every engine that is asked."""
        return replace(path, tiers=tuple(replace(tier, engine=self._traced(tier.engine)) for tier in path.tiers))

    @contextmanager
    def attempt(
        self, request: Request, engine: str, *, what: str = "chat", stream: bool = False
    ) -> Iterator[tuple[Request, Any]]:
        """The span of one engine that is asked for `what`, and the request with its traceparent."""
        known = self._engines.get(engine)
        remote = known is not None and bool(known.address)
        span = self._tracer.start_span(
            f"{what} {known.model if known and known.model else engine}",
            context=self._context.extract({"traceparent": request.trace}),
            kind=self._trace.SpanKind.CLIENT if remote else self._trace.SpanKind.INTERNAL,
            attributes=_of_request(request, stream=stream),
        )
        span.set_attribute("gen_ai.operation.name", what)
        span.set_attribute("insource.engine", engine)
        span.set_attribute("gen_ai.request.model", known.model if known and known.model else engine)
        span.set_attribute("gen_ai.provider.name", known.kind if known and remote else HERE)
        if known is not None and remote and not known.replicas:
            place = urlsplit(known.base_url)
            span.set_attribute("server.address", place.hostname or "")
            span.set_attribute("server.port", place.port or (443 if place.scheme == "https" else 80))
        try:
            yield msgspec.structs.replace(request, trace=_traceparent(span)), span
        except BaseException as error:
            self._failed(span, _kind(error))
            raise
        finally:
            span.end()

    async def close(self) -> None:
        """Sends what waits, for some seconds at most."""
        await asyncio.to_thread(self._provider.force_flush, int(PATIENCE_S * 1000))
        await asyncio.to_thread(self._provider.shutdown)

    def _traced(self, engine: Engine) -> Engine:
        return KINDS[isinstance(engine, Streams), isinstance(engine, Embeds)](engine, self)

    def _failed(self, span: Any, kind: str) -> None:
        span.set_attribute("error.type", kind)
        span.set_status(self._trace.StatusCode.ERROR)


class Traced:
    """An engine, with a span for each answer."""

    def __init__(self, engine: Engine, traces: Traces) -> None:
        self.name, self._engine, self._traces = engine.name, engine, traces

    async def complete(self, request: Request) -> Prediction:
        """The engine's answer."""
        with self._traces.attempt(request, self.name) as (request, span):
            prediction = await self._engine.complete(request)
            span.set_attributes(_of_prediction(prediction))
            return prediction

    async def close(self) -> None:
        """Closes the engine."""
        await self._engine.close()


class TracedStream(Traced):
    """An engine that also answers piece by piece."""

    def stream(self, request: Request) -> AsyncGenerator[Piece]:
        """The engine's pieces."""
        return one_by_one(self.bursts(request))

    async def bursts(self, request: Request) -> AsyncGenerator[Burst]:
        """The engine's pieces, together those that came together."""
        began, first = perf_counter(), True
        with self._traces.attempt(request, self.name, stream=True) as (request, span):
            async with aclosing(bursts(self._engine, request)) as coming:
                async for burst in coming:
                    if first:
                        first = span.set_attribute("gen_ai.response.time_to_first_chunk", perf_counter() - began)
                    if isinstance(burst[-1], Prediction):
                        span.set_attributes(_of_prediction(burst[-1]))
                    yield burst


class TracedEmbeds(Traced):
    """An engine that has vectors."""

    async def embed(self, request: Request, wanted: JsonObject) -> tuple[list[JsonObject], Usage]:
        """The engine's vectors."""
        assert isinstance(self._engine, Embeds)  # noqa: S101 - `Traces` makes it of no other
        with self._traces.attempt(request, self.name, what="embeddings") as (request, span):
            vectors, usage = await self._engine.embed(request, wanted)
            span.set_attribute("gen_ai.usage.input_tokens", usage.input_tokens)
            return vectors, usage


class TracedAll(TracedStream, TracedEmbeds):
    """An engine that does both."""


# (streams, embeds) → what stands around it: an engine is asked by what it can do
KINDS: dict[tuple[bool, bool], type[Traced]] = {
    (False, False): Traced,
    (True, False): TracedStream,
    (False, True): TracedEmbeds,
    (True, True): TracedAll,
}


def _provider(settings: Settings) -> Any:
    try:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

        collector: Any = Collector(settings)
    except ImportError as error:
        raise _missing(error) from error
    provider = TracerProvider(
        sampler=ParentBased(TraceIdRatioBased(settings.observe.sample)),
        resource=Resource({"service.name": "insource", "service.version": __version__}),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(BatchSpanProcessor(collector))
    return provider


def _missing(error: ImportError) -> InsourceError:
    return EngineDown(
        f"{error.name} is not installed, and observe.otlp asks for it", hint="pip install 'insource[traces]'"
    )


def _traceparent(span: Any) -> str:
    """The header of W3C Trace Context."""
    context = span.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"


def _kind(error: BaseException | None) -> str:
    if isinstance(error, InsourceError):
        return error.code
    return type(error).__name__ if error is not None else "unknown"


def _of_request(request: Request, *, stream: bool) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if stream:
        found["gen_ai.request.stream"] = True
    if request.max_tokens is not None:
        found["gen_ai.request.max_tokens"] = request.max_tokens
    if request.task is not None:
        return found
    found["gen_ai.request.temperature"] = request.temperature
    if request.seed is not None:
        found["gen_ai.request.seed"] = request.seed
    form = FORMS.get(str((request.response_format or {}).get("type")))
    return found | {"gen_ai.output.type": form} if form else found


def _of_prediction(said: Prediction) -> dict[str, Any]:
    found = {
        "gen_ai.response.finish_reasons": (said.finish,),
        "gen_ai.usage.input_tokens": said.usage.input_tokens,
        "gen_ai.usage.output_tokens": said.usage.output_tokens,
    }
    return found | ({} if said.confidence is None else {"insource.confidence": said.confidence})


def _of_record(record: Record, status: int) -> dict[str, Any]:
    said = [attempt.prediction.usage for attempt in record.attempts if attempt.prediction is not None]
    return {
        "gen_ai.response.id": f"chatcmpl-{record.id}",
        "gen_ai.usage.input_tokens": sum(usage.input_tokens for usage in said),
        "gen_ai.usage.output_tokens": sum(usage.output_tokens for usage in said),
        "http.response.status_code": status,
        "insource.record": record.id,
        "insource.outcome": record.outcome,
        "insource.tier": record.tier,
        "insource.tenant": record.tenant,
        "insource.usd": record.usd,
        **({"insource.cache": "hit"} if record.cached else {}),
        **({"insource.task": record.task} if record.task else {}),
        **({"gen_ai.response.model": record.release} if record.release else {}),
    }
