"""What is known of the model: what it is, how it was made, how it was measured. Each answer names where it is from."""

from insource.govern.evidence import Found, Gap, Source, table
from insource.govern.facts import Facts
from insource.nouns import Candidate, Check, Score

SHARES = ("accuracy", "macro_f1", "path_accuracy", "exact", "f1", "precision", "recall", "token_f1", "level_accuracy",
          "share_at_85", "accuracy_at_85", "coverage_at_5pct_error")  # fmt: skip
ROBUST = ("adversarial", "hostile form", "failed before", "safety", "out of scope")


def no_release(facts: Facts) -> Gap:
    """Nothing was released."""
    return Gap(why="there is no release", fill=f"insource train {facts.task.name}")


def no_artefact(facts: Facts) -> Gap:
    """The release's files are not to be read."""
    if facts.release is None:
        return no_release(facts)
    return Gap(why="the release's manifest is not to be read", fill=f"insource release verify {facts.about}")


def no_report(facts: Facts) -> Gap:
    """Nobody measured the release."""
    if facts.release is None:
        return no_release(facts)
    return Gap(why="no report has this release", fill=f"insource release gate {facts.about}")


def no_gate(facts: Facts) -> Gap:
    """It was not through the gate."""
    if facts.release is None:
        return no_release(facts)
    return Gap(why="no gate looked at this artefact", fill=f"insource release gate {facts.about}")


def of_release(facts: Facts) -> Source:
    """The registry's entry."""
    return Source(kind="release", name=facts.about, command=f"insource release show {facts.about}")


def of_artefact(facts: Facts) -> Source:
    """The manifest, by its SHA-256."""
    sha = facts.release.artefact if facts.release else ""
    return Source(kind="artefact", name=sha, command=f"insource release verify {facts.about}")


def of_report(facts: Facts) -> Source:
    """The report, by its SHA-256."""
    return Source(kind="report", name=facts.report.id if facts.report else "")


def of_gate(facts: Facts) -> Source:
    """The gate's answer."""
    made = facts.gate.created if facts.gate else ""
    return Source(kind="gate", name=f"{facts.about}, {made}", command=f"insource release show {facts.about}")


def model(facts: Facts) -> Found | Gap:
    """What it is."""
    release = facts.release
    if release is None:
        return no_release(facts)
    rows = [
        ("release", release.name),
        ("stage", f"{release.stage} {release.share}%" if release.share else release.stage),
        ("made", release.created or "no time on record"),
        ("engine", release.engine),
        ("base", release.base),
        ("artefact, SHA-256 of its manifest", release.artefact),
        ("dataset, SHA-256", release.dataset),
        ("recipe, SHA-256", release.recipe),
    ]
    words = f"{release.name}: a {release.engine} model that {_does(facts)}."
    return Found(words=words, table=table(("what", "which"), rows), sources=(of_release(facts),))


def _does(facts: Facts) -> str:
    """What the task asks of it."""
    task = facts.task
    if task.kind == "classify":
        sizes = ", ".join(f"{output.name} ({len(output.labels):,} labels)" for output in task.outputs)
        return f"files a text under a closed set of labels: {sizes}"
    if task.kind == "extract":
        return f"reads {len(task.fields):,} fields out of a text: {', '.join(task.fields)}"
    return "writes a text in answer to a text"


def inputs_outputs(facts: Facts) -> Found | Gap:
    """What goes in and what may come out."""
    task = facts.task
    rows = [("input", "a text", task.instruction or "no instruction")]
    rows += [(one.name, "taxonomy" if one.taxonomy else "label", _some(one.labels)) for one in task.outputs]
    if task.kind == "extract":
        rows += [(name, "field of the schema", "") for name in task.fields]
    if task.kind == "generate":
        rows.append(("text", "a text", ""))
    source = Source(kind="task file", name=facts.configured.file)
    held = "Whatever answers is held to these; an answer outside them counts as invalid."
    return Found(words=held, table=table(("name", "what", "which"), rows), sources=(source,))


def _some(labels: tuple[str, ...], most: int = 40) -> str:
    more = f" and {len(labels) - most:,} more" if len(labels) > most else ""
    return ", ".join(labels[:most]) + more


def base_model(facts: Facts) -> Found | Gap:
    """What it was made from, and under which licence that is."""
    if facts.manifest is None or facts.release is None:
        return no_artefact(facts)
    manifest, base = facts.manifest, facts.base
    if not manifest.base_digest:
        return Found(words="No base model: it was fitted on the task's rows alone.", sources=(of_artefact(facts),))
    rows = [("name", manifest.base), ("SHA-256 of its weights", manifest.base_digest)]
    if base is None:
        words = (
            f"Made from {manifest.base}, of which the catalogue of models says nothing: its licence is not known here."
        )
    else:
        rows += [("licence", base.license), ("published at", base.hub), ("parameters", f"{base.parameters:,}")]
        words = f"Made from {base.name}, under {base.license}."
    return Found(words=words, table=table(("what", "which"), rows), sources=(of_artefact(facts),))


def training(facts: Facts) -> Found | Gap:
    """How it was made."""
    if facts.manifest is None or facts.release is None:
        return no_artefact(facts)
    manifest = facts.manifest
    rows = [(name, str(value)) for name, value in sorted(manifest.recipe.items())]
    rows += [(f"dev rows: {name}", f"{value:,.4g}") for name, value in sorted(manifest.dev.items())]
    if facts.trained_s is not None:
        rows += [
            ("time of training", f"{facts.trained_s[0]:,.0f} s"),
            ("of preparation", f"{facts.trained_s[1]:,.0f} s"),
        ]
    words = f"Trained by {manifest.code or 'a version that is not on record'} on the rows train of the dataset, "
    words += "tuned on the rows dev."
    return Found(words=words, table=table(("what", "which"), rows) if rows else None, sources=(of_artefact(facts),))


def files(facts: Facts) -> Found | Gap:
    """What it is on the disk."""
    if facts.manifest is None or facts.release is None:
        return no_artefact(facts)
    rows = sorted(facts.manifest.files.items())
    words = f"{len(rows):,} files, none of them code; each is compared with its SHA-256 before it is loaded."
    return Found(words=words, table=table(("file", "SHA-256"), rows), sources=(of_artefact(facts),))


def promise(facts: Facts) -> Found | Gap:
    """When it may answer by itself, as the task's file is now."""
    if facts.manifest is None or facts.release is None or facts.terms is None:
        return no_artefact(facts)
    more = facts.tightened
    asked = [] if facts.demanded is None else [f"a confidence of {facts.demanded:.3f} or more is demanded"]
    words = "; ".join(word for word in (*asked, facts.manifest.promise, *facts.terms) if word)
    words = f"{words[:1].upper()}{words[1:]}." if words else "Every valid answer is given by itself."
    sources = [of_artefact(facts), Source(kind="task file", name=facts.configured.file)]
    if more is not None:
        words += f" Since {more.created} {more.threshold:.3f} is demanded: {more.why}."
        sources.append(Source(kind="tightening", name=f"{more.release}, {more.created}"))
    return Found(words=words, sources=tuple(sources))


def evaluation(facts: Facts) -> Found | Gap:
    """How well it does on rows that it never saw."""
    report, candidate = facts.report, facts.candidate
    if report is None or candidate is None:
        return no_report(facts)
    whole = [score for score in candidate.scores if score.slice is None]
    parts = [score for score in candidate.scores if score.slice is not None and "=" not in score.slice]
    rows = [(score.metric, score.slice or "all rows", *shown(score)) for score in (*whole, *parts)]
    n = max([score.n for score in whole], default=0)
    words = f"Measured on {n:,} rows of the split {report.split}, by the path that serves, on {report.created}."
    columns = ("metric", "of", "value", "95% interval", "n")
    return Found(words=words, table=table(columns, rows), sources=(of_report(facts),))


def shown(score: Score) -> tuple[str, str, str]:
    """Value, interval and n of a score, as texts."""
    if score.metric in SHARES:
        return f"{score.value:.1%}", f"{score.low:.1%} to {score.high:.1%}", f"{score.n:,}"
    return f"{score.value:.3f}", f"{score.low:.3f} to {score.high:.3f}", f"{score.n:,}"


def comparison(facts: Facts) -> Found | Gap:
    """What else was measured on the same rows."""
    report, candidate = facts.report, facts.candidate
    if report is None or candidate is None:
        return no_report(facts)
    mine = [pair for pair in report.pairs if facts.about in (pair.a, pair.b)]
    if not mine:
        fill = f"insource measure {facts.task.name} --candidate baseline --candidate {facts.about}"
        return Gap(why="nothing else was measured on the same rows", fill=fill)
    rows = [
        (
            pair.metric,
            f"{pair.a} against {pair.b}",
            f"{pair.difference * 100:+.1f} points",
            f"{pair.low * 100:+.1f} to {pair.high * 100:+.1f}",
            f"{pair.n:,}",
        )
        for pair in mine
    ]
    columns = ("metric", "who", "difference", "95% interval", "n")
    return Found(words="Each pair answered the same rows.", table=table(columns, rows), sources=(of_report(facts),))


def gate(facts: Facts) -> Found | Gap:
    """What it had to show before it could be released, and did or did not."""
    if facts.gate is None or facts.release is None:
        return no_gate(facts)
    rows = [(one.name, one.demanded, one.found, _verdict(one)) for one in facts.gate.checks]
    said = "yes" if facts.gate.passed else "no"
    words = f"The gate said {said} on {facts.gate.created}: {facts.gate.tally}."
    columns = ("check", "demanded", "found", "verdict")
    return Found(words=words, table=table(columns, rows), sources=(of_gate(facts),))


def acceptance(facts: Facts) -> Found | Gap:
    """What was demanded before anybody saw a result."""
    demands = facts.task.acceptance
    if not demands:
        return Gap(why="nothing is demanded", fill=f"write [acceptance] in tasks/{facts.task.name}.toml")
    if facts.gate is None or facts.release is None:
        return no_gate(facts)
    rows = []
    for name, demand in demands.items():
        check = facts.check(name)
        rows.append(
            (name, f"{demand:g}", check.found if check else "not looked at", _holds(check.passed if check else None))
        )
    sources = (Source(kind="task file", name=facts.configured.file), of_gate(facts))
    return Found(
        words="The acceptance criteria, and what the gate found.",
        table=table(("metric", "demanded", "found", "verdict"), rows),
        sources=sources,
    )


def _verdict(check: Check) -> str:
    return _holds(check.passed) if check.applies else "does not apply"


def _holds(passed: bool | None) -> str:
    return "not known" if passed is None else "holds" if passed else "does not hold"


def robustness(facts: Facts) -> Found | Gap:
    """How it does on inputs made harder, and on those that try to steer it."""
    if facts.gate is None or facts.release is None:
        return no_gate(facts)
    mine = [check for name in ROBUST if (check := facts.check(name)) is not None]
    if not mine:
        return Gap(why="the gate made no such test", fill=f"insource release gate {facts.about}")
    rows = [(one.name, one.demanded, one.found, _verdict(one)) for one in mine]
    words = "Rows that once failed, rows made harder, and texts that try to steer, as the gate put them."
    return Found(words=words, table=table(("test", "demanded", "found", "verdict"), rows), sources=(of_gate(facts),))


def known_errors(facts: Facts) -> Found | Gap:
    """What it takes for what; no text of a row stands here."""
    report, candidate = facts.report, facts.candidate
    if report is None or candidate is None:
        return no_report(facts)
    confused = candidate.details.get("confusions") or []
    failures = candidate.failures
    words = (
        f"{failures.invalid:,} of {failures.n:,} answers broke the task's contract (rate below "
        f"{failures.upper95:.2%} with 95% confidence). "
    )
    words += "The labels that it takes for one another most often:" if confused else "No confusions are on record."
    rows = [(one["output"], one["target"], str(one["answer"]), f"{one['n']:,} of {one['of']:,}") for one in confused]
    columns = ("output", "is", "was taken for", "rows")
    return Found(words=words, table=table(columns, rows) if rows else None, sources=(of_report(facts),))


def calibration(facts: Facts) -> Found | Gap:
    """Whether its confidence means what it says."""
    candidate = facts.candidate
    if candidate is None or facts.report is None:
        return no_report(facts)
    found = [score for name in ("ece", "brier", "share_at_85", "accuracy_at_85") if (score := candidate.score(name))]
    if not found:
        return Gap(why="the report has no figure of its confidence", fill=f"insource release gate {facts.about}")
    rows = [(score.metric, *shown(score)) for score in found]
    columns = ("metric", "value", "95% interval", "n")
    return Found(words="Of the confidence it gives.", table=table(columns, rows), sources=(of_report(facts),))


def environment(facts: Facts) -> Found | Gap:
    """What it was measured on. What training used is not on record, and is not guessed."""
    report, candidate = facts.report, facts.candidate
    if report is None or candidate is None:
        return no_report(facts)
    rows = [
        ("machine", report.machine or "not on record"),
        ("software", report.code or "not on record"),
        *_speeds(candidate),
    ]
    words = "The machine that measured it; figures of energy and emissions are not measured."
    return Found(words=words, table=table(("what", "which"), rows), sources=(of_report(facts),))


def _speeds(candidate: Candidate) -> list[tuple[str, str]]:
    wait = candidate.latency_ms
    cost = "not known" if candidate.usd_per_1k is None else f"{candidate.usd_per_1k:.4f} USD"
    return [
        ("latency, p50, p95, p99", f"{wait.p50:,.1f}, {wait.p95:,.1f}, {wait.p99:,.1f} ms"),
        ("rows a second", f"{candidate.rows_per_s:,.1f}"),
        ("API cost of 1,000 answers", cost),
    ]


def software(facts: Facts) -> Found | Gap:
    """The libraries of this installation."""
    if not facts.libraries:
        return Gap(why="no library of this installation is known")
    rows = sorted(facts.libraries.items())
    source = Source(kind="installation", name=facts.code)
    words = f"{facts.code}, with the libraries that are installed beside it now."
    return Found(words=words, table=table(("library", "version"), rows), sources=(source,))


def changelog(facts: Facts) -> Found | Gap:
    """What is different from the release before."""
    if facts.release is None:
        return no_release(facts)
    if not facts.release.changelog:
        return Gap(why="the release has no changelog")
    return Found(words=facts.release.changelog, sources=(of_release(facts),))
