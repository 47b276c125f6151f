"""The README's rows of the release train, of review and of what comes of it: bench/canary.py to flywheel.py."""

from collections.abc import Iterator
from typing import Any

from insource.stats import wilson

Row = tuple[str, str, str, bool]
SPOILED = {
    "shuffled": "trained on shuffled labels",
    "merged twice": "whose adapter was merged twice",
    "a layer off": "whose adapter was merged a layer off",
    "3 bits": "rounded to 3 bits",
    "slow": "served with a wait",
}


def _within(found: dict[str, Any], of: str = "") -> str:
    low, high = found[f"{of}interval"]
    return f"{found[f'{of}share']:.1%} ({low:.1%} to {high:.1%})"


def canary(d: dict[str, Any]) -> Iterator[Row]:
    """False stops and caught rises, beside a z-test on the same calls."""
    same, paired = (d["worlds"][name] for name in ("the same", "the same calls"))
    runs, worst = same["runs"], max(same["ours"]["share"], paired["ours"]["share"])
    found = f"{_within(same['ours'])}, of paired errors {_within(paired['ours'])}, n {runs:,} each"
    what = f"canary, looked at after each of {d['calls']:,} calls: stopped though no worse, 5% errors both"
    yield what, "≤ 5%", found, worst <= 0.05
    worse, nested = (d["worlds"][name]["ours"] for name in ("worse", "worse, paired"))
    found = f"{_within(worse, 'within_')}, of paired errors {_within(nested, 'within_')}; half of them after"
    found += f" {worse['median_calls']:,} and {nested['median_calls']:,} calls"
    held = min(worse["within_share"], nested["within_share"])
    yield f"… errors 5% → 10%, stopped within {d['within']:,} labelled calls", "≥ 90%", found, held >= 0.9
    found = f"{_within(same['naive'])} and {_within(paired['naive'])} stopped though no worse"
    yield "… control: a z-test at every look", "cries wolf", found, same["naive"]["share"] > 0.05
    failing, slow = (d["worlds"][name]["ours"] for name in ("failing", "slow"))
    found = f"{_within(failing, 'within_')} and {_within(slow, 'within_')}, half of them after"
    found += f" {failing['median_calls']:,} and {slow['median_calls']:,} calls"
    yield f"… failures 0.5% → 3%, and twice as slow, within {d['within']:,} calls", "shown", found, True


def rollback(d: dict[str, Any]) -> Iterator[Row]:
    """How soon nothing of a release is left, and what callers noticed."""
    found = f"p95 {d['p95_s']:.2f} s, p50 {d['p50_s']:.2f}, most {d['most_s']:.2f}; canaries and live ones in turn"
    what = f"rollback under load, {d['times']} times, {d['callers']} callers: to the last answer of what left"
    yield what, "p95 ≤ 2 s", found, d["p95_s"] <= 2 and d["alive"] and d["same_as_before"]
    found = f"{d['failed']} of {d['calls']:,} (below {d['failed_upper95']:.4%})"
    found += f", {d['chain_faults']} faults of the audit"
    yield "… calls that failed meanwhile", "0", found, not (d["failed"] or d["chain_faults"])


def reviewers(d: dict[str, Any]) -> Iterator[Row]:
    """Items settled once, whoever was killed, and the control without leases."""
    kept, control = d["kept"], d["control"]
    found = f"{kept['settled']:,} settled, {kept['lost']} lost, {kept['twice']} twice (below {d['upper95']:.3%}), "
    found += f"{kept['seen_by_two']} seen by two who lived, {kept['told_and_not_on_record']} told and not on record"
    found += f"; of {kept['for_two']} for two people {kept['not_by_two']} not by two"
    bad = kept["lost"] + kept["twice"] + kept["seen_by_two"] + kept["told_and_not_on_record"] + kept["chain_faults"]
    bad += kept["not_by_two"]
    what = f"review queue, {kept['people']} people at {kept['items']:,} items, {kept['killed']} of them killed"
    yield what, "each once, none lost, none held twice", found, not bad
    found = f"{control['seen_by_two']} of {control['items']} seen by two, {control['late']:,} verdicts too late"
    yield "… control: no leases", "held twice", found, control["seen_by_two"] > 0


def kill_steps(d: dict[str, Any]) -> Iterator[Row]:
    """What is amiss after kills of improve, nightly, promote and rollback."""
    by = ", ".join(f"{kind} {n}" for kind, n in d["by_verb"].items())
    found = (
        f"{d['faults']} amiss (below {d['upper95']:.1%} of the kills), {by}; then run to the end {d['rounds']} times"
    )
    what = f"improve, nightly, promote, rollback killed {d['kills']} times, linear engine"
    yield what, "state consistent, work resumes", found, not d["faults"]


def flywheel(d: dict[str, Any]) -> Iterator[Row]:
    """Where the rounds end, beside training on all rows, what people had to say for it, and each round."""

    def said(found: dict[str, Any]) -> str:
        return f"{found['value']:.1%} ({found['low']:.1%} to {found['high']:.1%})"

    def against(found: dict[str, Any]) -> str:
        by = found["difference"]
        return f"{by['value'] * 100:+.1f} points ({by['low'] * 100:+.1f} to {by['high'] * 100:+.1f})"

    rounds, last = d["rounds"], d["rounds"][-1]
    found = (
        f"{said(last['accuracy'])} against {d['all']['value']:.1%}: {against(d['all'])}, n {last['accuracy']['n']:,}"
    )
    what = (
        f"flywheel, CLINC150, {d['engine']}: half the labels, then {len(rounds)} rounds of what people said of traffic"
    )
    yield what, "within 1 point of all", found, d["all"]["difference"]["value"] >= -0.01 and not d["chain_faults"]
    steps = " → ".join(f"{one['value']:.1%}" for one in [d["first"], *(each["accuracy"] for each in rounds)])
    found = f"{d['labels']:,} of {d['later']:,} ({d['labels'] / d['later']:.1%}); accuracy {steps}"
    yield "… of the other half people had to label", "shown", found, True
    by = f"{d['by_chance']['value']:.1%}, the rounds {against(d['by_chance'])}"
    yield "… as many labels drawn by chance instead", "shown", by, True
    wrong = sum(one["error"]["value"] * one["error"]["n"] for one in rounds)
    given = sum(one["error"]["n"] for one in rounds)
    low, high = wilson(round(wrong), given)
    covered = ", ".join(f"{one['coverage']['value']:.0%}" for one in rounds)
    seen = ", ".join(f"{one['seen']['value']:.0%}" for one in rounds)
    found = f"{wrong / given:.1%} ({low:.1%} to {high:.1%}, n {given:,}); answered {covered}; seen by people {seen}"
    yield (
        "… wrong among those answered automatically",
        f"≤ {d['risk']:.0%}, as promised",
        found,
        wrong / given <= d["risk"],
    )


def degradation(d: dict[str, Any]) -> Iterator[Row]:
    """What stopped each release that had something wrong with it, and the sound one."""
    for what, one in d["found"].items():
        check = one["checks"][d["meant"][what]]
        also = ", ".join(name for name in one["failed"] if name != d["meant"][what])
        found = f"{d['meant'][what]}: {check['found']}" + (f"; also {also}" if also else "")
        found += f"; promote ended with {one['exit']}"
        yield f"degradation drill: a release {SPOILED[what]}", f"stopped by {d['meant'][what]}", found, one["stopped"]
    control, four = d["control"], d["int4"]
    checks = len(control["checks"])
    sound = control["passed"] and control["exit"] == 0 and control["stage"] == "live" and not d["chain_faults"]
    found = (
        f"{checks - len(control['failed'])} of {checks} checks, live; accuracy {control['checks']['accuracy']['found']}"
    )
    yield "… control: the sound one", "passes and goes live", found, sound
    said = ", ".join(f"{name}: {four['checks'][name]['found']}" for name in four["failed"]) or "it passed"
    found = f"{said}; accuracy {four['checks']['accuracy']['found']}"
    yield "… the sound one in the product's 4 bits, openvino-int4", "shown", found, True
