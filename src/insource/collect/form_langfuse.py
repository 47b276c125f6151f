"""What Langfuse exports: observations from its pages, its API or its blob storage, and the scores beside them.

Names are read in all of its spellings (`traceId`, `trace_id`). A score is a person's where its source is ANNOTATION.
"""

from collections.abc import Iterator

from insource.collect.calls import Call, asked, content, each, first, flat, number, opened, text, times, usage, word
from insource.nouns import JsonObject, JsonValue

CALLS = ("GENERATION",)


def is_langfuse(document: JsonObject) -> bool:
    """An observation or a score."""
    said = set(flat(document))
    observation = {"traceid", "type"} <= said and bool({"input", "output"} & said)
    score = {"name", "source"} <= said and bool({"traceid", "observationid"} & said) and "value" in said
    return observation or score


def langfuse(document: JsonObject) -> Iterator[Call]:
    """A generation, or what a score says of one; other observations are no calls of a model and give nothing."""
    said = flat(document)
    if "source" in said and "value" in said and "type" not in said:
        yield from _score(said)
    elif str(said.get("type")).upper() in CALLS:
        yield _generation(said)


def _generation(said: JsonObject) -> Call:
    asks, says = opened(said.get("input")), opened(said.get("output"))
    turns = first(asks, "messages") if isinstance(asks, dict) else asks
    question = asked(turns) if isinstance(turns, list) else {"input": asks if isinstance(asks, str) else ""}
    costs = opened(first(said, "costdetails"))
    cost = first(said, "calculatedtotalcost", "totalcost", "totalprice")
    cost = costs.get("total") if cost is None and isinstance(costs, dict) else cost
    counted = usage(opened(first(said, "usagedetails", "usage")))
    if counted.get("input_tokens") is None:
        counted = {**counted, **usage({k: v for k, v in said.items() if k.endswith("tokens")})}
    scores = [score for one in each(opened(said.get("scores"))) for score in _score(flat(one) | {"observationid": "-"})]
    best = max(scores, key=lambda score: score.person, default=Call())
    judged = {"word": best.word, "person": best.person, "corrected": best.corrected}
    failed = "the call failed" if str(said.get("level")).upper() == "ERROR" else ""
    return Call(
        **{
            "key": f"langfuse {text(said.get('id'))}" if said.get("id") else "",
            **question,
            "answer": _answer(says),
            "model": text(first(said, "model", "providedmodelname")),
            **times(said.get("starttime"), said.get("endtime")),
            **counted,
            "usd": number(cost),
            **judged,
            **({"fault": failed} if failed else {}),
        }
    )


def _answer(says: JsonValue) -> JsonValue:
    """The text of an answer in OpenAI's form, a list of one, or what was kept as it is."""
    if isinstance(says, list) and says and isinstance(says[-1], dict):
        says = says[-1]
    if isinstance(says, dict) and says.get("role") == "assistant":
        return content(says)
    choice = next(each(says.get("choices")), None) if isinstance(says, dict) else None
    return content(choice["message"]) if choice and isinstance(choice.get("message"), dict) else says


def _score(said: JsonObject) -> Iterator[Call]:
    about = text(said.get("observationid"))
    if not about:
        return
    kind = str(said.get("datatype")).upper()
    value = first(said, "stringvalue", "value") if kind != "NUMERIC" else said.get("value")
    person = str(said.get("source")).upper() == "ANNOTATION"
    if kind == "CORRECTION":
        yield Call(key=f"langfuse {about}", word="wrong", person=person, corrected=opened(value))
    elif word(value):
        yield Call(key=f"langfuse {about}", word=word(value), person=person)
