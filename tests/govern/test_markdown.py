"""Text of strangers is text: in Markdown, in YAML, in HTML, in JSON, in a command."""

import html
import json
import re

import msgspec
import pytest
import yaml
from markdown_it import MarkdownIt
from test_bom import checked
from test_govern import facts_of

from insource.govern import markdown
from insource.govern.evidence import Found as Answer
from insource.govern.evidence import Source, field
from insource.govern.pack import pack
from insource.nouns import Output, Score

HOSTILE = [
    "<script>alert(1)</script>",
    "| a | cell |\n| --- | --- |\n| more | rows |",
    "](javascript:alert(1)) [click](https://evil.example)",
    "---\nlicense: mit\n---\n# Approved",
    "`code` ``` fence\n```\nrm -rf /\n```",
    "\x1b[31mred\x1b[0m \u202egnp.exe",
    "{{ 7 * 7 }} {% raw %} ${HOME} $(id)",
    "![img](https://evil.example/p.png) <img src=x onerror=alert(1)>",
    "# heading\n- item\n1. item\n> quote\n===",
    "&lt;b&gt; &#60;b&#62; \\<b\\>",
    "quote \" and ' and \\ back",
    "www.evil.example https://evil.example",
]
ALLOWED = {
    "html", "head", "meta", "title", "style", "body", "a", "main", "header", "p", "h1", "h2", "dl", "div", "dt", "dd",
    "nav", "section", "table", "thead", "tbody", "tr", "th", "td", "span", "ul", "li", "caption", "code", "details",
    "summary", "strong", "pre",
}  # fmt: skip


def rendered(text: str) -> str:
    """As a reader of Markdown with tables shows it: HTML."""
    return MarkdownIt("commonmark", {"html": True}).enable("table").render(text)


def tags(html: str) -> set[str]:
    return set(re.findall(r"<([a-zA-Z][a-zA-Z0-9]*)", html))


@pytest.mark.parametrize("text", HOSTILE)
def test_it_is_read_as_the_words_it_was(text):
    shown = rendered(
        f"before {markdown.plain(text)} after\n\n| {markdown.plain(text)} | x |\n| --- | --- |\n| 1 | 2 |\n"
    )
    assert tags(shown) == {"p", "table", "thead", "tr", "th", "tbody", "td"}
    assert html.unescape(re.search(r"<p>before (.*) after</p>", shown)[1]) == " ".join(markdown.visible(text).split())


@pytest.mark.parametrize("text", HOSTILE)
def test_a_command_stays_in_its_block(text):
    shown = rendered(f"{markdown.code([text])}\n\n{markdown.span(text)}\n")
    assert tags(shown) == {"pre", "code", "p"}


@pytest.mark.parametrize("text", HOSTILE)
async def test_a_hostile_owner_label_slice_and_word_stay_words_in_every_file(settings, text):
    whole = await facts_of(settings)
    task = msgspec.structs.replace(
        whole.task, owner=text, instruction=text, outputs=(Output(name="category", labels=("a", f"b {text}")),)
    )
    odd = [Score(metric="accuracy", slice=f"shift={text}{i}", value=0.5, low=0.4, high=0.6, n=40) for i in range(2)]
    mine = msgspec.structs.replace(whole.candidate, scores=(*whole.candidate.scores[:1], *odd))
    configured = msgspec.structs.replace(
        whole.configured,
        governing=msgspec.structs.replace(whole.configured.governing, declared={"limitations": text, "licence": text}),
    )
    changes = tuple(msgspec.structs.replace(one, who=text, why=text) for one in whole.changes)
    report = msgspec.structs.replace(whole.report, candidates=(mine,))
    made = pack(msgspec.structs.replace(whole, task=task, report=report, configured=configured, changes=changes))
    assert made.fields["limitations"].state == "declared"
    page = made.files["index.html"].decode()
    assert tags(page) <= ALLOWED
    links = re.findall(r'(?:href|src)="([^"]*)"', page)
    assert all(link.startswith("#") or link in made.files for link in links)
    card = made.files["model-card.md"].decode()
    head = yaml.safe_load(card[4 : card.index("\n---\n", 4)])
    assert head["license_name"] == text.strip()
    assert head["model_name"] == "defects@1.1.0"
    checked(made.files["bom.cdx.json"])
    assert json.loads(made.files["facts.json"])["fields"]["owner"]["words"] == text.strip()
    for name, data in made.files.items():
        assert not re.search(rb"[\x00-\x08\x0b-\x1f\x7f]|\xe2\x80\xae", data) or name.endswith(".json"), name
        if name.endswith(".md"):
            assert not re.search(r"<(?!br)[a-z/]", data.decode(), re.IGNORECASE), name


def test_what_is_measured_names_a_source():
    with pytest.raises(ValueError, match="no source"):
        field("evaluation", "Results", Answer(words="very good", sources=()))
    assert field("evaluation", "Results", Answer(words="w", sources=(Source(kind="report"),))).state == "measured"
