"""What was written for a request, as a Prediction: parsed, held to its schema, with a confidence for every field."""

from math import exp

from insource.decode.check import parse, parse_json, schema_of
from insource.engines.base_model_fields import field_confidence, was_cut
from insource.engines.base_model_write import Draft, Writer
from insource.errors import Invalid, OutputInvalid
from insource.nouns import JsonObject, Prediction, Request, Usage


def prediction_of(request: Request, draft: Draft, writer: Writer, name: str, usage: Usage) -> Prediction:
    """The draft's text and value. Confidence is the probability of all its tokens, per field of those in its value."""
    text = writer.text(draft)
    for stop in request.stop:
        text = text.split(stop, 1)[0]
    finish = draft.finish or "stop"
    value: JsonObject | None = None
    schema = schema_asked(request)
    try:
        if request.task and (schema is None or finish == "stop"):
            value = parse(request.task, text)
        elif schema is not None and finish == "stop":
            value = parse_json(schema, text)
    except OutputInvalid:
        finish = "invalid"
    pieces = writer.vocabulary.pieces(draft.tokens)
    structured = schema is not None and isinstance(value, dict)
    return Prediction(
        text=text,
        value=value if isinstance(value, dict) else None,
        engine=name,
        confidence=0.0 if was_cut(value) and structured else exp(sum(draft.logs)),
        fields=field_confidence(text, value or {}, pieces, draft.logs) if structured else {},
        usage=usage,
        finish=finish,
    )


def schema_asked(request: Request) -> JsonObject | None:
    """The JSON Schema the answer must follow; None when it is free text. Raises `Invalid` for a malformed one."""
    if request.task:
        return None if request.task.kind == "generate" else schema_of(request.task)
    form = request.response_format
    if form is None or form.get("type") == "text":
        return None
    if form.get("type") == "json_object":
        return {"type": "object"}
    schema = (form.get("json_schema") or {}).get("schema") if isinstance(form.get("json_schema"), dict) else None
    if form.get("type") != "json_schema" or not isinstance(schema, dict):
        raise Invalid(
            "response_format is text, json_object, or json_schema with a schema",
            hint='{"type": "json_schema", "json_schema": {"name": "…", "schema": {…}}}',
        )
    return schema
