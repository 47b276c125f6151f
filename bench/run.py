"""Every benchmark of the README, one after another: python bench/run.py DATA_ROOT [NAME …].

Each runs its script with --json in a process of its own and leaves bench/results/NAME.json: what was asked for, what
was found, whether it holds, and the whole document as evidence.
"""

import datetime as dt
import importlib.util
import json
import os
import platform
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import adversarial_rows
import bad_day_rows
import batch_rows
import call_rows
import cleaning_rows
import console_rows
import contract_rows
import engine_rows
import evidence_rows
import extract_rows
import gateway_rows
import growth_rows
import hostile_rows
import ray_rows
import replicas_rows
import route_rows
import scan_rows
import schema_rows
import seal_rows
import sizing_rows
import specialist_rows
import spool_rows
import teach_rows
import train_rows
import verdict_rows
import watch_rows

HERE = Path(__file__).parent
RESULTS = HERE / "results"
Row = tuple[str, str, str, bool]


def machine() -> str:
    """The processor and cores that measured."""
    names = [line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    flags = next((line for line in _lines("/proc/cpuinfo") if line.startswith("flags")), "")
    kind = "AVX-512" if "avx512f" in flags else "AVX2" if "avx2" in flags else "no AVX2"
    python = f"Python {platform.python_version()}{'' if _optimised() else ', not optimised'}"
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores, {kind}, no GPU, {python}, {_build()}"


def _optimised() -> bool:
    """Whether this Python was built with profile-guided optimisation: a distribution's is, or it says so."""
    return sys.base_prefix == "/usr" or "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")


def _build() -> str:
    """Whether what is measured is machine code (tools/compiled) or the sources."""
    found = importlib.util.find_spec("insource.store.group")
    return "sources" if found is None or str(found.origin).endswith(".py") else "compiled"


def _lines(path: str) -> list[str]:
    return Path(path).read_text("utf-8").splitlines() if Path(path).exists() else []


def scored(document: dict[str, Any], part: str, starts: str, metric: str) -> dict[str, Any]:
    """The score of the first candidate whose name begins so."""
    for candidate in document[part]["candidates"]:
        if candidate["candidate"].startswith(starts):
            return next(s for s in candidate["scores"] if s["metric"] == metric and s["slice"] is None)
    raise KeyError(f"{starts} {metric}")


def said(score: dict[str, Any]) -> str:
    """A share as per cent, with interval and n."""
    return f"{score['value']:.2%} ({score['low']:.2%} to {score['high']:.2%}, n {score['n']:,})"


def versus(document: dict[str, Any]) -> str:
    """The specialist against the baseline on the same rows; the loser first."""
    pair = next(p for p in document["full"]["pairs"] if p["metric"] == "accuracy")
    a, b, difference, low, high = pair["a"], pair["b"], pair["difference"], pair["low"], pair["high"]
    if difference > 0:
        a, b, difference, low, high = b, a, -difference, -high, -low
    word = "loses to" if high < 0 else "ties with"
    return f"{a} {word} {b}: {difference * 100:+.1f} points ({low * 100:+.1f} to {high * 100:+.1f}), p {pair['p']:.1g}"


def agreement(document: dict[str, Any]) -> tuple[str, bool]:
    """The gate's check of served against trained."""
    check = next(c for c in document["gate"]["checks"] if "trained" in c["name"] or "trainer" in c["name"])
    return check["found"], check["passed"]


def banking77(d: dict[str, Any]) -> Iterator[Row]:
    """Intent, official split."""
    own, base = scored(d, "full", "bench@", "accuracy"), scored(d, "full", "baseline", "accuracy")
    yield "BANKING77 accuracy, served path", "≥ 93.5%", said(own), own["value"] >= 0.935
    yield (
        "… training time, two runs",
        "≤ 45 min",
        f"{d['training_minutes']:.0f} min on {d['threads']}",
        d["training_minutes"] <= 45,
    )
    yield "… linear baseline, same rows", "91.2%", f"{said(base)}; {versus(d)}", True
    for kind in ("zero-shot", "few-shot"):
        if "sample" in d:
            untuned = scored(d, "sample", kind, "accuracy")
            yield f"… the untuned model, {kind}", "in the same table", said(untuned), True
    ece = scored(d, "full", "bench@", "ece")
    found = f"{ece['value']:.3f} ({ece['low']:.3f} to {ece['high']:.3f}, n {ece['n']:,})"
    yield "… calibration error (ECE)", "≤ 0.03", found, ece["value"] <= 0.03
    share, right = scored(d, "full", "bench@", "share_at_85"), scored(d, "full", "bench@", "accuracy_at_85")
    yield "… answered at 85% confidence", "shown", f"{said(share)}, of them right {said(right)}", True
    words, holds = agreement(d)
    yield "… served = trained", "≥ 99.5% of labels", words, holds


def excavator_mwo(d: dict[str, Any]) -> Iterator[Row]:
    """Work orders to 127 functional locations."""
    own, base = scored(d, "full", "bench@", "accuracy"), scored(d, "full", "baseline", "accuracy")
    found = f"{versus(d)}; {said(own)} against {said(base)}"
    yield "work orders → 127 locations, repeats once", "loser first", found, True


def naics2012(d: dict[str, Any]) -> Iterator[Row]:
    """Index entries to leaves of a deep tree."""
    own, base = scored(d, "full", "bench@", "accuracy"), scored(d, "full", "baseline", "accuracy")
    yield (
        "NAICS → 1,063 leaves, leaf accuracy",
        "against the baseline",
        f"{said(own)} against {said(base)}; {versus(d)}",
        True,
    )
    own, base = scored(d, "full", "bench@", "path_accuracy"), scored(d, "full", "baseline", "path_accuracy")
    yield "… path accuracy", "against the baseline", f"{said(own)} against {said(base)}", True
    failures = next(c for c in d["full"]["candidates"] if c["candidate"].startswith("bench@"))["failures"]
    outside = f"{failures['invalid']} of {failures['n']:,} outside, rate below {failures['upper95']:.2%}"
    yield "… answers outside the tree", "0", outside, failures["invalid"] == 0


def speed(d: dict[str, Any]) -> Iterator[Row]:
    """Against peft + Trainer."""
    own = d["results"]["ours"]
    (name, peer) = next((name, side) for name, side in d["results"].items() if name != "ours")

    def side(result: dict[str, Any]) -> str:
        right = {"value": result["accuracy"], "low": result["low"], "high": result["high"], "n": d["test_rows"]}
        return f"{result['rows_per_s']:.1f} rows/s, accuracy {said(right)}"

    found = f"{peer['ratio']:.2f} times: ours {side(own)}; it {side(peer)}; {d['machine']}"
    yield f"training rows/s against {name}", "≥ 1.5 times", found, peer["ratio"] >= 1.5
    whole = (
        f"{peer['whole_ratio']:.2f} times: {own['before_s']:.0f} s go before ours, {peer['before_s']:.0f} s before it"
    )
    yield f"… with what goes before, {d['train_rows']:,} rows once", "shown", whole, True


def constrained(d: dict[str, Any]) -> Iterator[Row]:
    """Malformed outputs of the untuned model under its schema."""
    found = f"{d['malformed']} of {d['generations']:,}, rate below {d['upper95']:.2%}"
    yield "malformed outputs, constrained, untuned", "0 of 1,000", found, d["malformed"] == 0


BENCHES: dict[str, tuple[list[str], Callable[[dict[str, Any]], Iterator[Row]]]] = {
    "banking77": (
        ["classify.py", "banking77", "--set", "banking77", "--recipe", str(HERE / "banking77.toml")],
        banking77,
    ),
    "excavator_mwo": (["classify.py", "excavator_mwo", "--set", "excavator_mwo", "--trained-only"], excavator_mwo),
    "naics2012": (["classify.py", "naics2012", "--set", "naics2012", "--trained-only"], naics2012),
    "training_speed": (["training_speed.py", "banking77"], speed),
    "format": (["format.py", "."], constrained),
    "calls": (["calls.py", "."], call_rows.calls),
    "malformed": (["malformed.py", "."], call_rows.malformed),
    "console": (["console.py", "."], console_rows.console),
    "growth": (["growth.py", "."], growth_rows.growth),
    "sroie": (["extract.py", "sroie", "sroie"], extract_rows.sroie),
    "cuad": (["extract.py", "cuad", "cuad"], extract_rows.cuad),
    "engines": (["engines.py", "banking77", "--set", "banking77"], engine_rows.engines),
    "first_token": (["first_token.py", "banking77/test.csv"], engine_rows.first_token),
    "adapters": (["adapters.py", "."], engine_rows.adapters),
    "schemas": (["schemas.py", "jsonschemabench"], schema_rows.bench),
    "schema_suite": (["schemas.py", "jsonschema_testsuite"], schema_rows.suite),
    "gateway": (["gateway.py", "."], gateway_rows.gateway),
    "gateway_streams": (["gateway_streams.py", "."], gateway_rows.streams),
    "kills": (["kills.py", "."], gateway_rows.kills),
    "bad_days": (["bad_days.py", "."], bad_day_rows.bad_days),
    "overload": (["overload.py", "."], bad_day_rows.overload),
    "kill_points": (["kill_points.py", "."], bad_day_rows.kill_points),
    "soak": (["soak.py", "."], bad_day_rows.soak),
    "replicas": (["replicas.py", "."], replicas_rows.replicas),
    "spool": (["spool.py", "."], spool_rows.spool),
    "hostile": (["hostile.py", "."], hostile_rows.hostile),
    "batch": (["batch.py", "."], batch_rows.batch),
    "ray_batch": (["ray_batch.py", "."], ray_rows.ray_batch),
    "contract": (["contract.py", "."], contract_rows.contract),
    "contract_specialist": (["contract_specialist.py", "."], specialist_rows.contract),
    "adversarial": (["adversarial.py", "banking77"], adversarial_rows.adversarial),
    "canary": (["canary.py", "."], train_rows.canary),
    "rollback": (["rollback.py", "."], train_rows.rollback),
    "reviewers": (["reviewers.py", "."], train_rows.reviewers),
    "kill_steps": (["kill_steps.py", "."], train_rows.kill_steps),
    "bitflips": (["bitflips.py", "."], seal_rows.bitflips),
    "degradation": (["degradation.py", "."], train_rows.degradation),
    "evidence": (["evidence.py", "."], evidence_rows.evidence),
    "flywheel": (["flywheel.py", "."], train_rows.flywheel),
    "sizing": (["sizing.py", "."], sizing_rows.sizing),
    "cleaning": (["cleaning.py", "."], cleaning_rows.cleaning),
    "drift": (["drift.py", "banking77"], watch_rows.drift),
    "asked_again": (["asked_again.py", "."], watch_rows.asked_again),
    "teach": (["teach.py", "banking77"], teach_rows.teach),
    "router": (["router.py", "."], route_rows.router),
    "verdict": (["verdict.py", "."], verdict_rows.verdict),
    "migrate": (["migrate.py", "."], verdict_rows.migrate),
    "pii": (["pii.py", "."], scan_rows.pii),
    "nhtsa": (["extract.py", "nhtsa_recall_docs", "nhtsa"], extract_rows.nhtsa),
}


def run(name: str, root: Path, extra: list[str]) -> None:
    """One benchmark: its document and its rows of the README."""
    (script, folder, *options), rows = BENCHES[name]
    start = time.monotonic()
    command = [sys.executable, str(HERE / script), str(root / folder), *options, "--json", *extra]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    document = json.loads(done.stdout)
    found = [dict(zip(("what", "bar", "figure", "holds"), row, strict=True)) for row in rows(document)]
    # what was measured elsewhere says where and when
    where, today = document.get("measured_on") or machine(), dt.datetime.now(dt.UTC).date().isoformat()
    result = {"name": name, "machine": where, "date": document.get("date") or today,
              "minutes": round((time.monotonic() - start) / 60, 1), "rows": found, "document": document}  # fmt: skip
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", "utf-8")
    for row in found:
        print(f"{'yes' if row['holds'] else 'NO '}  {row['what']}: {row['figure']} (bar: {row['bar']})")


def main() -> None:
    """Runs the benchmarks named, all by default; words after -- go to the script."""
    words, extra = sys.argv[1:], []
    if "--" in words:
        words, extra = words[: words.index("--")], words[words.index("--") + 1 :]
    if not words or words[0] in ("-h", "--help"):
        sys.exit(__doc__)
    for name in words[1:] or BENCHES:
        if name not in BENCHES:
            sys.exit(f"there is no benchmark {name!r}: {', '.join(BENCHES)}")
        print(f"· {name}", file=sys.stderr)
        run(name, Path(words[0]), extra)


if __name__ == "__main__":
    main()
