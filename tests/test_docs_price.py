"""The pages on prices: every figure of the article's cases is what the code computes."""

import re
from pathlib import Path

import pytest

from insource.engines.catalogue import listed
from insource.nouns import Attention, Shape
from insource.nouns.pricing import ApiPrice, Effort, Tokens, Use
from insource.price.breakeven import crossings
from insource.price.cards import cards
from insource.price.compare import number, usd
from insource.price.cost import Fleet, Option, cost, curve
from insource.price.sizing import FORMATS, Load, fits, memory
from insource.price.tables import apis, machines

DOCS = Path(__file__).resolve().parents[1] / "docs"
ARITHMETIC = (DOCS / "why" / "the-arithmetic.md").read_text("utf-8")
GPT_4O = apis()["gpt-4o"]
BIG = 1_000  # a machine that is never too small: what its hours cost is the least that owning can cost


def tokens_a_day(read: float, written: float, days: float = 30) -> Use:
    """So many tokens a day, in a thousand calls."""
    return Use(calls_per_day=1000, tokens=Tokens(input=read / 1000, output=written / 1000), days=days)


def month(read: float, written: float, api: ApiPrice = GPT_4O, days: float = 30) -> float:
    return cost(Option(name="api", api=api), tokens_a_day(read, written, days)).month_usd


def break_even(api: str, machine: str, effort: Effort | None = None) -> float:
    """Tokens a day, five read for one written, from which a machine day and night is cheaper than the API."""
    use = tokens_a_day(500_000, 100_000)
    fleet = Fleet(machine=machines()[machine], paid="on_demand", calls_per_s=BIG)
    own = Option(name="own", fleet=fleet, effort=effort or Effort())
    (turn,) = crossings(curve(own, use), curve(Option(name="api", api=apis()[api]), use), most=1e9)
    return turn.calls_per_day * use.tokens.all


def dense_22b() -> Shape:
    attention = (Attention(layers=56, kv_heads=8, head_dim=128),)
    sizes = {"layers": 56, "hidden": 6144, "heads": 48, "inner": 16384, "vocabulary": 32768, "context": 32768}
    return Shape(kind="mistral", parameters=22_000_000_000, attention=attention, **sizes)


def reports() -> float:
    """Dollars a year of 400 calls a day at 2.5 cents."""
    api = ApiPrice(input=25, output=0)
    return 12 * cost(Option(name="api", api=api), Use(calls_per_day=400, tokens=Tokens(input=1000))).month_usd


def cases() -> dict[str, tuple[str, ...]]:
    """What each row of the page's tables has to say, by its first cell."""
    need = memory(dense_22b(), FORMATS["bf16"], Load(context=4096, concurrent=4))
    luna = apis()["gpt-6-luna"]
    quarter = Effort(fte=0.25, salary_usd=150_000)
    shapes = {name: entry.shape for name, entry in listed().items()}
    billions = {name: (shape.parameters + shape.vision) / 1e9 for name, shape in shapes.items()}
    gemma = ", ".join(sorted((n.removeprefix("gemma3-").upper() for n in shapes if n.startswith("gemma3-")),
                             key=lambda size: float(size[:-1]) / (1000 if size.endswith("M") else 1)))  # fmt: skip
    minutes = 250 * 10
    return {
        "500,000 tokens read and 100,000 written a day, GPT-4o": (
            f"{usd(month(5e5, 1e5))} a month", f"{2250 / month(5e5, 1e5):.0f} times too much",
        ),
        "the same, gpt-6-luna": (f"{usd(month(5e5, 1e5, luna))} a month", ""),
        "400 reports a day at $0.025": (f"{usd(reports())} a year", f"{usd(reports() / 12)} a month"),
        "250 failures a day, 10 minutes each": (f"{minutes / 60:.1f} hours a day", f"{minutes / 60 / 8:.1f} people"),
        "100,000 tokens a day, GPT-4o": (
            f"{usd(month(1e5, 0) / 30)} if all are read, {usd(month(0, 1e5) / 30)} if all are written", "",
        ),
        "22 billion parameters in 16 bits": (
            f"{need.weights / 1e9:.0f} GB of weights, {need.total / 1e9:.1f} GB in use with four texts of 4,096 tokens",
            f"{fits(need, cards()['h100'])} card of {cards()['h100'].gb:g} GB",
        ),
        "GPT-4o, aws-c7i.xlarge": (number(break_even("gpt-4o", "aws-c7i.xlarge")), times("gpt-4o", "aws-c7i.xlarge")),
        "GPT-4o, aws-g6.xlarge": (number(break_even("gpt-4o", "aws-g6.xlarge")), times("gpt-4o", "aws-g6.xlarge")),
        "gpt-6-luna, aws-c7i.xlarge": (
            number(break_even("gpt-6-luna", "aws-c7i.xlarge")), times("gpt-6-luna", "aws-c7i.xlarge"),
        ),
        "gpt-6-luna, aws-g6.xlarge": (
            number(break_even("gpt-6-luna", "aws-g6.xlarge")), times("gpt-6-luna", "aws-g6.xlarge"),
        ),
        "GPT-4o, aws-g6.xlarge and a quarter of an engineer": (
            number(break_even("gpt-4o", "aws-g6.xlarge", quarter)), times("gpt-4o", "aws-g6.xlarge", quarter),
        ),
        "gpt-6-luna, aws-g6.xlarge and a quarter of an engineer": (
            number(break_even("gpt-6-luna", "aws-g6.xlarge", quarter)), times("gpt-6-luna", "aws-g6.xlarge", quarter),
        ),
        "g5.12xlarge": (f"{machines()['aws-g5.12xlarge'].cards} of {cards()['a10g'].name.split(' (')[0]}",),
        "Llama 4 Scout": (f"{billions['llama4-scout']:.1f} billion parameters",),
        "Mistral Small 3.1": (f"{billions['mistral-small-3.1']:.0f} billion parameters",),
        "Gemma 3": (gemma,),
    }  # fmt: skip


def times(api: str, machine: str, effort: Effort | None = None) -> str:
    """How far it is from the 100,000 tokens a day that the article has."""
    return f"{number(break_even(api, machine, effort) / 100_000)} times"


@pytest.mark.parametrize("case", cases(), ids=str)
def test_the_page_says_what_the_code_computes(case: str) -> None:
    row = re.search(rf"^\| {re.escape(case)} \|(.*)\|$", ARITHMETIC, re.MULTILINE)
    assert row, f"| {case} | … | {' | '.join(cases()[case])} |"
    cells = [cell.strip() for cell in row[1].split("|")]
    assert cells[1:] == list(cases()[case])


def test_every_row_of_the_page_is_computed() -> None:
    rows = re.findall(r"^\| ([^|]+?) \|", ARITHMETIC, re.MULTILINE)
    assert {row for row in rows if row not in ("what", "against", "the article's")} == set(cases())


def test_the_article_s_figures_are_wrong_by_what_the_page_says() -> None:
    assert month(5e5, 1e5) == pytest.approx(67.5)
    assert 2250 / (month(5e5, 1e5) / 30) == pytest.approx(1000), "a thousand days, not thirty"
    assert reports() == pytest.approx(3650)
    assert month(0, 1e5) / 30 == pytest.approx(1.0)
    assert break_even("gpt-4o", "aws-c7i.xlarge") > 10 * 100_000, "the cheapest machine that is known"
