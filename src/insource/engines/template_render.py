"""Renders chat templates. Runs only in a confined process (`engines.confined`), which knows no model and no text.

A template is a program of strangers: Jinja's sandbox keeps it from objects, the process from everything else.
"""

import json
import time
from typing import Any

import jinja2.constants  # this and the next it would import when it needs them, which is too late here
import jinja2.debug  # noqa: F401
from jinja2 import TemplateError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

LONGEST = 1_000_000
FAULTS = (
    TemplateError,
    ArithmeticError,
    AttributeError,
    ImportError,
    LookupError,
    MemoryError,
    OSError,
    RecursionError,
    RuntimeError,
    TypeError,
    ValueError,
)


class Generation(Extension):
    """{% generation %} marks what an assistant said, for those who train on it; here it marks nothing."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """What stands between the marks."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class Renderer:
    """Answers {"template", "values"} with {"text"}, or with {"fault"} in words. Keeps the last template compiled."""

    def __init__(self) -> None:
        self._environment = _environment()
        self._kept: tuple[str, Any] = ("", None)

    def __call__(self, question: dict[str, Any]) -> dict[str, str]:
        """The answer to one question."""
        try:
            return {"text": self._render(question["template"], question["values"])}
        except FAULTS as error:
            return {"fault": f"{type(error).__name__}: {error}"[:500]}

    def _render(self, template: str, values: dict[str, Any]) -> str:
        if self._kept[0] != template or not self._kept[1]:
            self._kept = (template, self._environment.from_string(template))
        pieces: list[str] = []
        length = 0
        for piece in self._kept[1].generate(**values):
            length += len(piece)
            if length > LONGEST:
                raise ValueError(f"more than {LONGEST:,} characters")
            pieces.append(piece)
        return "".join(pieces)


def start() -> Renderer:
    """A renderer with all that Python and Jinja load when they first need it: later they can open no file."""
    renderer = Renderer()
    template = "{% for m in messages %}{{ 'é\\n' ~ m.content | trim | tojson ~ 1.5 }}{% endfor %}{{ oops( }}"
    for each in (template, template.removesuffix("{{ oops( }}")):
        renderer({"template": each, "values": {"messages": [{"content": "x"}]}})
    return renderer


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, Generation]
    )
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = time.strftime
    environment.filters["tojson"] = _tojson
    return environment


def _tojson(value: Any, **_: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _refuse(message: str) -> None:
    raise TemplateError(message)
