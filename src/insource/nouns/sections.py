"""The sections of `insource.toml`, each a noun: what is not there has its default, what is unknown is an error."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from insource.nouns.base import Noun
from insource.nouns.replicas import replica_names

Share = Annotated[float, Meta(ge=0, le=1)]
Seconds = Annotated[float, Meta(gt=0, le=86_400)]


class EngineSettings(Noun, frozen=True, kw_only=True):
    """`[engines.NAME]`: a server, a base model in this process, or a scripted engine (`script` is a JSON lines file).

    `kind` is how the server is spoken to, a table of `engines/dialects.toml`; "openai" is any with the OpenAI API.
    "embedded" is the base model `model`, untuned, the workspace's own where none is named.
    `replicas` are the addresses of several servers of one engine, in the place of `base_url`; all else is the same for
    all of them: the key, the region, the price, and the limits, which are theirs together.
    `retries` is how often an answer that breaks the task's contract is asked for again, within the call's deadline.
    `api_key_env` names the environment variable that holds the key; the key itself is never written in a file.
    Prices are US dollars per million tokens. `context` is how many tokens the model reads at once; a longer document
    goes to it in windows, 0 sends every document whole. `region` is where the data goes; "premises" never leaves.
    A server is waited for `connect_s` for a connection, `first_byte_s` for the first byte of its answer, `idle_s`
    between its bytes, and `timeout_s` in all. So many calls as `max_concurrent` are with it at once, `max_waiting`
    more wait. With `breaker` it is left alone for a while after failures; what took longer than `slow_s` is one.
    Connections go through `proxy`, http://HOST:PORT, where one is named; `proxy_auth_env` names the variable with its
    USER:PASSWORD.
    `otherwise` names the engines that are asked, in order, when this one fails before its first word. `cache` says
    whether answers to calls by its name are given again; None leaves it to the workspace, where it has no `region`.
    `teach` is what its owner says of the provider's terms: whether a model may be trained on its answers.
    """

    kind: Literal[
        "openai", "vllm", "llamacpp", "ollama", "tgi", "lmdeploy", "anthropic", "groq", "together", "embedded",
        "scripted",
    ]  # fmt: skip
    base_url: str = ""
    replicas: Annotated[tuple[str, ...], Meta(min_length=1, max_length=100)] = ()
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
    proxy: str = ""
    proxy_auth_env: str = ""
    cache: bool | None = None
    context: Annotated[int, Meta(ge=0, le=100_000_000)] = 0
    retries: Annotated[int, Meta(ge=0, le=10)] = 1
    usd_per_million_input: Annotated[float, Meta(ge=0, le=1e9)] = 0.0
    usd_per_million_output: Annotated[float, Meta(ge=0, le=1e9)] = 0.0
    teach: Literal["", "allowed", "forbidden"] = ""

    def __post_init__(self) -> None:
        if not self.replicas:
            return
        if self.base_url:
            raise ValueError("base_url names one server and replicas several: keep one of them")
        if self.kind in ("embedded", "scripted"):
            raise ValueError(f"kind {self.kind} has no server, so it has no replicas either")
        replica_names(self.replicas)

    @property
    def servers(self) -> tuple[str, ...]:
        """The address of each server, one unless there are replicas."""
        return self.replicas or (self.base_url,)

    @property
    def address(self) -> str:
        """All of the addresses in one text, the same in whatever order replicas are given; empty for none."""
        return " ".join(sorted(self.servers))

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
    """`[store]`: `url` is empty for SQLite in the workspace, else postgresql://USER@HOST/DATABASE?schema=NAME."""

    url: str = ""


class ServeSettings(Noun, frozen=True, kw_only=True):
    """`[serve]`: where the gateway listens, how many calls may wait, and the largest body and file in bytes.

    It runs in so many processes as `workers`. Gateways that share a store share the limits of keys and tenants: what
    one holds of them it may use for `lease_s` seconds after it last reached the store.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8080
    queue: Annotated[int, Meta(ge=1, le=1_000_000)] = 512
    max_body_bytes: Annotated[int, Meta(ge=1024, le=2**31)] = 4_000_000
    workers: Annotated[int, Meta(ge=1, le=1024)] = 1
    lease_s: Annotated[float, Meta(ge=5, le=3600)] = 120.0
    max_file_bytes: Annotated[int, Meta(ge=1024, le=2**31)] = 100_000_000


class CacheSettings(Noun, frozen=True, kw_only=True):
    """`[cache]`: answers that a gateway keeps in its memory, and gives again to the same call of the same tenant.

    `on` is for what may go anywhere: tasks of sensitivity "any", engines without a region. Any other says so itself.
    An answer goes when it is `max_age_s` seconds old, and the oldest go first where there are more than `max_entries`
    or they take more than `max_bytes`. For the tenants in `not_for` none is kept.
    """

    on: bool = False
    max_entries: Annotated[int, Meta(ge=1, le=100_000_000)] = 10_000
    max_bytes: Annotated[int, Meta(ge=1024, le=2**40)] = 64_000_000
    max_age_s: Annotated[float, Meta(gt=0, le=31_536_000)] = 3600.0
    not_for: tuple[str, ...] = ()


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
    With `sync` "call" a call is on the disk before it goes on. With "second" the disk follows once a second: a killed
    process loses nothing, a power cut what was told in the last second.
    While the store takes no rows, or needs more than `spool_after_s` for one, calls are put on record in the folder
    `spool` (empty: they are refused), which holds `spool_bytes` at most.
    """

    sync: Literal["call", "second"] = "call"
    checkpoints: str = ""
    checkpoint_s: Annotated[float, Meta(ge=1, le=86_400)] = 60.0
    keep_days: Annotated[int, Meta(ge=0, le=36_500)] = 400
    keep_calls: Annotated[int, Meta(ge=1_000, le=1_000_000_000)] = 10_000_000
    spool: str = ""
    spool_bytes: Annotated[int, Meta(ge=65_536, le=10**13)] = 1_000_000_000
    spool_after_s: Annotated[float, Meta(ge=0.05, le=60)] = 2.0


class RiskSettings(Noun, frozen=True, kw_only=True):
    """`[risk]` of a task's file. What `nouns.Risk` has of it is the task's; the rest is said of whoever answers it now.

    Of the answers given automatically a person looks at the share `audit`, drawn by chance. Of inputs like the rows
    held out a share `out_of_scope` may be taken for strange; 0 looks at none. `fields` is the share of wrong values
    tolerated among those given automatically, of every field or of each that is named.
    """

    max_error: float | None = None
    threshold: float | None = None
    otherwise: tuple[str, ...] | str = msgspec.field(name="else", default=("review",))
    audit: Share = 0.0
    out_of_scope: Annotated[float, Meta(ge=0, le=0.5)] = 0.0
    fields: Share | dict[str, Share] = {}

    def field_limits(self, names: tuple[str, ...]) -> dict[str, float]:
        """Field → the share of wrong values tolerated."""
        return dict(self.fields) if isinstance(self.fields, dict) else dict.fromkeys(names, self.fields)
