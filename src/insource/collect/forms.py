"""Whose log is it? A table of forms, each told by what one of its lines looks like, with the function that reads it."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import msgspec

from insource.collect import csv_rows, form_insource, form_langfuse, form_openai, form_otel
from insource.collect.calls import Call, joined
from insource.collect.lines import LIMIT, lines, look, opened
from insource.collect.read import CSV_NAMES, PARQUET, as_object
from insource.errors import Invalid
from insource.nouns import DEEPEST, JsonObject, JsonValue, depth_ok

WHOLE = 64 * 2**20
LOOK = 20
TABLE = "table"
TUNE = "openai-fine-tune"


class Form(NamedTuple):
    """How a line of this form is told, what it gives, and whether its answers are a model's word, not an owner's."""

    told: Callable[[JsonObject], bool]
    read: Callable[[JsonObject], Iterator[Call]]
    of_a_model: bool = True


FORMS = {
    "otel": Form(form_otel.is_otel, form_otel.otel),
    "langfuse": Form(form_langfuse.is_langfuse, form_langfuse.langfuse),
    "openai-batch": Form(form_openai.is_batch, form_openai.batch),
    "openai-stored": Form(form_openai.is_stored, form_openai.stored),
    "openai-log": Form(form_openai.is_log, form_openai.log),
    "insource-batch": Form(form_insource.is_batch, form_insource.batch),
    TUNE: Form(form_openai.is_tune, form_openai.tune, of_a_model=False),
}


class Document(NamedTuple):
    """One object of a file with the line where it begins, or the fault why it cannot be read."""

    line: int
    value: JsonObject
    fault: str = ""


def form_of(path: Path) -> str:
    """The form of a log, told by the first lines that are objects; "table" for rows of any other kind.

    Raises `Missing` or `Invalid` when the file cannot be read at all.
    """
    head = look(path)
    if head.startswith(PARQUET):
        return TABLE
    if _is_csv(path, head):
        columns = next(iter(csv_rows.read(path)), (0, {}, "", ""))[1]
        return "langfuse" if form_langfuse.is_langfuse(columns) else TABLE
    if head.lstrip().startswith(b"[") and path.stat().st_size > WHOLE:
        return TABLE
    found = Counter(_named(one.value) for one in islice(documents(path), LOOK) if not one.fault)
    return found.most_common(1)[0][0] if found else TABLE


def _named(document: JsonObject) -> str:
    return next((name for name, form in FORMS.items() if form.told(document)), TABLE)


def told(path: Path) -> bool:
    """Whether the first lines of a fine-tuning file tell the model what to do, or are no chats at all."""
    for one in islice(documents(path), LOOK):
        for call in form_openai.tune(one.value) if not one.fault and form_openai.is_tune(one.value) else ():
            if call.system or "messages" not in one.value:
                return True
    return False


def read_calls(path: Path, form: str, name: str) -> Iterator[Call]:
    """The pieces of calls in one file, in its order; what cannot be read is a call with a fault."""
    reader = FORMS[form]
    for one in documents(path):
        if one.fault or not reader.told(one.value):
            yield Call(file=name, line=one.line, fault=one.fault or f"another form: not a line of {form}")
            continue
        for call in reader.read(one.value):
            yield msgspec.structs.replace(call, file=name, line=one.line)


def all_calls(files: Sequence[tuple[Path, str]]) -> list[Call]:
    """The calls of all files (path, form), put together by their keys, each with what makes it useless as a row."""
    return [
        _settled(call) for call in joined(call for path, form in files for call in read_calls(path, form, path.name))
    ]


def _settled(call: Call) -> Call:
    fault = call.fault
    if not fault and not call.input.strip():
        fault = "no input: what was asked stands in none of the files"
    if not fault and call.answer in (None, "", {}, []):
        fault = "no target: what was answered stands in none of the files"
    if not fault and call.word == "wrong" and call.corrected in (None, ""):
        who = "a person" if call.person else "an evaluator"
        fault = f"wrong answer: {who} said so, and not what is right"
    return call if fault == call.fault else msgspec.structs.replace(call, fault=fault)


def documents(path: Path, *, limit: int = LIMIT) -> Iterator[Document]:
    """The objects of a file: of csv rows, of JSON lines, or of one JSON document and the lists that it wraps."""
    head = look(path)
    if _is_csv(path, head):
        yield from (Document(line, cells, fault) for line, cells, fault, _ in csv_rows.read(path, limit=limit))
    elif _is_whole(head):
        yield from _whole(path)
    else:
        for line in lines(path, limit=limit):
            said = line.text.strip()
            if not said and not line.fault:
                continue
            value, fault = ({}, line.fault) if line.fault else as_object(said)
            yield from _pages(line.number, value) if not fault else [Document(line.number, {}, fault)]


def _is_csv(path: Path, head: bytes) -> bool:
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    return path.suffix.lower() in CSV_NAMES or start not in (b"{", b"[")


def _is_whole(head: bytes) -> bool:
    """Whether the file is one document over several lines, and not an object a line."""
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith(b"["):
        return True
    first, _, rest = start.partition(b"\n")
    return bool(rest.strip()) and len(first) < len(start) and first.rstrip()[-1:] in (b"{", b"[", b",", b":")


def _whole(path: Path) -> Iterator[Document]:
    with opened(path) as file:
        data = file.read(WHOLE + 1)
    if len(data) > WHOLE:
        raise Invalid(
            f"{path} is one JSON document of more than {WHOLE >> 20} MB",
            hint=f"jq -c '.[]' {path} > {path.stem}.jsonl, collect that",
        )
    try:
        value = msgspec.json.decode(data.removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise Invalid(f"{path} is not JSON: {error}", hint="an object a line, or one list of objects") from error
    except RecursionError as error:
        raise Invalid(f"{path} is nested hundreds of levels deep", hint="an object a line, or one list") from error
    items = value if isinstance(value, list) else [value]
    for number, item in enumerate(items, 1):
        if not isinstance(item, dict):
            yield Document(number, {}, "not an object: each item must be a JSON object")
        elif not depth_ok(item):
            yield Document(number, {}, f"nested too deeply: more than {DEEPEST} levels of JSON")
        else:
            yield from _pages(number, item)


def _pages(line: int, value: JsonObject) -> Iterator[Document]:
    """The object, or those on the page of a list that an API gave."""
    inner: JsonValue = value.get("data")
    if isinstance(inner, list) and (value.get("object") == "list" or "meta" in value):
        yield from (Document(line, item) for item in inner if isinstance(item, dict))
    else:
        yield Document(line, value)
