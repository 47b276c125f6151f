"""The documents: headings from documents.toml and mapping.toml, fields under them."""

import tomllib
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files

import msgspec

from insource.govern import markdown
from insource.govern.evidence import Field, Table
from insource.govern.facts import Facts
from insource.nouns import JsonObject, Noun


class Section(Noun, frozen=True, kw_only=True):
    """A heading, the words below it, and the fields that answer it."""

    heading: str
    level: int = 2
    text: str = ""
    fields: tuple[str, ...] = ()


class Document(Noun, frozen=True, kw_only=True):
    """A file of Markdown: its title, what it is about, its sections."""

    file: str
    title: str
    about: str
    section: tuple[Section, ...]


class Line(Noun, frozen=True, kw_only=True):
    """A demand of a framework, and the fields that are evidence for it."""

    of: str
    demand: str
    fields: tuple[str, ...]


class Map(Noun, frozen=True, kw_only=True):
    """A framework's demands, one a line."""

    file: str
    title: str
    about: str
    line: tuple[Line, ...]


class _Layout(Noun, frozen=True, kw_only=True):
    document: tuple[Document, ...] = ()
    map: tuple[Map, ...] = ()


@lru_cache(maxsize=2)
def _layout(name: str) -> _Layout:
    text = files("insource.govern").joinpath(name).read_text("utf-8")
    return msgspec.convert(tomllib.loads(text), type=_Layout)


def documents() -> tuple[Document, ...]:
    """Every document, in the order in which they are read."""
    return _layout("documents.toml").document


def maps() -> tuple[Map, ...]:
    """Every framework."""
    return _layout("mapping.toml").map


def write(document: Document, about: str, found: Mapping[str, Field]) -> str:
    """The document as Markdown."""
    parts = [f"# {markdown.plain(document.title.format(about=about))}", document.about]
    for section in document.section:
        parts.append("#" * section.level + f" {section.heading}")
        parts += [section.text.format(task=about.partition("@")[0])] if section.text else []
        parts += [markdown.block(found[name]) for name in section.fields]
    return "\n\n".join(parts) + "\n"


def mapped(one: Map, found: Mapping[str, Field]) -> Table:
    """The framework's table: the demand, how many of its fields are there, in which documents, and what is missing."""
    rows = []
    for line in one.line:
        missing = [name for name in line.fields if found[name].state == "missing"]
        there = {"measured": 0, "declared": 0, "missing": 0}
        for name in line.fields:
            there[found[name].state] += 1
        said = ", ".join(f"{n} {state}" for state, n in there.items() if n)
        rows.append((line.of, line.demand, said, ", ".join(_places(line.fields)), ", ".join(missing) or "nothing"))
    columns = ("section", "demand", "fields", "documents", "missing")
    return Table(columns=columns, rows=tuple(rows))


def write_map(one: Map, about: str, found: Mapping[str, Field]) -> str:
    """The framework as Markdown: the table, then every field's state and source."""
    parts = [f"# {markdown.plain(one.title.format(about=about))}", one.about, markdown.table(mapped(one, found))]
    for line in one.line:
        parts.append(f"## {line.of}. {line.demand}")
        parts.append(
            "\n".join(f"- {markdown.plain(found[name].title)}: {markdown.said(found[name])}" for name in line.fields)
        )
    return "\n\n".join(parts) + "\n"


def _places(names: tuple[str, ...]) -> list[str]:
    """The documents that hold these fields."""
    held = [one.file for one in documents() if any(set(names) & set(section.fields) for section in one.section)]
    return list(dict.fromkeys(held))


def metadata(facts: Facts, found: Mapping[str, Field]) -> JsonObject:
    """The front matter of a model card on the Hugging Face hub: what is known, and nothing else.

    `datasets` would be names on the hub, which ours have none of: the digest of the rows is the results' `revision`.
    """
    task = facts.task
    data: JsonObject = {"tags": ["insource", task.kind], "model_name": facts.about}
    if found["licence"].state == "declared":
        data["license"] = "other"
        data["license_name"] = found["licence"].words
    if facts.base is not None and facts.manifest is not None and facts.manifest.base_digest:
        data["base_model"] = facts.base.hub
    if task.kind == "classify":
        data["pipeline_tag"] = "text-classification"
    candidate, report = facts.candidate, facts.report
    if candidate is not None and report is not None:
        whole = [score for score in candidate.scores if score.slice is None]
        data["metrics"] = [score.metric for score in whole]
        results = [{"type": one.metric, "value": one.value, "name": f"{one.metric}, {one.low:.4f} to {one.high:.4f}, "
                    f"n {one.n}"} for one in whole]  # fmt: skip
        dataset = {"name": task.name, "type": task.name, "split": report.split, "revision": report.dataset}
        kind = {"type": "text-classification" if task.kind == "classify" else "text-generation", "name": task.name}
        data["model-index"] = [
            {"name": facts.about, "results": [{"task": kind, "dataset": dataset, "metrics": results}]}
        ]
    return data
