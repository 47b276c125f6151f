"""What is known of the people: who owns it, who decides, whose data it touches, and what protects them."""

from insource.govern.declared import declared
from insource.govern.evidence import Found, Gap, Said, Source, counted, table
from insource.govern.facts import Facts
from insource.nouns.finding import KINDS


def of_file(facts: Facts) -> Source:
    """The task's file, by its SHA-256."""
    return Source(kind="task file", name=facts.configured.file)


def of_workspace(facts: Facts) -> Source:
    """insource.toml, by its SHA-256."""
    return Source(kind="insource.toml", name=facts.configured.workspace)


def owner(facts: Facts) -> Said | Gap:
    """Who answers for it: a name in the task's file."""
    if not facts.task.owner.strip():
        return Gap(why="no owner is named", fill=f'write owner = "NAME" in tasks/{facts.task.name}.toml')
    file = facts.configured.governing
    on = file.on.isoformat() if file.on else "no day is given"
    return Said(words=facts.task.owner.strip(), by=file.by or "whoever wrote the file", on=on, source=of_file(facts))


def incident_contact(facts: Facts) -> Said | Gap:
    """Whom to call: who was named for it, else the owner."""
    named = declared(facts, "incident_contact")
    if isinstance(named, Said):
        return named
    found = owner(facts)
    return found if isinstance(found, Said) else named


def oversight(facts: Facts) -> Found:
    """When a person looks at an answer."""
    risk, review = facts.configured.risk, facts.configured.review
    demanded = "every valid answer is given by itself"
    if risk.max_error is not None:
        demanded = f"of the answers given by themselves at most {risk.max_error:.1%} may be wrong"
    elif risk.threshold is not None:
        demanded = f"an answer is given by itself at a confidence of {risk.threshold:g} or more"
    help_ = (risk.otherwise,) if isinstance(risk.otherwise, str) else risk.otherwise
    rows = [
        ("what may leave by itself", demanded),
        ("who is asked about the rest", ", then ".join(help_) or "nobody"),
        ("drawn by chance for a person to look at", f"{risk.audit:.1%} of the answers given"),
        ("taken for strange", f"{risk.out_of_scope:.1%} of inputs like the rows held out, at most"),
        ("seen by two people", f"{review.double:.1%} of what waits"),
        ("settled within", review.within or "no limit"),
    ]
    words = "A person can correct or undo every answer that waits, and flag one that was given: insource review."
    sources = (of_file(facts),)
    return Found(words=words, table=table(("what", "how"), rows), sources=sources)


def reviewed(facts: Facts) -> Found | Gap:
    """What people did about its answers."""
    served = facts.served
    if served is None or not served.calls:
        return Gap(why="no call is on record", fill="insource serve")
    rows = [(name, f"{n:,}") for name, n in sorted(served.outcomes.items())]
    words = f"{served.calls:,} calls from {served.since} to {served.until}; people settled {served.reviews:,} in all."
    return Found(words=words, table=table(("outcome", "calls"), rows), sources=(Source(kind="records"),))


def sensitivity(facts: Facts) -> Found:
    """Where a text may go, and which engines are where."""
    task = facts.task
    where = task.sensitivity if isinstance(task.sensitivity, str) else ", ".join(task.sensitivity)
    rows = [("the release", "this machine", "yes", "it runs in this process")]
    rows += [
        (name, one.region or "not said", "yes" if one.allowed else "no", one.reason)
        for name, one in sorted(facts.configured.engines.items())
    ]
    words = f"A text of this task may go to: {where}. Whatever fails, it goes nowhere else."
    columns = ("engine", "place", "may see a text", "why")
    return Found(words=words, table=table(columns, rows), sources=(of_file(facts), of_workspace(facts)))


def egress(facts: Facts) -> Found | Gap:
    """What left the machine."""
    if facts.egress is None:
        why = "there is no journal of connections: none was ever tried, or the journal is gone"
        return Gap(why=why)
    source = Source(kind="egress journal", command="insource audit egress")
    rows = [
        (one.place, one.purpose, one.region or "not said", f"{one.connections:,}", f"{one.refused:,}", f"{one.sent:,}",
         one.first, one.last)
        for one in facts.egress
    ]  # fmt: skip
    columns = ("where", "what for", "region", "connections", "refused", "bytes sent", "first", "last")
    words = f"{counted(len(rows), 'destination')} tried by processes of this workspace. "
    words += "Models are fetched into the user's cache, which has its own journal: insource audit egress shows both."
    return Found(words=words, table=table(columns, rows) if rows else None, sources=(source,))


def retention(facts: Facts) -> Found:
    """How long what is kept."""
    audit = facts.configured.audit
    days = f"{audit.keep_days:,} days" if audit.keep_days else "without end"
    rows = [
        ("records of calls, without texts", f"{days}, {audit.keep_calls:,} calls at most"),
        ("texts that people are shown, and their verdicts", "as long as their record; what waits stays"),
        ("datasets with their texts, reports, releases", "without end: an old release stays provable"),
    ]
    words = "A record holds a keyed hash of the input and never its text."
    return Found(words=words, table=table(("what", "how long"), rows), sources=(of_workspace(facts),))


def scanning(facts: Facts) -> Found:
    """What is looked for in texts, and what is done about it."""
    scan = facts.task.scan
    rows = [
        (kind, scan.input.actions.get(kind, "not looked for"), scan.output.actions.get(kind, "not looked for"))
        for kind in KINDS
        if kind in scan.input.actions or kind in scan.output.actions
    ]
    words = (
        "What is looked for in the texts of calls, and what is done about it."
        if rows
        else ("Nothing is looked for in the texts of calls: [scan] is empty.")
    )
    columns = ("kind", "in the input", "in the answer")
    return Found(words=words, table=table(columns, rows) if rows else None, sources=(of_file(facts),))


def access(facts: Facts) -> Found | Gap:
    """Who may call, review and change."""
    if facts.keys is None:
        return Gap(why="the keys were not read")
    source = Source(kind="keys", command="insource keys list")
    if not facts.keys:
        words = "No key is asked for: every program and person that reaches the gateway may do everything."
        return Found(words=words, sources=(source,))
    rows = [(role, f"{n:,}") for role, n in sorted(facts.keys.items())]
    words = "Keys that were not revoked, by role; a key's text is kept nowhere."
    return Found(words=words, table=table(("role", "keys"), rows), sources=(source,))
