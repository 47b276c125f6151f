"""What OpenAI's API leaves behind: logs of requests and responses, stored completions, batches, fine-tuning files.

Chat completions and responses (`/v1/responses`) are read alike, and what others log in their form.
"""

from collections.abc import Iterator

from insource.collect.calls import Call, asked, content, each, first, flat, number, opened, text, times, usage, word
from insource.nouns import JsonObject, JsonValue

REQUESTS = ("request", "req", "body", "kwargs")
RESPONSES = ("response", "resp", "completion", "result")
TUNES = {"messages", "tools", "functions", "parallel_tool_calls", "weight"}
CUT = {"length": "its answer was cut", "content_filter": "its answer was kept back", "max_output_tokens": "cut"}


def is_batch(document: JsonObject) -> bool:
    """A line of a batch's input or output file."""
    return "custom_id" in document and bool({"body", "response", "error"} & set(document))


def batch(document: JsonObject) -> Iterator[Call]:
    """A batch's line: its question, or its answer; `custom_id` brings them together."""
    key = f"batch {text(document['custom_id'])}"
    response = document.get("response")
    if isinstance(document.get("body"), dict):
        yield Call(key=key, **request(document["body"]))
    elif isinstance(response, dict) and response.get("status_code", 200) == 200:
        yield Call(key=key, **answer(opened(response.get("body"))))
    else:
        yield Call(key=key, fault="the call failed")


def is_log(document: JsonObject) -> bool:
    """An object that holds a request and its response."""
    asks, says = _halves(document)
    return bool(asks and says)


def log(document: JsonObject) -> Iterator[Call]:
    """A request beside its response, with what the log says of time, cost and feedback."""
    asks, says = _halves(document)
    said = flat(document)
    facts = times(first(said, "starttime", "requesttime", "timestamp", "createdat"), first(said, "endtime"))
    latency = number(first(said, "latencyms", "durationms", "responsems"))
    facts |= {} if latency is None else {"latency_ms": latency}
    cost = number(first(said, "usd", "costusd", "responsecost", "totalcost", "cost"))
    answered = answer(says)
    facts = {"created": answered.pop("created", ""), **facts} if not facts.get("created") else facts
    answered.pop("created", None)
    yield Call(**{**request(asks), **answered, **facts, "usd": cost, **feedback(said.get("feedback"))})


def is_stored(document: JsonObject) -> bool:
    """A stored completion with its messages, or what is exported of one."""
    return document.get("object") in ("chat.completion", "response") and bool(
        {"messages", "input_messages", "input"} & set(document)
    )


def stored(document: JsonObject) -> Iterator[Call]:
    """A stored completion: the answer, with the messages that it answered beside it."""
    asks = {**document, "messages": first(document, "messages", "input_messages")}
    yield Call(**{**request(asks), **answer(document)})


def is_tune(document: JsonObject) -> bool:
    """A line of a fine-tuning file: of chats, or of preferences."""
    return "messages" in document or {"preferred_output", "non_preferred_output"} <= set(document)


def tune(document: JsonObject) -> Iterator[Call]:
    """A chat whose last answer is what was to be learnt. Preferences and pictures say in words that they are none."""
    if "messages" not in document:
        yield Call(fault="a preference: it says which of two answers is better, not which is right")
        return
    turns = list(each(document["messages"]))
    answers = [i for i, turn in enumerate(turns) if turn.get("role") == "assistant"]
    if not answers:
        yield Call(fault="no target: the conversation has no assistant message")
        return
    last = turns[answers[-1]]
    fault = "a call of a tool" if last.get("tool_calls") or last.get("function_call") else ""
    if not fault and last.get("weight") == 0:
        fault = "an answer that was not to be learnt (weight 0)"
    found = asked(turns[: answers[-1]])
    yield Call(**{**found, "answer": content(last), "fault": fault or found.get("fault", "")})


def request(body: JsonObject) -> JsonObject:
    """The question of a request's body, as fields of a call."""
    turns = first(body, "messages", "input", "prompt")
    found = asked(turns) if isinstance(turns, list) else {"input": turns if isinstance(turns, str) else ""}
    told = first(body, "instructions")
    found["system"] = "\n\n".join(filter(None, [told if isinstance(told, str) else "", found.get("system", "")]))
    return {**found, "model": text(body.get("model"))}


def answer(body: JsonValue) -> JsonObject:
    """The answer of a response's body, as fields of a call."""
    if not isinstance(body, dict):
        return {"answer": body} if isinstance(body, str) else {"fault": "no answer"}
    known: JsonObject = {**usage(body.get("usage")), **times(first(body, "created", "created_at"))}
    model = text(body.get("model"))
    known |= {"model": model} if model else {}
    said, fault = _said(body)
    return {**known, "answer": said, **({"fault": fault} if fault else {})}


def _said(body: JsonObject) -> tuple[JsonValue, str]:
    """What was said, and why it is no answer."""
    choice = next(each(body.get("choices")), None)
    if choice is not None:
        inner = choice.get("message")
        turn: JsonObject = inner if isinstance(inner, dict) else choice
        fault = "a refusal" if turn.get("refusal") else CUT.get(str(choice.get("finish_reason")), "")
        fault = "a call of a tool" if not fault and (turn.get("tool_calls") or turn.get("function_call")) else fault
        return content(turn) or text(turn.get("text"), 10**6), fault
    turns = [turn for turn in each(body.get("output")) if turn.get("type", "message") == "message"]
    if turns:
        whole = "".join(content(turn) for turn in turns)
        return whole, CUT["length"] if body.get("status") == "incomplete" else ""
    return first(body, "output_text", "content"), "the call failed" if body.get("error") else ""


def feedback(value: JsonValue) -> JsonObject:
    """What somebody said of an answer: a word, or an object with it, who said it and what is right instead."""
    if not isinstance(value, dict):
        return {"word": word(value)}
    said = flat(value)
    by = text(first(said, "by", "source", "author")).lower()
    return {
        "word": word(first(said, "value", "score", "rating", "verdict", "label")),
        "person": by in ("human", "person", "user", "annotation", "annotator", "reviewer"),
        "corrected": first(said, "corrected", "correction", "expected"),
    }


def _halves(document: JsonObject) -> tuple[JsonObject, JsonValue]:
    """The request and the response; empty and None where there is none."""
    asks = next((found for name in REQUESTS if isinstance(found := opened(document.get(name)), dict)), document)
    inner = asks.get("body")
    asks = inner if isinstance(inner, dict) else asks
    says = next((found for name in RESPONSES if (found := opened(document.get(name)))), None)
    if isinstance(says, dict) and isinstance(says.get("body"), dict | str) and not says.get("choices"):
        says = opened(says["body"])
    if says is None and ("choices" in document or "output_text" in document):
        says = document
    if not isinstance(says, dict) or not {"choices", "output", "output_text"} & set(says):
        return {}, None
    return (asks, says) if {"messages", "input", "prompt"} & set(asks) else ({}, None)
