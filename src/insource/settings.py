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
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

import msgspec

from insource.errors import Invalid, Missing
from insource.nouns import (
    Governing,
    JsonObject,
    Levels,
    Limits,
    Networks,
    Noun,
    Observe,
    Output,
    Reviewing,
    Risk,
    Rollout,
    Route,
    Scan,
    Task,
    scan_faults,
    visible,
)
from insource.nouns.artefacts import Artefacts
from insource.nouns.assessment import Migrating
from insource.nouns.pricing import PriceSettings, TaskPricing
from insource.nouns.sections import (
    AuditSettings,
    CacheSettings,
    EngineSettings,
    RiskSettings,
    RouterSettings,
    ServeSettings,
    StoreSettings,
    WorkspaceSettings,
)
from insource.nouns.signing import Signing
from insource.nouns.suitability import Answers
from insource.nouns.unknown import unknown
from insource.nouns.watching import Alerting, Backups, Watching

__all__ = [  # what is handed on from below; all that is defined here is public by its name
    "AuditSettings",
    "CacheSettings",
    "EngineSettings",
    "RiskSettings",
    "RouterSettings",
    "ServeSettings",
    "StoreSettings",
    "WorkspaceSettings",
]

T = TypeVar("T")
CONFIG = "insource.toml"
STATE = ".insource"


class _ScanFile(Noun, frozen=True, kw_only=True):
    input: dict[str, str] = {}
    output: dict[str, str] = {}
    own_terms: str | list[str] = []
    restore: bool = True


class _Sections(Noun, frozen=True, kw_only=True):
    """The sections of `insource.toml` that are handed on as they are read."""

    workspace: WorkspaceSettings = WorkspaceSettings()
    store: StoreSettings = StoreSettings()
    artefacts: Artefacts = Artefacts()
    serve: ServeSettings = ServeSettings()
    audit: AuditSettings = AuditSettings()
    observe: Observe = Observe()
    router: RouterSettings = RouterSettings()
    engines: dict[str, EngineSettings] = {}
    tenants: dict[str, Limits] = {}
    alerts: Alerting = Alerting()
    backup: Backups = Backups()
    signing: Signing = Signing()
    price: PriceSettings = PriceSettings()


class _File(_Sections, frozen=True, kw_only=True):
    networks: dict[str, tuple[str, ...]] = {}
    cache: CacheSettings = CacheSettings()
    scan: _ScanFile = _ScanFile()


class Settings(_Sections, frozen=True, kw_only=True):
    """Everything a door needs to know, read once. `root` is the workspace, `cache` where base models are kept.

    `tenants` are the limits that all keys of a tenant share; `scan` is for calls that are passed through to an engine;
    `answers` is the section `[cache]`.
    """

    root: Path
    cache: Path
    networks: Networks = Networks()
    answers: CacheSettings = CacheSettings()
    scan: Scan = Scan()

    @property
    def state(self) -> Path:
        """The folder of the workspace's own state."""
        return self.root / STATE


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
    risk: RiskSettings = RiskSettings()
    route: tuple[Route, ...] = ()
    sensitivity: str | list[str] = "premises"
    owner: str = ""
    cache: bool | None = None
    levels: Levels = Levels()
    rollout: Rollout = Rollout()
    review: Reviewing = Reviewing()
    watch: Watching = Watching()
    price: TaskPricing = TaskPricing()
    suitability: Answers = Answers()
    govern: Governing = Governing()
    migrate: Migrating = Migrating()
    scan: _ScanFile = _ScanFile()


def load_settings(root: Path, environ: Mapping[str, str] | None = None) -> Settings:
    """The settings of the workspace at `root`. Raises `Missing` without insource.toml, `Invalid` on any fault."""
    path = root / CONFIG
    if not path.is_file():
        raise Missing(f"{root} is no insource workspace: it has no {CONFIG}", hint="insource init DIR makes one")
    file = _read(path, _File)
    return Settings(
        root=root.resolve(),
        cache=cache_folder(environ),
        networks=_convert(path, {"places": file.networks}, Networks),
        answers=file.cache,
        scan=_scan(path, file.scan, root, queue=False),
        **{name: getattr(file, name) for name in _Sections.__struct_fields__}
        | {"store": _store(path, file.store, environ)},
    )


def _store(path: Path, file: StoreSettings, environ: Mapping[str, str] | None) -> StoreSettings:
    if urlsplit(file.url).password:
        hint = "leave it out there: PGPASSWORD, ~/.pgpass, or the whole url in INSOURCE_STORE_URL"
        raise Invalid(f"{path}: store.url holds a password", hint=hint, at=str(path))
    return StoreSettings(url=secret("INSOURCE_STORE_URL", environ) or file.url)


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


def load_rollout(settings: Settings, name: str) -> Rollout:
    """How releases of the task called `name` come to answer all traffic. Raises as `load_task` does."""
    return task_file(settings, name)[1].rollout


def load_task(settings: Settings, name: str) -> Task:
    """The task called `name`. Raises `Missing` (with the nearest name) or `Invalid` (file, line, key)."""
    return _task(*task_file(settings, name))


def task_file(settings: Settings, name: str) -> tuple[Path, _TaskFile]:
    """The file of the task called `name`, and what stands in it. Raises as `load_task` does."""
    path = settings.root / "tasks" / f"{name}.toml"
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,63}", name) or not path.is_file():
        near = difflib.get_close_matches(name, known := task_names(settings), n=1)
        hint = f"did you mean {near[0]}?" if near else f"tasks here: {', '.join(known) or 'none yet'}"
        raise Missing(f"there is no task {name!r} in {settings.root / 'tasks'}", hint=hint)
    if (file := _read(path, _TaskFile)).name != name:
        raise Invalid(f"{path}: name is {file.name!r}, but the file is called {path.name}", hint=f'name = "{name}"')
    return path, file


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
    task = Task(
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
        scan=_scan(path, file.scan, path.parent.parent),
    )
    unknown = [name for name in file.risk.field_limits(task.fields) if name not in task.fields]
    if unknown:
        hint = f"there are {', '.join(task.fields)}"
        raise Invalid(f"{path}: risk.fields names {unknown[0]!r}, which is no field of the task", hint=hint)
    return task


def _scan(path: Path, file: _ScanFile, root: Path, *, queue: bool = True) -> Scan:
    terms = file.own_terms if isinstance(file.own_terms, list) else _lines(root / file.own_terms, "terms")
    sides = {"input": file.input, "output": file.output}
    wrong = scan_faults(sides, terms, queue=queue)
    if wrong:
        raise Invalid(
            "\n".join(f"{path}: {each}" for each in wrong), hint="see docs/reference/settings.md", at=str(path)
        )
    said = {side: {"actions": actions} for side, actions in sides.items()}
    return _convert(path, {**said, "own_terms": terms, "restore": file.restore}, Scan)


def _output(path: Path, name: str, file: _OutputFile) -> Output:
    if (file.labels is None) == (file.taxonomy is None):
        raise Invalid(f"{path}: outputs.{name} needs either labels or taxonomy", at=str(path))
    given = file.labels if file.labels is not None else file.taxonomy
    labels = given if isinstance(given, list) else _lines(path.parent.parent / str(given), "labels")
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


def _lines(path: Path, what: str) -> list[str]:
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise Missing(f"the {what} file {path} cannot be read: {error.strerror}", hint="one a line") from error
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
    problems = [f"{path}:{_line(text, key)}: {message}" for key, message in unknown(data, kind)]
    if problems:
        raise Invalid("\n".join(problems), hint="keys are listed in docs/reference/settings.md", at=str(path))
    return _convert(path, data, kind)


def _convert(path: Path, data: object, kind: type[T]) -> T:
    try:
        return msgspec.convert(data, type=kind)
    except msgspec.ValidationError as error:
        said = _named(str(error), data, kind)
        raise Invalid(f"{path}: {said}", hint="see docs/reference/settings.md", at=str(path)) from error


def _named(error: str, data: object, kind: type) -> str:
    """The error with the name of the table it is in, for which msgspec writes `[...]`: `$.engines[...].model`."""
    found = re.search(r"\$\.(\w+)\[\.\.\.\]", error)
    if not found or not isinstance(data, dict):
        return error
    for name, value in data[found[1]].items():
        try:
            msgspec.convert(data | {found[1]: {name: value}}, type=kind)
        except msgspec.ValidationError as one:
            if str(one) == error:
                return error.replace("[...]", f".{name}", 1)
    return error


def _line(text: str, key: str) -> int:
    """The first line that sets or opens `key`; 1 when it cannot be told."""
    pattern = re.compile(rf"^\s*(\[+[^\]]*\b)?[\"']?{re.escape(key)}[\"']?\s*[\]=.]")
    return next((i for i, line in enumerate(text.splitlines(), 1) if pattern.match(line)), 1)
