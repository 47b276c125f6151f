"""A task as the file that a workspace reads: the other way round of `settings.load_task`.

Labels stand in the file itself, so that one file is the whole task; a schema has a file of its own, since JSON says
things that TOML cannot.
"""

import json
import tempfile
from pathlib import Path

import msgspec

from insource.errors import Invalid, Missing
from insource.nouns import Output, Route, Scan, Task, to_json
from insource.nouns.sections import RiskSettings
from insource.settings import Settings, load_task

NOTE = "# Written by insource from a bundle; the next bundle of this task writes it anew."


def task_files(task: Task, risk: RiskSettings | None = None) -> dict[str, str]:
    """Place in a workspace → text. Of `risk` it says what is no part of the task.

    Reading them gives `task` back: what cannot be written so raises `Invalid`.
    """
    files = {f"tasks/{task.name}.toml": "\n".join([NOTE, *_head(task), *_tables(task, risk or RiskSettings()), ""])}
    if task.schema is not None:
        files[_schema_place(task)] = msgspec.json.format(to_json(task.schema)).decode() + "\n"
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for place, text in files.items():
            (root / place).parent.mkdir(exist_ok=True)
            (root / place).write_text(text, "utf-8")
        try:
            again = load_task(Settings(root=root, cache=root), task.name)
        except (Invalid, Missing) as error:
            raise Invalid(f"the task {task.name} cannot be written as a file: {error}") from error
    if again != task:
        raise Invalid(f"the task {task.name} cannot be written as a file: it would read differently")
    return files


def _head(task: Task) -> list[str]:
    sensitivity = task.sensitivity if isinstance(task.sensitivity, str) else list(task.sensitivity)
    said = {"name": task.name, "kind": task.kind, "instruction": task.instruction, "metric": task.metric,
            "sensitivity": sensitivity, "owner": task.owner}  # fmt: skip
    lines = [f"{key} = {_value(value)}" for key, value in said.items() if value]
    return [*lines, f"schema = {_value(_schema_place(task))}"] if task.schema is not None else lines


def _tables(task: Task, risk: RiskSettings) -> list[str]:
    lines = [line for output in task.outputs for line in _output(output)]
    if task.acceptance:
        lines += ["", "[acceptance]", *[f"{_value(key)} = {demand!r}" for key, demand in task.acceptance.items()]]
    bounds = {
        "max_error": task.risk.max_error,
        "threshold": task.risk.threshold,
        "audit": risk.audit or None,
        "out_of_scope": risk.out_of_scope or None,
    }
    lines += ["", "[risk]", *[f"{key} = {bound!r}" for key, bound in bounds.items() if bound is not None]]
    lines.append(f"else = {_value(list(task.risk.otherwise))}")
    limits = [f"{_value(name)} = {most!r}" for name, most in risk.field_limits(task.fields).items()]
    lines += ["", "[risk.fields]", *limits] if limits else []
    rules = [line for route in task.routes for line in _route(route)]
    return [*lines, *rules, *_scan(task.scan)]


def _route(route: Route) -> list[str]:
    """A rule: what stands at its default is left out."""
    when = {key: value for key, value in msgspec.structs.asdict(route.when).items() if value not in (None, ())}
    said = ", ".join(
        f"{key} = {_value(value if isinstance(value, int) else list(value))}" for key, value in when.items()
    )
    lines = ["", "[[route]]", f"when = {{ {said} }}" if said else "when = {}"]
    sensitivity = route.sensitivity if isinstance(route.sensitivity, str) else list(route.sensitivity)
    shown = {"engines": list(route.engines), "sensitivity": "" if sensitivity == "any" else sensitivity}
    return lines + [f"{key} = {_value(value)}" for key, value in shown.items() if value]


def _scan(scan: Scan) -> list[str]:
    if scan == Scan():
        return []
    lines = ["", "[scan]", f"own_terms = {_value(list(scan.own_terms))}", f"restore = {json.dumps(scan.restore)}"]
    for side, policy in (("input", scan.input), ("output", scan.output)):
        lines += ["", f"[scan.{side}]", *[f"{kind} = {_value(action)}" for kind, action in policy.actions.items()]]
    return lines


def _output(output: Output) -> list[str]:
    kind = "taxonomy" if output.taxonomy else "labels"
    return ["", f"[outputs.{_value(output.name)}]", f"{kind} = [", *[f"  {_value(x)}," for x in output.labels], "]"]


def _schema_place(task: Task) -> str:
    return f"schemas/{task.name}.json"


def _value(value: str | int | list[str]) -> str:
    """A string, a number or a list of strings. JSON's strings are TOML's, but that TOML wants DEL escaped as well."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
