"""What was written for a request, as a Prediction: parsed, held to its schema, with a confidence for every field."""

from math import exp

import msgspec

from insource.decode.calls import OPEN, Offer, called, offer_of
from insource.decode.check import faults, parse, parse_json, read_once, schema_of
from insource.engines.base_model_fields import field_confidence, was_cut
from insource.engines.base_model_write import Draft, Writer
from insource.errors import OutputInvalid
from insource.nouns import JsonObject, Prediction, Request, Usage


def prediction_of(request: Request, draft: Draft, writer: Writer, name: str, usage: Usage) -> Prediction:
    """The draft's text and value, or its call of a function.

    Confidence is the probability of all its tokens, per field of those in its value; of an answer that was cut short of
    the form it was asked in, 0: it is not the whole one.
    """
    text, offer = writer.text(draft), offer_asked(request)
    finish = draft.finish or "stop"
    if offer and (offer.must or text.startswith(OPEN)):
        return _call(request, offer, text, Prediction(
            text="", engine=name, usage=usage, finish=finish,
            confidence=0.0 if finish == "length" else exp(sum(draft.logs)),
        ))  # fmt: skip
    for stop in request.stop:
        text = text.split(stop, 1)[0]
    value: JsonObject | None = None
    schema, bare = schema_asked(request), text_asked(request)
    cut = finish == "length" and bool(schema is not None or bare)
    try:
        if request.task and (schema is None or finish == "stop"):
            value = parse(request.task, text)
        elif schema is not None and finish == "stop":
            value = parse_json(schema, text)
        elif finish == "stop" and faults(bare, text):
            finish = "invalid"
    except OutputInvalid:
        finish = "invalid"
    pieces = writer.vocabulary.pieces(draft.tokens)
    structured = schema is not None and isinstance(value, dict)
    return Prediction(
        text=read_once(text) if structured else text,
        value=value if isinstance(value, dict) else None,
        engine=name,
        confidence=0.0 if cut or (was_cut(value) and structured) else exp(sum(draft.logs)),
        fields=field_confidence(text, value or {}, pieces, draft.logs) if structured else {},
        usage=usage,
        finish=finish,
    )


def _call(request: Request, offer: Offer, text: str, said: Prediction) -> Prediction:
    """`said` with the call that `text` is. One that was cut is none: nobody should carry it out."""
    if said.finish != "stop":
        return said
    try:
        function, arguments = called(offer, text)
    except OutputInvalid:
        return msgspec.structs.replace(said, text=text, finish="invalid")
    call = {
        "id": f"call_{request.id}",
        "type": "function",
        "function": {"name": function, "arguments": arguments},
    }
    sure = 0.0 if was_cut(msgspec.json.decode(arguments)) else said.confidence
    return msgspec.structs.replace(said, tool_calls=(call,), confidence=sure)


def offer_asked(request: Request) -> Offer | None:
    """The functions that the answer may call; None where it may call none. Raises `Invalid` for malformed ones."""
    return None if request.task else offer_of(request.tools, request.tool_choice)


def schema_asked(request: Request) -> JsonObject | None:
    """The JSON Schema the answer must follow; None when it is no JSON. `decode.grammar.for_form` has seen the form."""
    if request.task:
        return None if request.task.kind == "generate" else schema_of(request.task)
    form = request.response_format or {}
    if form.get("type") == "json_object":
        return {"type": "object"}
    schema: JsonObject | None = form["json_schema"]["schema"] if form.get("type") == "json_schema" else None
    return schema


def text_asked(request: Request) -> JsonObject:
    """The JSON Schema of the bare text: one of a choice, or what a regex matches whole. Empty where it is free."""
    form = (not request.task and request.response_format) or {}
    if form.get("type") == "choice":
        return {"enum": form["choice"]}
    return {"pattern": f"^(?:{form['regex']})$"} if form.get("type") == "regex" else {}
