"""OpenTelemetry's GenAI conventions in OTLP/JSON: spans whose attributes hold the messages, or whose events do.

Read are the attributes `gen_ai.input.messages`, `gen_ai.output.messages` and `gen_ai.system_instructions`, on the span
or in its event `gen_ai.client.inference.operation.details`; the events of version 1.36 and before
(`gen_ai.user.message`, `gen_ai.choice`), also as log records that name their span; and `gen_ai.prompt.N.content`, as
OpenLLMetry writes it. Resource attributes, where headers and hosts stand, are not read.
"""

from collections.abc import Iterator

from insource.collect.calls import Call, asked, content, each, first, opened, text, times, usage, whole, word
from insource.nouns import JsonObject, JsonValue

ROOTS = ("resourceSpans", "resource_spans", "resourceLogs", "resource_logs")
SCOPES = ("scopeSpans", "scope_spans", "instrumentationLibrarySpans", "scopeLogs", "scope_logs")
ROWS = ("spans", "logRecords", "log_records")
DEEP = 32
ASKED = {"gen_ai.system.message": "system", "gen_ai.user.message": "user", "gen_ai.assistant.message": "assistant"}


def is_otel(document: JsonObject) -> bool:
    """An export request, or a span by itself."""
    return any(isinstance(document.get(root), list) for root in ROOTS) or (
        bool({"spanId", "span_id"} & set(document)) and "attributes" in document
    )


def otel(document: JsonObject) -> Iterator[Call]:
    """Every call of a model among the spans and log records."""
    for row in _rows(document):
        call = _call(row)
        if call is not None:
            yield call


def _rows(document: JsonObject) -> Iterator[JsonObject]:
    if not any(root in document for root in ROOTS):
        yield document
    for root in ROOTS:
        for resource in each(document.get(root)):
            for scope in (one for name in SCOPES for one in each(resource.get(name))):
                yield from (row for name in ROWS for row in each(scope.get(name)))


def _call(row: JsonObject) -> Call | None:
    """The call of a span, or what a log record tells of one; None for other spans and records."""
    said = attributes(row.get("attributes"))
    events = [(text(event.get("name")), attributes(event.get("attributes"))) for event in each(row.get("events"))]
    name = text(first(row, "eventName", "event_name")) or text(said.get("event.name"))
    if name:
        body = plain(row.get("body"))
        events.append((name, {**said, **(body if isinstance(body, dict) else {})}))
    if not any(key.startswith("gen_ai.") for key in said) and not any(n.startswith("gen_ai.") for n, _ in events):
        return None
    for about, more in events:
        said = (
            {**more, **said}
            if about in ("gen_ai.client.inference.operation.details", "gen_ai.content.prompt")
            else said
        )
        said = {**said, **more} if about == "gen_ai.content.completion" else said
    question, answer = _messages(said)
    turns, choices = _said_in(events)
    question = question or asked(turns)
    span = text(first(row, "spanId", "span_id"))
    return Call(
        **{
            "key": f"otel {text(first(row, 'traceId', 'trace_id'))} {span}" if span else "",
            **question,
            "answer": answer if answer is not None else choices,
            **_facts(row, said, is_span=not name),
            **_judged(events),
        }
    )


def _messages(said: JsonObject) -> tuple[JsonObject, JsonValue]:
    """Question and answer in a span's attributes; empty and None where they are not there."""
    turns = opened(first(said, "gen_ai.input.messages", "gen_ai.prompt"))
    answers = opened(first(said, "gen_ai.output.messages", "gen_ai.completion"))
    if turns is None:
        turns, answers = _numbered(said, "gen_ai.prompt"), _numbered(said, "gen_ai.completion")
    told = opened(said.get("gen_ai.system_instructions"))
    question = asked(turns) if isinstance(turns, list) else {"input": turns} if isinstance(turns, str) else {}
    if told and question:
        parts = content({"content": told}) if isinstance(told, list) else text(told, 10**6)
        question["system"] = "\n\n".join(filter(None, [parts, question.get("system", "")]))
    last = next(each(answers), None)
    if isinstance(answers, str):
        return question, answers
    if last is None:
        return (question if question.get("input") else {}), None
    cut = {"fault": "its answer was cut"} if last.get("finish_reason") == "length" else {}
    return {**question, **cut}, content(last)


def _numbered(said: JsonObject, name: str) -> list[JsonObject]:
    """Messages that are written one attribute a part: `NAME.0.role`, `NAME.0.content`."""
    found: dict[int, JsonObject] = {}
    for key, value in said.items():
        number, _, part = key.removeprefix(f"{name}.").partition(".")
        if key.startswith(f"{name}.") and number.isdecimal() and part in ("role", "content"):
            found.setdefault(int(number[:6]), {})[part] = opened(value)
    return [found[number] for number in sorted(found)]


def _said_in(events: list[tuple[str, JsonObject]]) -> tuple[list[JsonObject], JsonValue]:
    """Messages and the answer as the older events tell them."""
    turns = [{"role": ASKED[name], "content": said.get("content")} for name, said in events if name in ASKED]
    for name, said in events:
        if name == "gen_ai.choice":
            turn = opened(said.get("message"))
            return turns, content(turn) if isinstance(turn, dict) else first(said, "content", "message")
    return turns, None


def _facts(row: JsonObject, said: JsonObject, *, is_span: bool) -> JsonObject:
    """Model, time and tokens."""
    tokens = usage({key.removeprefix("gen_ai.usage."): value for key, value in said.items() if "gen_ai.usage." in key})
    begun, ended = first(row, "startTimeUnixNano", "start_time_unix_nano"), first(row, "endTimeUnixNano")
    model = first(said, "gen_ai.response.model", "gen_ai.request.model")
    return {"model": text(model), **(times(begun, ended) if is_span else {}), **tokens}


def _judged(events: list[tuple[str, JsonObject]]) -> JsonObject:
    """What an evaluation says. By whom is not part of the conventions, so it is never taken for a person's."""
    for name, said in events:
        if name == "gen_ai.evaluation.result":
            found = word(first(said, "gen_ai.evaluation.score.label", "gen_ai.evaluation.score.value"))
            if found:
                return {"word": found}
    return {}


def attributes(value: JsonValue) -> JsonObject:
    """Attributes by name, whether they are a list of key and value, as in OTLP, or an object."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    return {text(item.get("key")): plain(item.get("value")) for item in each(value)}


def plain(value: JsonValue, depth: int = 0) -> JsonValue:
    """An OTLP value (`stringValue`, `intValue`, `arrayValue`, `kvlistValue` …) as plain JSON; None beyond 32 levels."""
    if not isinstance(value, dict) or depth > DEEP:
        return value if depth <= DEEP else None
    if "arrayValue" in value:
        inner = value["arrayValue"].get("values") if isinstance(value["arrayValue"], dict) else None
        return [plain(item, depth + 1) for item in inner] if isinstance(inner, list) else []
    if "kvlistValue" in value:
        inner = value["kvlistValue"].get("values") if isinstance(value["kvlistValue"], dict) else None
        return {text(item.get("key")): plain(item.get("value"), depth + 1) for item in each(inner)}
    if "intValue" in value:
        return whole(value["intValue"])
    return next((value[name] for name in ("stringValue", "doubleValue", "boolValue") if name in value), value)
