"""An engine that labels: whether it may, what is said to it, what a call of it costs at most, and the path to it."""

import asyncio
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import urlsplit

import msgspec

from insource.decode.check import schema_of
from insource.decode.prompt import messages
from insource.engines.deployment import Turnstile
from insource.engines.ray_cluster import Cluster
from insource.engines.shared_base import Bases
from insource.engines.windowed import Estimate
from insource.errors import Denied, EngineBusy, EngineError, Missing, ScanFailed
from insource.journeys.answer import Path
from insource.journeys.lineup import Lineup, choose_shots
from insource.journeys.plan import Plan, policy_of
from insource.journeys.scanned import Scans, open_scans, watched
from insource.journeys.serve import configured_tier
from insource.journeys.turnstiles import pool_of
from insource.nouns import Example, Request, Task, ask, canonical, digest
from insource.nouns.lesson import CALLER
from insource.route import permitted
from insource.route.choose import Facts, holds
from insource.route.retries import Allowance, Retries
from insource.settings import EngineSettings, Settings
from insource.store import Store

FRAME = 1024  # tokens that a server may put around a call: its own words for tools and schemas
TURN = 16
COMPLAINT = 2_000
LETTERS = 4  # of English in a token, about: for what is expected, never for what is reserved
LOCAL_S = 3_600.0
ANSWER_TOKENS = {"classify": 256, "extract": 1024, "generate": 1024}
NO_RETRIES = Allowance(share=0.0, floor=0)  # each try has a reserve of its own
CLOSED = ("embedded", "scripted")
TERMS = {
    "api.openai.com": "https://openai.com/policies/",
    "api.anthropic.com": "https://www.anthropic.com/legal/commercial-terms",
}


@dataclass(frozen=True)
class Teacher:
    """An engine of insource.toml, ready to be asked. `task` is the task as it is put to it, examples included.

    `prompt` is the SHA-256 of what is said beside the input, `who` of the engine.
    """

    name: str
    settings: EngineSettings
    task: Task
    path: Path
    prompt: str
    who: str
    max_tokens: int

    @property
    def costs(self) -> bool:
        """Whether a call costs anything."""
        return priced(self.settings)

    @property
    def tries(self) -> int:
        """How often one call may ask: an answer that breaks the contract is asked for again."""
        return 1 + self.settings.retries

    @property
    def deadline(self) -> float:
        """Seconds that a call may take."""
        return LOCAL_S if self.settings.kind in CLOSED else self.settings.timeout_s

    def request(self, row: Example, id: str) -> Request:
        """The call that asks for the row's label."""
        asked = ask(self.task, row.input, id=id)
        return msgspec.structs.replace(asked, max_tokens=self.max_tokens, deadline=self.deadline, caller=CALLER)

    def key(self, row: Example) -> str:
        """What an answer hangs on, by content."""
        return digest([row.input, self.prompt, self.who])

    def most(self, text: str, tries: int | None = None) -> float:
        """US dollars that a call cannot exceed: a token is a byte at least, an answer `max_tokens` at most.

        All `tries` are counted, each with the invalid answer before it, and every window of a long text.
        """
        around = self._around
        size = len(text.encode(errors="replace"))
        windows, context = 1, self.settings.context
        if context and self.task.kind != "generate" and size > (room := Estimate(context).room(self.task)):
            windows, size = 1 + math.ceil(2 * size / room), 2 * size
        into = out = 0
        for number in range(self.tries if tries is None else tries):
            into += windows * (around + number * (self.max_tokens + COMPLAINT)) + size
            out += windows * self.max_tokens
        return self.usd((into, out))

    def expected(self, text: str, answer: str) -> tuple[int, int]:
        """Tokens in and out that a call takes, about: four letters each."""
        return expected(self.task, len(text), len(answer))

    def usd(self, tokens: tuple[float, float]) -> float:
        """What so many tokens in and out cost."""
        return usd(self.settings, tokens)

    @cached_property
    def _around(self) -> int:
        """Tokens beside the input at most: a byte each, with the form of the answer and what a server may add."""
        return _said(self.task) + FRAME


def expected(task: Task, text: float, answer: float) -> tuple[int, int]:
    """Tokens in and out that a call takes whose input and answer have so many letters, about: four letters each."""
    return int(_said(task) + text) // LETTERS, int(answer) // LETTERS + 1


def usd(engine: EngineSettings, tokens: tuple[float, float]) -> float:
    """US dollars that so many tokens in and out cost."""
    return (tokens[0] * engine.usd_per_million_input + tokens[1] * engine.usd_per_million_output) / 1_000_000


def priced(engine: EngineSettings) -> bool:
    """Whether a call costs anything."""
    return bool(engine.usd_per_million_input or engine.usd_per_million_output)


def _said(task: Task) -> int:
    """Bytes of all that is said beside the input: the instruction, what may be answered, and the form of the answer."""
    turns = sum(TURN + len(str(turn.content).encode()) for turn in messages(task, ""))
    return turns + len(canonical(schema_of(task)))


def unbilled(error: BaseException) -> bool:
    """Whether a call that ended so is on no bill: it was turned away before a word of an answer."""
    return type(error) is EngineError or isinstance(error, EngineBusy | Denied | ScanFailed)


def must_be_there(name: str, settings: Settings) -> None:
    """Raises `Missing` where insource.toml has no engine called `name`."""
    if name not in settings.engines:
        known = ", ".join(settings.engines) or "none yet"
        hint = f"[engines.{name}] in insource.toml makes one; engines there: {known}"
        raise Missing(f"there is no engine {name!r} in insource.toml", hint=hint)


async def open_teacher(
    name: str, asked: Task, settings: Settings, store: Store, *, max_tokens: int | None, cluster: Cluster | None
) -> Teacher:
    """The engine called `name` for the task as it is put to it, allowed and ready. Close its path with `close_path`.

    One that would compute in this process does so on the `cluster` where there is one.

    Raises `Missing` for no such engine, `Denied` where its owner forbids it or the task's texts may not go there, and
    as the engine and the scan do.
    """
    must_be_there(name, settings)
    one = settings.engines[name]
    if one.teach == "forbidden":
        why = f'engines.{name} says teach = "forbidden": no model is to be trained on what it answers'
        raise Denied(why, hint="take another teacher")
    allowed = permitted(name, one.place, asked.sensitivity)
    if not allowed.allowed:
        raise Denied(allowed.reason, hint="a teacher sees every text: it must be where the task's texts may go")
    most = max_tokens or ANSWER_TOKENS[asked.kind]
    bases = Bases(settings.cache)
    if one.kind not in CLOSED:
        pool = pool_of(msgspec.structs.replace(one, breaker=False))
        bases.turnstiles[name] = Turnstile(name, one, None, Retries(NO_RETRIES, time.monotonic), pool)
    lineup = Lineup(settings, store, asked, bases=bases, cluster=cluster)
    scans = await asyncio.to_thread(open_scans, asked.scan)
    path = Path(
        task=asked, tiers=(configured_tier(name, lineup),), key=store.tenant_key, intend=store.intend, scans=scans
    )
    said = [turn.content for turn in messages(asked, "")]
    prompt = digest([said, schema_of(asked), most])
    return Teacher(name, one, asked, path, prompt, digest([one.kind, one.address, one.model, one.script]), most)


async def shots_of(task: Task, rows: Sequence[Example], count: int) -> list[Example]:
    """Up to `count` examples to show a teacher: of train, of no teacher, and with nothing in them that a scan finds."""
    if count < 1:
        return []
    scans = await asyncio.to_thread(open_scans, task.scan)
    mine = [row for row in rows if row.split == "train" and row.origin != "teacher"]
    return [row for row in choose_shots(mine, task, count * 2) if await _is_clean(task, row, scans)][:count]


def kept_back(
    task: Task, names: Sequence[str], settings: Settings, rows: Sequence[Example]
) -> tuple[list[Example], int]:
    """The rows whose text may go to these engines, by the first of the task's rules that holds; how many may not.

    Raises `EngineDown` where a rule needs a text's language and nothing here tells it.
    """
    if not task.routes:
        return list(rows), 0
    tell = Plan.of(task, policy_of(settings), {}).tell
    free = []
    places = {name: settings.engines[name].place for name in names if name in settings.engines}
    for row in rows:
        facts = Facts(length=len(row.input), language=tell(row.input), caller=CALLER)
        rule = next((rule for rule in task.routes if holds(rule.when, facts)), None)
        under = (task.sensitivity, rule.sensitivity if rule else "any")
        if all(permitted(name, place, *under).allowed for name, place in places.items()):
            free.append(row)
    return free, len(rows) - len(free)


def terms(name: str, settings: EngineSettings) -> str:
    """What is to be said of the terms under which the engine answers; empty where its owner said it."""
    if settings.teach or settings.kind == "scripted":
        return ""
    say = f'say teach = "allowed" under [engines.{name}] once you have read them'
    if settings.place == "premises":
        return f"may a model be trained on what {name} answers? Its model's licence says; {say}"
    host = urlsplit(settings.servers[0]).hostname or name
    where = f": {TERMS[host]}" if host in TERMS else ""
    return f"may a model be trained on what {name} answers? The terms of {host} say{where}; {say}"


def with_shots(task: Task, shots: Sequence[Example]) -> Task:
    """The task with examples in its instruction, so that every kind of engine is shown them in the same words."""
    if not shots:
        return task
    lines = "\n".join(canonical({"input": row.input, "answer": row.target}).decode() for row in shots)
    words = f"{task.instruction}\nExamples, each with its right answer, as JSON:\n{lines}"
    return msgspec.structs.replace(task, instruction=words.lstrip())


async def _is_clean(task: Task, row: Example, scans: Scans | None) -> bool:
    """Whether no scan finds anything in the text, nor in the answer, which is shown with it."""
    both = (row.input, canonical(row.target).decode())
    return all([(await watched(ask(task, text, id=row.id), scans)).clean for text in both])
