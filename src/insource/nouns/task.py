"""A task: what goes in, what may come out, what is good enough, and what to do when unsure."""

from typing import Annotated, Literal

from msgspec import Meta

from insource.nouns.base import JsonObject, Noun
from insource.nouns.finding import Scan

Kind = Literal["classify", "extract", "generate"]
Probability = Annotated[float, Meta(ge=0.0, le=1.0)]


class Output(Noun, frozen=True, kw_only=True):
    """One named output of a `classify` task: a closed set of labels.

    `labels` are distinct and in the file's order. With `taxonomy` each label is a path of a tree, its levels
    joined by " / " (for example "Farming / Crops / Soybean"), and its ancestors are scored as well.
    """

    name: str
    labels: tuple[str, ...]
    taxonomy: bool = False


class Risk(Noun, frozen=True, kw_only=True):
    """When an answer may leave by itself.

    `max_error` is the share of wrong answers tolerated among those given automatically; the threshold on
    confidence is fitted to it on the dev split. `threshold` fixes the confidence by hand instead. With neither,
    every valid answer is given. `otherwise` is the order of help for the rest: names of engines, then "review".
    """

    max_error: Probability | None = None
    threshold: Probability | None = None
    otherwise: tuple[str, ...] = ("review",)


class When(Noun, frozen=True, kw_only=True):
    """What must hold of a request, all of it: its input's length in characters, its language, who calls, who pays.

    `language` holds ISO 639 codes, `caller` names of keys, `tenant` names of tenants: one of each list is enough.
    """

    longer_than: Annotated[int, Meta(ge=0)] | None = None
    shorter_than: Annotated[int, Meta(ge=1)] | None = None
    language: tuple[Annotated[str, Meta(pattern="^[a-z]{2,3}$")], ...] = ()
    caller: tuple[str, ...] = ()
    tenant: tuple[str, ...] = ()


class Route(Noun, frozen=True, kw_only=True):
    """A rule: `when` it holds, `engines` are asked in this order; without any, those that would be asked anyway.

    "release" is the task's live release, "review" a person, who ends the list. `sensitivity` narrows the task's own
    for such a request: an engine must be allowed by both.
    """

    when: When = When()
    engines: tuple[str, ...] = ()
    sensitivity: str | tuple[str, ...] = "any"


class Task(Noun, frozen=True, kw_only=True):
    """One job, typed. `outputs` holds the closed sets of `classify`; `schema` the JSON Schema of `extract`.

    The first of `routes` that holds for a request says who is asked.
    """

    name: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
    kind: Kind
    instruction: str = ""
    outputs: tuple[Output, ...] = ()
    schema: JsonObject | None = None
    metric: str = ""
    acceptance: dict[str, float] = {}
    risk: Risk = Risk()
    routes: tuple[Route, ...] = ()
    sensitivity: str | tuple[str, ...] = "premises"
    owner: str = ""
    scan: Scan = Scan()

    @property
    def fields(self) -> tuple[str, ...]:
        """The names a target must carry: outputs of classify, properties of extract, `text` of generate."""
        if self.kind == "classify":
            return tuple(output.name for output in self.outputs)
        if self.kind == "extract":
            return tuple((self.schema or {}).get("properties", {}))
        return ("text",)

    def output(self, name: str) -> Output:
        """The output called `name`; KeyError if the task has none."""
        return {output.name: output for output in self.outputs}[name]
