"""The only reader of the environment, of `insource.toml` and of `tasks/NAME.toml`.

A workspace is a folder with `insource.toml` and `tasks/`; its state lies in `.insource/`. Unknown keys are errors
that name the file, the line and the nearest known key; every problem of a file is reported at once.
"""

import difflib
import os
import re
import tomllib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from insource.errors import Invalid, Missing
from insource.nouns import JsonObject, Limits, Networks, Noun, Output, Risk, Route, Task, visible

T = TypeVar("T")
CONFIG = "insource.toml"
STATE = ".insource"
Seconds = Annotated[float, Meta(gt=0, le=86_400)]


class EngineSettings(Noun, frozen=True, kw_only=True):
    """`[engines.NAME]`: a server, a base model in this process, or a scripted engine (`script` is a JSON lines file).

    `kind` is how the server is spoken to, a table of `engines/dialects.toml`; "openai" is any with the OpenAI API.
    "embedded" is the base model `model`, untuned, the workspace's own where none is named.
    `retries` is how often an answer that breaks the task's contract is asked for again, within the call's deadline.
    `api_key_env` names the environment variable that holds the key; the key itself is never written in a file.
    Prices are US dollars per million tokens. `context` is how many tokens the model reads at once; a longer document
    goes to it in windows, 0 sends every document whole. `region` is where the data goes; "premises" never leaves.
    A server is waited for `connect_s` for a connection, `first_byte_s` for the first byte of its answer, `idle_s`
    between its bytes, and `timeout_s` in all. So many calls as `max_concurrent` are with it at once, `max_waiting`
    more wait. With `breaker` it is left alone for a while after failures; what took longer than `slow_s` is one.
    `otherwise` names the engines that are asked, in order, when this one fails before its first word.
    """

    kind: Literal[
        "openai", "vllm", "llamacpp", "ollama", "tgi", "lmdeploy", "anthropic", "groq", "together", "embedded",
        "scripted",
    ]  # fmt: skip
    base_url: str = ""
    model: str = ""
    api_key_env: str = ""
    script: str = ""
    region: str = ""
    timeout_s: Seconds = 60.0
    connect_s: Seconds = 5.0
    first_byte_s: Seconds = 60.0
    idle_s: Seconds = 30.0
    slow_s: Seconds = 30.0
    max_concurrent: Annotated[int, Meta(ge=1, le=100_000)] = 128
    max_waiting: Annotated[int, Meta(ge=0, le=100_000)] = 256
    breaker: bool = True
    otherwise: tuple[str, ...] = msgspec.field(name="else", default=())
    context: Annotated[int, Meta(ge=0, le=100_000_000)] = 0
    retries: Annotated[int, Meta(ge=0, le=10)] = 1
    usd_per_million_input: Annotated[float, Meta(ge=0, le=1e9)] = 0.0
    usd_per_million_output: Annotated[float, Meta(ge=0, le=1e9)] = 0.0

    @property
    def place(self) -> str:
        """Where the data goes: a model in this process sends it nowhere."""
        return "premises" if self.kind == "embedded" else self.region


class WorkspaceSettings(Noun, frozen=True, kw_only=True):
    """`[workspace]`: the default base model, torch threads (0 = all cores), and whether specialists share their base.

    With `share_base` a trained release answers from its base model and its adapter, so that many of one base take
    the memory of one; without, each from its own merged weights. `vllm` is the Python interpreter of an environment
    with vLLM: what is exported for it is measured there.
    """

    base: str = "smollm2-135m"
    threads: Annotated[int, Meta(ge=0, le=4096)] = 0
    share_base: bool = False
    vllm: str = ""


class StoreSettings(Noun, frozen=True, kw_only=True):
    """`[store]`: `url` is empty for SQLite in the workspace, else a SQLAlchemy URL."""

    url: str = ""


class ServeSettings(Noun, frozen=True, kw_only=True):
    """`[serve]`: where the gateway listens, how many calls may wait, and the largest body in bytes."""

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8080
    queue: Annotated[int, Meta(ge=1, le=1_000_000)] = 512
    max_body_bytes: Annotated[int, Meta(ge=1024, le=2**31)] = 4_000_000


class RouterSettings(Noun, frozen=True, kw_only=True):
    """`[router]`: calls to the model "auto", whose task `insource train --router` learns to tell.

    `max_error` is the share of wrong tasks tolerated among those it tells; `unknown` a file of texts that are for no
    task, one a line. `otherwise` is the engine that answers what it does not know, none where empty; `sensitivity` says
    where such a text may go.
    """

    max_error: Annotated[float, Meta(gt=0, lt=1)] = 0.1
    unknown: str = ""
    otherwise: str = msgspec.field(name="else", default="")
    sensitivity: str | tuple[str, ...] = "premises"


class AuditSettings(Noun, frozen=True, kw_only=True):
    """`[audit]`: where signed checkpoints go (empty: beside the database), how often, and how long records are kept.

    A record goes when it is older than `keep_days` (0: never), or when there are more than `keep_calls` newer ones.
    """

    checkpoints: str = ""
    checkpoint_s: Annotated[float, Meta(ge=1, le=86_400)] = 60.0
    keep_days: Annotated[int, Meta(ge=0, le=36_500)] = 400
    keep_calls: Annotated[int, Meta(ge=1_000, le=1_000_000_000)] = 10_000_000


class _File(Noun, frozen=True, kw_only=True):
    workspace: WorkspaceSettings = WorkspaceSettings()
    store: StoreSettings = StoreSettings()
    serve: ServeSettings = ServeSettings()
    audit: AuditSettings = AuditSettings()
    networks: dict[str, tuple[str, ...]] = {}
    router: RouterSettings = RouterSettings()
    engines: dict[str, EngineSettings] = {}
    tenants: dict[str, Limits] = {}


class Settings(Noun, frozen=True, kw_only=True):
    """Everything a door needs to know, read once. `root` is the workspace, `cache` where base models are kept.

    `tenants` are the limits that all keys of a tenant share.
    """

    root: Path
    cache: Path
    workspace: WorkspaceSettings = WorkspaceSettings()
    store: StoreSettings = StoreSettings()
    serve: ServeSettings = ServeSettings()
    audit: AuditSettings = AuditSettings()
    networks: Networks = Networks()
    router: RouterSettings = RouterSettings()
    engines: dict[str, EngineSettings] = {}
    tenants: dict[str, Limits] = {}

    @property
    def state(self) -> Path:
        """The folder of the workspace's own state."""
        return self.root / STATE


class _RiskFile(Noun, frozen=True, kw_only=True):
    max_error: float | None = None
    threshold: float | None = None
    otherwise: tuple[str, ...] | str = msgspec.field(name="else", default=("review",))


class _OutputFile(Noun, frozen=True, kw_only=True):
    labels: str | list[str] | None = None
    taxonomy: str | list[str] | None = None


class _TaskFile(Noun, frozen=True, kw_only=True):
    name: str
    kind: Literal["classify", "extract", "generate"]
    instruction: str = ""
    outputs: dict[str, _OutputFile] = {}
    json_schema: JsonObject | str | None = msgspec.field(name="schema", default=None)
    metric: str = ""
    acceptance: dict[str, float] = {}
    risk: _RiskFile = _RiskFile()
    route: tuple[Route, ...] = ()
    sensitivity: str | list[str] = "premises"
    owner: str = ""


def load_settings(root: Path, environ: Mapping[str, str] | None = None) -> Settings:
    """The settings of the workspace at `root`. Raises `Missing` without insource.toml, `Invalid` on any fault."""
    path = root / CONFIG
    if not path.is_file():
        raise Missing(f"{root} is no insource workspace: it has no {CONFIG}", hint="insource init DIR makes one")
    file = _read(path, _File)
    return Settings(
        root=root.resolve(),
        cache=cache_folder(environ),
        workspace=file.workspace,
        store=file.store,
        serve=file.serve,
        audit=file.audit,
        networks=_convert(path, {"places": file.networks}, Networks),
        router=file.router,
        engines=file.engines,
        tenants=file.tenants,
    )


def cache_folder(environ: Mapping[str, str] | None = None) -> Path:
    """Where base models are kept: $INSOURCE_CACHE, else $XDG_CACHE_HOME/insource, else ~/.cache/insource."""
    environ = os.environ if environ is None else environ
    if environ.get("INSOURCE_CACHE"):
        return Path(environ["INSOURCE_CACHE"]).expanduser()
    return Path(environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "insource"


def ollama_store(environ: Mapping[str, str] | None = None) -> Path:
    """Where Ollama keeps models: $OLLAMA_MODELS, else ~/.ollama/models."""
    environ = os.environ if environ is None else environ
    return Path(environ.get("OLLAMA_MODELS") or "~/.ollama/models").expanduser()


class ModelHosts(Noun, frozen=True, kw_only=True):
    """Where base models come from: the hub's address, its cache on this disk, a package index, and "offline"."""

    hub: str
    hub_cache: Path
    index: str
    offline: bool


def model_hosts(environ: Mapping[str, str] | None = None) -> ModelHosts:
    """The hosts of models: HF_ENDPOINT, HF_HUB_CACHE (else HF_HOME), HF_HUB_OFFLINE, PIP_INDEX_URL or UV_DEFAULT_INDEX.

    Where there is pip it reads its own configuration; the index here is for environments without.
    """
    environ = os.environ if environ is None else environ
    home = environ.get("HF_HOME") or f"{environ.get('XDG_CACHE_HOME') or '~/.cache'}/huggingface"
    index = environ.get("PIP_INDEX_URL") or environ.get("UV_DEFAULT_INDEX") or "https://pypi.org/simple"
    return ModelHosts(
        hub=(environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/"),
        hub_cache=Path(environ.get("HF_HUB_CACHE") or f"{home}/hub").expanduser(),
        index=index.rstrip("/"),
        offline=environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"),
    )


def secret(name: str, environ: Mapping[str, str] | None = None) -> str:
    """The value of the environment variable `name`; empty when it is not set."""
    return (os.environ if environ is None else environ).get(name, "")


def inherited_environment() -> dict[str, str]:
    """A copy of this process's environment, to hand to a child process."""
    return dict(os.environ)


def task_names(settings: Settings) -> list[str]:
    """The names of the workspace's tasks, sorted."""
    return sorted(path.stem for path in (settings.root / "tasks").glob("*.toml") if path.is_file())


def load_task(settings: Settings, name: str) -> Task:
    """The task called `name`. Raises `Missing` (with the nearest name) or `Invalid` (file, line, key)."""
    path = settings.root / "tasks" / f"{name}.toml"
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,63}", name) or not path.is_file():
        known = task_names(settings)
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"tasks here: {', '.join(known) or 'none yet'}"
        raise Missing(f"there is no task {name!r} in {settings.root / 'tasks'}", hint=hint)
    file = _read(path, _TaskFile)
    if file.name != name:
        raise Invalid(f"{path}: name is {file.name!r}, but the file is called {path.name}", hint=f'name = "{name}"')
    return _task(path, file)


def _task(path: Path, file: _TaskFile) -> Task:
    outputs = tuple(_output(path, key, value) for key, value in file.outputs.items())
    schema = _schema(path, file.json_schema)
    if file.kind == "classify" and not outputs:
        raise Invalid(f"{path}: a classify task needs at least one [outputs.NAME] with labels", at=str(path))
    if file.kind == "extract" and schema is None:
        raise Invalid(f"{path}: an extract task needs a [schema] (JSON Schema, type object)", at=str(path))
    otherwise = (file.risk.otherwise,) if isinstance(file.risk.otherwise, str) else file.risk.otherwise
    risk = {"max_error": file.risk.max_error, "threshold": file.risk.threshold, "otherwise": otherwise}
    sensitivity = file.sensitivity if isinstance(file.sensitivity, str) else tuple(file.sensitivity)
    metric = file.metric or {"classify": "accuracy", "extract": "f1", "generate": "exact"}[file.kind]
    return Task(
        name=file.name,
        kind=file.kind,
        instruction=file.instruction,
        outputs=outputs,
        schema=schema,
        metric=metric,
        acceptance=file.acceptance,
        risk=_convert(path, risk, Risk),
        routes=file.route,
        sensitivity=sensitivity,
        owner=file.owner,
    )


def _output(path: Path, name: str, file: _OutputFile) -> Output:
    if (file.labels is None) == (file.taxonomy is None):
        raise Invalid(f"{path}: outputs.{name} needs either labels or taxonomy", at=str(path))
    given = file.labels if file.labels is not None else file.taxonomy
    labels = given if isinstance(given, list) else _lines(path.parent.parent / str(given))
    twice = next((label for label, times in Counter(labels).items() if times > 1), None)
    if twice is not None:
        raise Invalid(f"{path}: outputs.{name} lists {twice!r} twice", at=str(path))
    odd = next((label for label in labels if visible(label) != label), None)
    if odd is not None:
        raise Invalid(f"{path}: outputs.{name} has a label with control characters: {odd!r}", at=str(path))
    if len(labels) < 2:
        raise Invalid(f"{path}: outputs.{name} needs at least two labels, it has {len(labels)}", at=str(path))
    return Output(name=name, labels=tuple(labels), taxonomy=file.taxonomy is not None)


def _schema(path: Path, given: JsonObject | str | None) -> JsonObject | None:
    if not isinstance(given, str):
        return given
    source = path.parent.parent / given
    try:
        return msgspec.json.decode(source.read_bytes(), type=dict[str, Any])
    except OSError as error:
        raise Missing(f"{path}: the schema file {source} cannot be read: {error.strerror}") from error
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise Invalid(f"{source}: not a JSON object: {error}") from error


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise Missing(f"the labels file {path} cannot be read: {error.strerror}", hint="one label a line") from error
    except UnicodeDecodeError as error:
        raise Invalid(f"{path}: not UTF-8 text (byte {error.start})", hint="save the file as UTF-8") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def _read(path: Path, kind: type[T]) -> T:
    try:
        text = path.read_text("utf-8")
        data = tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise Invalid(f"{path}: not UTF-8 text (byte {error.start})", hint="save the file as UTF-8") from error
    except RecursionError as error:
        raise Invalid(f"{path}: nested too deeply", at=str(path)) from error
    except tomllib.TOMLDecodeError as error:
        raise Invalid(f"{path}: {error}", hint="see docs/reference/settings.md for the form", at=str(path)) from error
    except OSError as error:
        raise Missing(f"{path} cannot be read: {error.strerror}") from error
    problems = [f"{path}:{_line(text, key)}: {message}" for key, message in _unknown(data, kind, "")]
    if problems:
        raise Invalid("\n".join(problems), hint="keys are listed in docs/reference/settings.md", at=str(path))
    return _convert(path, data, kind)


def _convert(path: Path, data: object, kind: type[T]) -> T:
    try:
        return msgspec.convert(data, type=kind)
    except msgspec.ValidationError as error:
        raise Invalid(f"{path}: {error}", hint="see docs/reference/settings.md", at=str(path)) from error


def _unknown(data: JsonObject, kind: Any, prefix: str) -> list[tuple[str, str]]:
    """Every key of `data` that `kind` does not know, as (key, message); nested tables included."""
    known = {field.encode_name: field.type for field in msgspec.structs.fields(kind)}
    found: list[tuple[str, str]] = []
    for key, value in data.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            guess = f", did you mean {near[0]!r}?" if near else f"; known are {', '.join(known)}"
            found.append((key, f"unknown key {prefix + key!r}{guess}"))
            continue
        for inner, name, table in _tables(known[key], key, value):
            found += _unknown(table, inner, f"{prefix}{name}.")
    return found


def _tables(kind: Any, key: str, value: Any) -> list[tuple[Any, str, JsonObject]]:
    """The struct-typed tables that a key holds: itself, or each entry of a table or list of tables."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and isinstance(value, dict):
        return [(kind, key, value)]
    if isinstance(value, list):
        kind = getattr(kind, "__args__", (None,))[0]
        return [each for one in value if isinstance(one, dict) for each in _tables(kind, key, one)]
    inner: Any = next(iter(getattr(kind, "__args__", ())[1:]), None)
    if isinstance(inner, type) and issubclass(inner, msgspec.Struct) and isinstance(value, dict):
        return [(inner, f"{key}.{name}", table) for name, table in value.items() if isinstance(table, dict)]
    return []


def _line(text: str, key: str) -> int:
    """The first line that sets or opens `key`; 1 when it cannot be told."""
    pattern = re.compile(rf"^\s*(\[+[^\]]*\b)?[\"']?{re.escape(key)}[\"']?\s*[\]=.]")
    return next((i for i, line in enumerate(text.splitlines(), 1) if pattern.match(line)), 1)
