"""What is known of the running: what answers, how it came there and how it goes back, what it promised and kept."""

from insource.govern.about_model import no_release, of_release
from insource.govern.about_people import of_file, of_workspace
from insource.govern.evidence import Found, Gap, Source, counted, table
from insource.govern.facts import Facts, Figure

SHARES = ("availability", "format")


def of_changes() -> Source:
    """The stage changes, which the audit chain vouches for."""
    return Source(kind="stage changes", command="insource audit verify")


def no_changes(facts: Facts) -> Gap:
    """Nothing was promoted."""
    return Gap(why="no change of stage is on record", fill=f"insource release promote {facts.about}")


def history(facts: Facts) -> Found | Gap:
    """Every change of stage: who, when, why, on what evidence."""
    if not facts.changes:
        return no_changes(facts)
    rows = [
        (
            one.created or "no time on record",
            one.release,
            f"{one.before} to {one.after}{f' {one.share}%' if one.share else ''}",
            one.who or "not on record",
            one.why or "no reason given",
            one.evidence or "none",
        )
        for one in facts.changes
    ]
    columns = ("when", "release", "from, to", "who", "why", "report")
    words = f"{counted(len(rows), 'change')} of stage; the audit chain vouches for each."
    return Found(words=words, table=table(columns, rows), sources=(of_changes(),))


def approval(facts: Facts) -> Found | Gap:
    """Who let it answer callers, why and on what."""
    mine = [one for one in facts.changes if one.release == facts.about and one.after in ("canary", "live")]
    if not mine:
        return no_changes(facts) if not facts.changes else Gap(why=f"{facts.about} never answered callers")
    one = mine[-1]
    why = one.why or "no reason given"
    words = f"{one.who or 'Nobody on record'} made {one.release} {one.after} on {one.created}: {why}."
    words += f" The evidence was report {one.evidence}." if one.evidence else " No report was the evidence."
    return Found(words=words, sources=(of_changes(),))


def live(facts: Facts) -> Found | Gap:
    """What answers callers now."""
    if not facts.changes:
        return no_changes(facts)
    if not facts.live:
        return Gap(why="no release is live", fill=f"insource release promote {facts.about}")
    since = next(
        (one.created for one in reversed(facts.changes) if one.release == facts.live and one.after == "live"), ""
    )
    return Found(words=f"{facts.live} answers, since {since}.", sources=(of_changes(),))


def rollback(facts: Facts) -> Found | Gap:
    """The way back to the release before."""
    if not facts.changes:
        return no_changes(facts)
    if not facts.live or not facts.before:
        what = f"{facts.live} is the first that was live" if facts.live else "nothing is live"
        return Gap(why=f"there is no release to go back to: {what}")
    task = facts.task.name
    commands = (
        f"insource release rollback {task} --why 'INCIDENT'",
        f"insource release show {facts.before}",
        f"insource answer {task} --input 'A TEXT THAT WENT WRONG'",
    )
    words = f"From {facts.live} back to {facts.before}; running gateways follow by themselves, without a restart."
    return Found(words=words, sources=(of_changes(),), commands=commands)


def stop(facts: Facts) -> Found | Gap:
    """How it is taken away from callers, keeping all that is evidence."""
    if facts.release is None:
        return no_release(facts)
    task, mine = facts.task.name, facts.live or facts.about
    commands = (
        f"insource release promote {mine} --to retired --why 'INCIDENT'",
        "insource keys list",
        "insource keys revoke ID",
        f"insource store backup incident-{task}.tar",
        "insource audit verify",
        "insource audit export incident-audit.jsonl",
    )
    words = (
        f"Takes {mine} out of the traffic with nothing in its place, shuts out callers by their keys, and keeps the "
        "state as it is for those who look into it."
    )
    return Found(words=words, sources=(of_release(facts),), commands=commands)


def alerts(facts: Facts) -> Found:
    """Where it is told that something is wrong."""
    rows = [
        ("log", "a line of the gateway and of insource nightly"),
        ("metrics", "insource_alerts at /metrics"),
        ("command line", f"insource watch {facts.task.name}"),
        ("webhook", facts.configured.webhook_host or "none is set: [alerts] webhook"),
    ]
    words = "Drift, a falling holdout, changed engines, broken promises and late jobs become alerts."
    return Found(words=words, table=table(("place", "how"), rows), sources=(of_workspace(facts),))


def checkpoint(facts: Facts) -> Found | Gap:
    """What was signed of the audit chain."""
    recorded = facts.recorded
    if recorded is None or recorded.checkpoint is None:
        return Gap(why="no signed checkpoint of the audit chain is there", fill="insource audit checkpoint")
    one = recorded.checkpoint
    words = f"Entry {one.seq:,} was signed on {one.at}; " + (recorded.against or "the chain still has that entry") + "."
    rows = [("entry", f"{one.seq:,}"), ("hash", one.hash), ("signed", one.at), ("signature, Ed25519", one.signature)]
    source = Source(kind="checkpoint", name=f"{one.seq}", command="insource audit verify --key PUBLIC_KEY")
    return Found(words=words, table=table(("what", "which"), rows), sources=(source,))


def audit(facts: Facts) -> Found | Gap:
    """Whether the record is whole."""
    recorded = facts.recorded
    if recorded is None or not recorded.verified.entries:
        return Gap(why="the audit chain is empty", fill="insource serve")
    one = recorded.verified
    said = f"{len(one.faults):,} faults: it is not as it was written" if one.faults else "every one as it was written"
    words = f"{one.entries:,} entries and the {one.rows:,} rows they vouch for were looked at: {said}."
    rows = [
        ("last entry", f"{one.head.seq:,}"),
        ("its hash", one.head.hash),
        ("oldest that went by age", f"{one.foot.seq:,}" if one.foot.seq else "none went"),
    ]
    rows += [
        (f"fault at entry {fault.seq:,}", f"{fault.kind} {fault.about}: {fault.what}") for fault in one.faults[:20]
    ]
    source = Source(kind="audit chain", name=one.head.hash, command="insource audit verify")
    return Found(words=words, table=table(("what", "which"), rows), sources=(source,))


def service_levels(facts: Facts) -> Found | Gap:
    """What callers got, and what they were promised."""
    served = facts.served
    if served is None or not served.figures:
        return Gap(why="no call is on record", fill="insource serve")
    rows = [
        (one.name, _figure(one, one.value), _interval(one), f"{one.n:,}", *_promised(one)) for one in served.figures
    ]
    columns = ("level", "measured", "95% interval", "n", "promised", "verdict")
    words = f"Over the {served.calls:,} calls from {served.since} to {served.until}."
    return Found(words=words, table=table(columns, rows), sources=(Source(kind="records"), of_file(facts)))


def _figure(one: Figure, value: float | None) -> str:
    if value is None:
        return "not known"
    return f"{value:.3%}" if one.name in SHARES else f"{value:,.1f} ms"


def _interval(one: Figure) -> str:
    if one.low is None and one.high is None:
        return "too few calls to say"
    return f"{_figure(one, one.low)} to {_figure(one, one.high)}"


def _promised(one: Figure) -> tuple[str, str]:
    if one.target is None:
        return "nothing", ""
    return _figure(one, one.target), "kept" if one.kept else "not kept"


def holdout(facts: Facts) -> Found | Gap:
    """Whether it still does as well, on rows that people settled lately."""
    if not facts.looks:
        fill = "insource nightly, once people settled answers: insource review"
        return Gap(why="the rolling holdout was not asked yet", fill=fill)
    rows = [(one.created, one.release, one.words, one.report) for one in facts.looks]
    words = f"{counted(len(rows), 'look')} at the rolling holdout; the newest: {facts.looks[-1].words}."
    sources = (Source(kind="holdout", name=facts.looks[-1].report),)
    return Found(words=words, table=table(("when", "release", "found", "report"), rows), sources=sources)


def rollout(facts: Facts) -> Found:
    """The way of a new release to all traffic."""
    policy = facts.configured.rollout
    rows = [
        ("staging", f"{policy.staging_days:g} days"),
        ("shadow", f"{policy.shadow_days:g} days"),
        ("canary", ", ".join(f"{share}%" for share in policy.canary) + f", {policy.canary_days:g} days each"),
        ("goes back when worse by", f"{policy.max_worse:.1%}, said with confidence {1 - policy.alpha:.0%}"),
        ("a stage may be left out", "no" if policy.required else "yes, by a person"),
        ("evidence required", ", ".join(facts.configured.governing.required) or "none"),
    ]
    words = "A change of the model is a new release, which goes this way; nothing changes in place."
    return Found(words=words, table=table(("stage", "how"), rows), sources=(of_file(facts),))


def backup(facts: Facts) -> Found | Gap:
    """Whether the state is kept twice."""
    policy = facts.configured.backup
    if not policy.keep:
        return Gap(why="no backup is kept: [backup] keep is 0", fill="write keep = 3 under [backup] in insource.toml")
    if facts.proved is None:
        return Gap(why="no backup is there that was restored once", fill="insource nightly")
    one, often = facts.proved, counted(policy.days, "day")
    words = f"insource nightly makes one every {often}, restores it as a proof, and keeps {policy.keep:,}. "
    words += f"There and proved: {counted(one.count, 'backup')}, the newest {one.name}."
    source = Source(kind="backup", name=one.sha256, command=f"sha256sum -c {one.name}.sha256")
    return Found(words=words, sources=(source, of_workspace(facts)))


def signature(facts: Facts) -> Found | Gap:
    """Who signed the files."""
    if facts.release is None:
        return no_release(facts)
    if facts.signature is None:
        return Gap(why="this workspace trusts no key", fill="name public keys under [signing] trusted in insource.toml")
    if not facts.signature.key:
        return Gap(why=facts.signature.fault, fill=f"insource release sign {facts.about} --key FILE")
    source = Source(kind="signature", name=facts.signature.key, command=f"insource release verify {facts.about}")
    words = f"The files as they lie there are signed with {facts.signature.key} (OpenSSF Model Signing 1.0)."
    return Found(words=words, sources=(source, of_workspace(facts)))


def restore_drill(facts: Facts) -> Found | Gap:
    """Whether a backup was ever restored, and answered as this does."""
    one = facts.restored
    if one is None:
        return Gap(why="no restore drill is on record", fill="insource store drill")
    bound = f" (share of answers below {one.upper95:.2%})" if one.upper95 is not None else ""
    bound = f" (share of answers below {one.upper95:.2%})" if one.upper95 is not None else ""
    rows = [
        ("backup, SHA-256", one.sha256),
        ("rows of the audit chain", f"{one.records:,}"),
        ("releases compared file by file", f"{one.releases:,}"),
        ("answers compared to the last bit", f"{one.answers:,}"),
        ("amiss", f"{one.wrong:,}{bound}"),
        ("from the file to a workspace that answered", f"{one.recovered_s:,.1f} s"),
        ("how old what it held was", f"{one.lost_s:,.0f} s"),
    ]
    said = "nothing was amiss" if not one.wrong else counted(one.wrong, "fault")
    words = f"A backup was restored on {one.at} and compared with this workspace: {said}."
    source = Source(kind="restore drill", name=one.at, command="insource store drill")
    return Found(words=words, table=table(("what", "found"), rows), sources=(source,))
