"""Which column is what: the input, the targets, the split, the tags; and the OpenAI chat form made into columns."""

import difflib
import re
from collections.abc import Sequence

from insource.collect.read import Raw
from insource.errors import Invalid
from insource.nouns import JsonObject, JsonValue, Noun, Task
from insource.nouns.request import text_of

INPUTS = ("input", "text")
TARGETS = ("target", "label", "category", "output")
MESSAGES = "messages"
SPLIT = "split"
FIELD = re.compile(r"[\w-]{1,64}")


class Wish(Noun, frozen=True, kw_only=True):
    """What the user asked of this call.

    `input` and `targets` name columns (a target as COL or output=COL), `tags` columns kept as slices. `split` forces
    the split of every row. `replace` starts over, `drop_leaks` takes rows out of train whose likes stand elsewhere,
    `strict` keeps nothing when a row was rejected or a finding is serious. `form` says what the files are, "" that they
    say it themselves; `prompt` names the system prompt whose calls are wanted. `clean` takes out what would teach
    something wrong; None leaves it to the form: logs of a model are cleaned, tables are not.
    """

    input: str = ""
    targets: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    split: str = ""
    replace: bool = False
    drop_leaks: bool = False
    strict: bool = False
    form: str = ""
    prompt: str = ""
    clean: bool | None = None

    @property
    def named(self) -> tuple[str, ...]:
        """Every column the user named."""
        columns = [self.input, *self.tags, *(target.partition("=")[2] or target for target in self.targets)]
        return tuple(column for column in columns if column)


class Mapping(Noun, frozen=True, kw_only=True):
    """Columns to fields. Either `whole` names the column that holds the whole target, or `fields` one per field.

    `split` is "" when no column says it; `chat` tells that rows are conversations and become columns first.
    """

    input: str
    whole: str = ""
    fields: dict[str, str] = {}
    split: str = ""
    tags: tuple[str, ...] = ()
    chat: bool = False

    def described(self) -> JsonObject:
        """The mapping as the lineage keeps it: fields and input to columns."""
        targets = {"target": self.whole} if self.whole else self.fields
        return {"input": self.input, **targets, **({"split": self.split} if self.split else {})}


def mapping(task: Task | None, seen: Sequence[Raw], wish: Wish, *, name: str) -> Mapping:
    """The mapping for a file whose first rows are `seen`; `task` is None when it is still to be made.

    Raises `Invalid` naming the columns there are when one is not found.
    """
    good = [raw for raw in seen if not raw.fault]
    columns = list(dict.fromkeys(key for raw in good or seen for key in raw.cells))
    if not columns:
        raise Invalid(f"{name}: {_unread(seen)}", hint="collect takes csv with a header, jsonl and parquet")
    chat = MESSAGES in columns and not wish.input
    if chat:
        columns = [*(column for column in columns if column != MESSAGES), "input", "target"]
    for column in wish.named:
        _known(column, columns, name)
    source = wish.input or next((column for column in INPUTS if column in columns), "")
    if not source:
        raise Invalid(f"{name} has no column called input; it has {_list(columns)}", hint="say which: --input COL")
    rest = [column for column in columns if column != source]
    if chat and not wish.targets:
        whole, fields = "target", dict[str, str]()
    else:
        whole, fields = _targets(task, rest, wish, name)
    if whole and task and task.kind == "classify" and len(task.fields) > 1 and not _holds_objects(good, whole, chat):
        raise Invalid(
            f"to which field does column {whole!r} belong? It holds no JSON", hint=f"--target {task.fields[0]}={whole}"
        )
    if source in (whole, *fields.values()):
        raise Invalid(f"{name}: column {source!r} cannot be both input and target", hint="--input COL --target COL")
    split = SPLIT if SPLIT in rest and SPLIT not in (whole, *fields.values()) else ""
    return Mapping(input=source, whole=whole, fields=fields, split=split, tags=wish.tags, chat=chat)


def _targets(task: Task | None, columns: list[str], wish: Wish, name: str) -> tuple[str, dict[str, str]]:
    """The column of the whole target, or the column of each field."""
    if wish.targets:
        return _asked(task, wish.targets)
    fields = task.fields if task else ()
    present = {field: field for field in fields if field in columns}
    if present and len(present) == len(fields):
        return "", present
    single = next((column for column in TARGETS if column in columns), "")
    if len(fields) == 1 and single:
        return ("", {fields[0]: single}) if task and task.kind == "classify" else (single, {})
    if "target" in columns:
        return "target", {}
    if present and task and task.kind == "extract":
        return "", present
    missing = ", ".join(field for field in fields if field not in columns) or "target"
    raise Invalid(
        f"{name} has no column for {missing}; it has {_list(columns)}",
        hint="say which: --target COL or --target FIELD=COL",
    )


def _asked(task: Task | None, targets: tuple[str, ...]) -> tuple[str, dict[str, str]]:
    """What --target says: FIELD=COL, a column named as a field, the one field's column, or the whole target's."""
    pairs = [(field, column) if mark else ("", field) for field, mark, column in (t.partition("=") for t in targets)]
    if task is None:
        return "", {_named(field) if field else output_name(column): column for field, column in pairs}
    fields: dict[str, str] = {}
    for field, column in pairs:
        chosen = field or (column if column in task.fields else "")
        if field and field not in task.fields:
            near = difflib.get_close_matches(field, task.fields, n=1)
            hint = f"did you mean {near[0]}?" if near else f"its fields are {', '.join(task.fields)}"
            raise Invalid(f"task {task.name} has no field {field!r}", hint=hint)
        if chosen:
            fields[chosen] = column
    loose = [column for field, column in pairs if not field and column not in task.fields]
    if not loose:
        return "", _complete(task, fields)
    if len(loose) > 1 or fields:
        raise Invalid(f"to which field does column {loose[0]!r} belong?", hint=f"--target {task.fields[0]}={loose[0]}")
    if task.kind == "classify" and len(task.fields) == 1:
        return "", {task.fields[0]: loose[0]}
    return loose[0], {}


def _named(field: str) -> str:
    if not FIELD.fullmatch(field):
        raise Invalid(f"{field[:80]!r} cannot be a field's name", hint="letters, digits, - and _, like root_cause")
    return field


def _complete(task: Task, fields: dict[str, str]) -> dict[str, str]:
    """The same fields, if a classify task is given all of them."""
    missing = [field for field in task.fields if field not in fields]
    if task.kind == "classify" and missing:
        raise Invalid(f"no column is named for {', '.join(missing)}", hint=f"--target {missing[0]}=COL")
    return fields


def output_name(column: str) -> str:
    """A field's name made of a column's: lower case letters, digits and _."""
    kept = "".join(c if c.isalnum() else "_" for c in column.strip().lower())
    return "_".join(part for part in kept.split("_") if part) or "label"


def _known(column: str, columns: list[str], name: str) -> None:
    if column in columns:
        return
    near = difflib.get_close_matches(column, columns, n=1, cutoff=0.5)
    same = [known for known in columns if known.lower() == column.lower()]
    hint = f"did you mean {(same or near)[0]}?" if same or near else "--input COL and --target COL name its columns"
    raise Invalid(f"{name} has no column {column!r}; it has {_list(columns)}", hint=hint)


def _holds_objects(rows: Sequence[Raw], column: str, chat: bool) -> bool:
    """True when some first row has an object in the column, or text that could be one; conversations are not told."""
    values = [raw.cells.get(column) for raw in rows]
    return chat or any(isinstance(v, dict) or (isinstance(v, str) and v.lstrip().startswith("{")) for v in values)


def _unread(seen: Sequence[Raw]) -> str:
    """Why a file has no columns at all."""
    if not seen:
        return "it has no rows"
    return f"none of its first rows can be read; line {seen[0].line}: {seen[0].fault or 'no columns'}"


def _list(columns: Sequence[str]) -> str:
    shown = ", ".join(repr(column[:60]) for column in columns[:20])
    return (shown or "none") + (f" and {len(columns) - 20} more" if len(columns) > 20 else "")


def unfold(cells: JsonObject) -> JsonObject:
    """A conversation as columns.

    `input` is the last user message before the last assistant message, `target` that assistant's content. Raises
    `Invalid` saying what the conversation lacks.
    """
    said = cells.get(MESSAGES)
    if not isinstance(said, list) or not all(isinstance(turn, dict) for turn in said):
        raise Invalid("not a conversation: messages must be a list of objects")
    answers = [i for i, turn in enumerate(said) if turn.get("role") == "assistant"]
    if not answers:
        raise Invalid("no target: the conversation has no assistant message")
    asked = [turn for turn in said[: answers[-1]] if turn.get("role") == "user"]
    if not asked:
        raise Invalid("no input: the conversation has no user message before its answer")
    rest = {key: value for key, value in cells.items() if key != MESSAGES}
    return {**rest, "input": _content(asked[-1]), "target": _content(said[answers[-1]])}


def _content(turn: JsonObject) -> JsonValue:
    content = turn.get("content")
    return content if isinstance(content, str) else text_of(content)
