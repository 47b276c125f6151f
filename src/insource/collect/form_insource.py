"""Our own batches: the file of inputs and the file of answers, brought together by `id`."""

from collections.abc import Iterator

from insource.collect.calls import Call, text
from insource.nouns import JsonObject

OUT = {"id", "output", "decision", "record"}


def is_batch(document: JsonObject) -> bool:
    """A line of a batch in or out."""
    return set(document) >= OUT or (set(document) <= {"id", "input", "meta"} and {"id", "input"} <= set(document))


def batch(document: JsonObject) -> Iterator[Call]:
    """The input of a line, or its answer. What waits for a person is no answer."""
    key = f"insource {text(document['id'])}"
    if "input" in document:
        yield Call(key=key, input=document["input"] if isinstance(document["input"], str) else "")
        return
    waits = document.get("decision") in ("review", "out_of_scope")
    yield Call(
        key=key,
        answer=document.get("output"),
        model=text(document.get("release")),
        fault="it waits for a person" if waits else "the call failed" if document.get("error") else "",
    )
