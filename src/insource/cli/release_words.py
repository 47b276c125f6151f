"""What `insource release` says to people. Values in, text out."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from insource.cli.words import NO, YES, bold, dim, mark, short, table
from insource.engines.artefact import Manifest
from insource.journeys.best import Best
from insource.journeys.convert import Converted
from insource.journeys.copies import Copy
from insource.journeys.edge import Bundled
from insource.journeys.forms import Compared, form_of
from insource.journeys.promote import Verified
from insource.journeys.trial import Standing
from insource.nouns import Check, Gate, Pair, Release, Report, StageChange
from insource.release.stages import Stop
from insource.stats import wilson


class Card(NamedTuple):
    """What there is to say of a release."""

    release: Release
    manifest: Manifest | None
    gate: Gate | None
    changes: Sequence[StageChange]
    terms: tuple[str, ...] = ()
    promise: str = ""


def gate_words(gate: Gate) -> str:
    """The checks as a table, each remark under its check, and the verdict."""
    says = "yes" if gate.passed else "NO"
    title = f"{bold(gate.release)}: the gate says {mark(gate.passed, says)}, {gate.tally}"
    evidence = dim(f"  artefact {short(gate.artefact)}, report {short(gate.report)}")
    return "\n".join([title, evidence, "", _checks(gate.checks)])


def list_words(releases: Sequence[Release], gates: Mapping[str, Gate], who: Mapping[str, str], earlier: int = 0) -> str:
    """One line a release, the newest last; `who` let one on its way that nobody made live yet.

    `earlier` are there and not shown.
    """
    if not releases:
        return "no releases yet. insource train TASK makes one"
    head = ("release", "stage", "form", "base", "gate", "made", "approved by")
    rows = [
        (
            r.name,
            Stop(stage=r.stage, share=r.share).words,
            form_of(r),
            r.base,
            _gated(gates.get(r.name)),
            r.created[:16].replace("T", " "),
            r.approved_by or who.get(r.name, ""),
        )
        for r in releases
    ]
    return table(head, rows) + (f"\n{earlier:,} earlier: --limit says how many of each task" if earlier else "")


def show_words(card: Card) -> str:
    """A release's card: what it is, where it came from, what it promises, how it got where it is."""
    release, manifest, gate, changes, terms, promise = card
    facts = [
        ("stage", Stop(stage=release.stage, share=release.share).words),
        ("form", f"{form_of(release)}, base {release.base}"),
        ("made", release.created),
        ("dataset", short(release.dataset)),
        ("recipe", short(release.recipe)),
        ("artefact", f"{short(release.artefact)} in {release.folder}"),
        ("gate", _gated(gate)),
    ]
    if manifest is not None:
        facts += [("promise", promise or "none"), *[("", words) for words in terms]]
        facts.append(("dev rows", _dev(manifest.dev) or "not evaluated"))
    lines = [bold(release.name), *[f"  {dim(name.ljust(9))} {value}" for name, value in facts]]
    lines += ["", "  changelog", *[f"    {line}" for line in release.changelog.splitlines() or ["nothing written"]]]
    if changes:
        lines += ["", "  stages", *[f"    {change_words(change)}" for change in changes]]
    return "\n".join(lines)


def _dev(found: Mapping[str, float]) -> str:
    """What the trainer found on the dev rows, the accuracy with its interval and n."""
    n, told = round(found.get("n", 0)), {name: f"{value:.3g}" for name, value in found.items() if name != "n"}
    if n and "accuracy" in told:
        low, high = wilson(found["accuracy"] * n, n)
        told["accuracy"] = f"{found['accuracy']:.1%} ({low:.1%} to {high:.1%}, n {n:,})"
    return ", ".join(f"{name} {said}" for name, said in told.items())


def change_words(change: StageChange) -> str:
    """One change of stage in a line."""
    why = f": {change.why}" if change.why else ""
    when = change.created[:16].replace("T", " ")
    after = Stop(stage=change.after, share=change.share).words
    return f"{when}  {change.release} {change.before} → {after} by {change.who}{why}"


def standing_words(found: Standing) -> str:
    """Where a release is on its way, what its trial came to, and what it waits for."""
    ruling = found.ruling
    days = f"{found.days:.1f} of {found.wanted_days:g} days" if found.wanted_days else f"{found.days:.1f} days"
    lines = ["", "", f"  on its way: {bold(found.stop.words)} for {days}"]
    if ruling.checks:
        lines += ["", _checks(ruling.checks)]
    if (means := found.means) is not None:
        took = f"{means.ours_ms:.1f} ms and {1000 * means.ours_usd:.3f} USD a thousand calls"
        live = f"{means.theirs_ms:.1f} ms and {1000 * means.theirs_usd:.3f} USD of what is live"
        lines += ["", f"  on average {took}, against {live} (the newest {means.calls:,})"]
    following = found.following.words if found.following else "nowhere"
    verdict = {"on": f"it may go on to {following}", "hold": f"before {following}", "back": "it goes back"}
    lines += ["", f"  {verdict[ruling.verdict]}: {ruling.why}"]
    return "\n".join(lines)


def at_words(found: Mapping[str, Stop], moment: str) -> str:
    """Who had to do with the traffic then."""
    if not found:
        return f"no release answered anything at {moment}"
    return table(("release", "stage"), [(name, stop.words) for name, stop in found.items()])


def verify_words(found: Verified) -> str:
    """Whole, or each file that is not."""
    is_it = "has NO signature that holds" if found.unvouched else "is NOT what was released"
    head = f"{mark(found.whole)} {bold(found.release)} {'is what was released' if found.whole else is_it}"
    faults = [f"  {mark(False, fault)}" for fault in found.faults]
    return "\n".join(
        [head, *faults, dim(f"  {found.folder}"), dim(f"  base model: {found.base}"), dim(f"  signed: {found.signed}")]
    )


def converted_words(made: Converted) -> str:
    """Both forms on the same rows, and what changed between them."""
    names = {made.source.name: made.source, made.release.name: made.release}
    kept = {
        name: (form_of(names[name]), _megabytes(made.sizes[name] / 1e6), _megabytes(made.memory_mb[name]))
        for name in names
    }
    return _side_by_side(made.report, kept)


def copied_words(made: Copy) -> str:
    """Where the copy is, and what it does to the test rows; else why that is not known."""
    lines = [f"  {name}  {size:,} bytes" for name, size in made.files.items()]
    total = _megabytes(sum(made.files.values()) / 1e6)
    head = [f"{made.release} is in {made.folder}, {total} as {made.form}", *lines]
    if made.report is None:
        return "\n".join([*head, f"not measured: {made.unmeasured}"])
    memory = {name: "-" if held is None else _megabytes(held) for name, held in made.memory_mb.items()}
    kept = {made.release: ("insource", "", memory[made.release]), made.form: (made.reader, total, memory[made.form])}
    return "\n".join([*head, "", _side_by_side(made.report, kept)])


def _side_by_side(report: Report, kept: dict[str, tuple[str, str, str]]) -> str:
    """The candidates of the report with what reads them, their size and memory; and the pairs."""
    metric = report.candidates[0].scores[0].metric if report.candidates else ""
    rows = []
    for candidate in report.candidates:
        score = candidate.score(metric)
        said = f"{score.value:.1%} ({score.low:.1%} to {score.high:.1%}, n {score.n:,})" if score else "-"
        times = f"{candidate.latency_ms.p50:.0f}", f"{candidate.rows_per_s:,.1f}"
        rows.append((candidate.candidate, *kept[candidate.candidate], said, *times))
    lines = [table(("release", "engine", "on disk", "memory", metric, "p50 ms", "rows/s"), rows)]
    lines += [_pair(pair) for pair in report.pairs]
    return "\n".join([*lines, *[f"{NO} {name}: {why}" for name, why in report.failed.items()]])


def _megabytes(size: float) -> str:
    return f"{size:,.0f} MB" if size >= 10 else f"{size:.1f} MB"


def compared_words(found: Compared) -> str:
    """The forms of a release as they were timed, and which to serve."""
    rows = [
        (form.release, form.form, f"{form.p50_ms:,.0f}", f"{form.rows_per_s:,.1f}", f"{form.memory_mb:,.0f}",
         f"{form.disk_mb:,.0f}", f"{form.same / form.rows:.1%} (≥ {form.same_low:.1%})")
        for form in found.forms
    ]  # fmt: skip
    head = ("release", "form", "ms alone", "rows/s", "MB memory", "MB disk", "same labels")
    said = f"{bold(found.best)}: {found.why}\nn {found.forms[0].rows:,} test rows; rows/s with 64 calls waiting"
    return f"{table(head, rows)}\n\n{said}"


def best_words(found: Best) -> str:
    """What became of each form, how they compare, and what to do next."""
    tried = [f"  {mark(not one.why_not)} {one.form}: {one.why_not or one.release}" for one in found.tried]
    pairs = [_pair(pair) for pair in found.report.pairs if found.source in (pair.a, pair.b)]
    chosen = found.compared.best
    hint = f"\n\nnext: insource release gate {chosen}" if chosen != found.source else ""
    return "\n".join([bold(f"forms of {found.source}"), *tried, "", *pairs, "", compared_words(found.compared) + hint])


def _pair(pair: Pair) -> str:
    return (f"{pair.a} against {pair.b}, {pair.metric}: {pair.difference * 100:+.1f} points "
            f"({pair.low * 100:+.1f} to {pair.high * 100:+.1f}), n {pair.n:,}")  # fmt: skip


def bundle_words(made: Bundled) -> str:
    """Where the file is, how it is known, and what to do with it."""
    left = f"\nleft behind: {', '.join(made.left)}" if made.left else ""
    return f"""{made.release} is in {made.file}, {made.bytes / 1e6:,.1f} MB
SHA-256 {made.sha256}{left}

there: pip install '{made.needs}', then
insource init DIR --bundle {made.file} --sha256 {made.sha256}"""


def _gated(gate: Gate | None) -> str:
    if gate is None:
        return "not asked"
    return f"{YES} yes" if gate.passed else f"{NO} no"


def _checks(checks: Sequence[Check]) -> str:
    names, demands = (max(len(text) for text in column) for column in zip(*_columns(checks), strict=True))
    lines = [dim(f"    {'check'.ljust(names)}  {'demanded'.ljust(demands)}  found")]
    for check in checks:
        sign = mark(check.passed) if check.applies else dim("·")
        lines.append(f"  {sign} {check.name.ljust(names)}  {check.demanded.ljust(demands)}  {check.found}")
        if check.detail.get("remark"):
            lines.append(dim(f"    {' ' * names}  {check.detail['remark']}"))
    return "\n".join(lines)


def _columns(checks: Sequence[Check]) -> list[tuple[str, str]]:
    return [("check", "demanded"), *[(check.name, check.demanded) for check in checks]]
