"""The gateways that `gateway.py` compares: how each is installed, started and called, with one upstream behind all.

Peers come from their registries, each into a folder of its own below the cache; a second run finds them there. nginx
and wrk are taken from the system (Debian: apt-get install nginx wrk).
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from insource.settings import inherited_environment

PACKAGES = {"taskset": "util-linux"}
UPSTREAM, OURS, NGINX, PORTKEY, LITELLM, RELAXED, SOURCES = 9100, 9101, 9102, 9103, 9104, 9105, 9106
ANSWER = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1700000000,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Lorem ipsum dolor sit amet. " * 8},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 300, "completion_tokens": 45, "total_tokens": 345},
    },
    separators=(",", ":"),
)
SERVER = """
worker_processes 1; daemon off; pid {folder}/{name}.pid; error_log {folder}/{name}.log crit;
events {{ worker_connections 8192; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 3600; client_body_buffer_size 64k;
  client_body_temp_path {folder}/{name}.body; proxy_temp_path {folder}/{name}.proxy;
  {more}
  server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ {location} }} }}
}}
"""
WORKSPACE = """
[serve]
queue = 4096
[engines.hub]
kind = "openai"
base_url = "http://127.0.0.1:{port}/v1"
model = "m"
region = "premises"
usd_per_million_input = 0.1
usd_per_million_output = 0.4
"""
LITELLM_CONFIG = """
model_list:
  - model_name: hub
    litellm_params: {{model: openai/m, api_base: "http://127.0.0.1:{port}/v1", api_key: none}}
litellm_settings: {{telemetry: false}}
"""
PORTKEY_PACKAGE, LITELLM_PACKAGES = "@portkey-ai/gateway@1.15.2", ("litellm[proxy]==1.106.2",)
TELEMETRY = ("opentelemetry-api", "opentelemetry-sdk", "opentelemetry-exporter-otlp")


@dataclass(frozen=True)
class Peer:
    """A gateway that can be started: its command, environment, where it listens, and the headers it needs."""

    name: str
    port: int
    command: list[str]
    headers: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)


def environment() -> dict[str, str]:
    """What a peer inherits: nothing that would reach our own package."""
    return {key: value for key, value in inherited_environment().items() if key != "PYTHONPATH"}


def nginx(folder: Path, name: str, port: int, location: str, more: str = "") -> list[str]:
    """The command of an nginx with one location."""
    config = folder / f"{name}.conf"
    config.write_text(SERVER.format(folder=folder, name=name, port=port, location=location, more=more), "utf-8")
    return [shutil.which("nginx") or "/usr/sbin/nginx", "-c", str(config), "-p", str(folder)]


def upstream(folder: Path) -> Peer:
    """The server behind them all: one answer of half a kilobyte, whatever is asked."""
    location = f"default_type application/json; return 200 '{ANSWER}';"
    return Peer("direct", UPSTREAM, nginx(folder, "upstream", UPSTREAM, location))


def proxied(folder: Path) -> Peer:
    """An nginx that passes calls on over connections it keeps: the practical limit."""
    more = f"upstream up {{ server 127.0.0.1:{UPSTREAM}; keepalive 512; }}"
    location = 'proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection "";'
    return Peer("nginx", NGINX, nginx(folder, "nginx", NGINX, location, more))


def ours(folder: Path) -> Peer:
    """Ours, with a key that has every kind of limit, and the audit as durable as it comes."""
    return _ours("insource", folder / "workspace", OURS)


def relaxed(folder: Path) -> Peer:
    """Ours, where the disk follows the audit once a second."""
    return _ours("relaxed", folder / "relaxed", RELAXED, '[audit]\nsync = "second"\n')


def sources(folder: Path) -> Peer:
    """Ours, without the machine code that PYTHONPATH may lead to."""
    return replace(_ours("sources", folder / "sources", SOURCES), environment=environment())


def _ours(name: str, workspace: Path, port: int, more: str = "") -> Peer:
    insource = [sys.executable, "-m", "insource"]
    if not workspace.exists():
        subprocess.run([*insource, "init", str(workspace)], check=True, capture_output=True)
        (workspace / "insource.toml").write_text(WORKSPACE.format(port=UPSTREAM) + more, "utf-8")
    limits = ["--requests-per-minute", "900000000", "--tokens-per-minute", "900000000000", "--concurrent", "100000"]
    limits += ["--usd-per-day", "1000000", "--usd-per-month", "10000000"]
    made = subprocess.run([*insource, "-C", str(workspace), "keys", "create", "bench", *limits, "--json"],
                          check=True, capture_output=True)  # fmt: skip
    key = json.loads(made.stdout)["key"]
    command = [*insource, "-C", str(workspace), "serve", "--port", str(port)]
    return Peer(name, port, command, {"Authorization": f"Bearer {key}"}, inherited_environment())


def portkey(folder: Path) -> Peer:
    """Portkey's gateway, from npm."""
    home = folder / "portkey"
    if not (home / "node_modules").exists():
        home.mkdir(exist_ok=True)
        subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--prefix", str(home), PORTKEY_PACKAGE],
                       check=True, stdout=sys.stderr)  # fmt: skip
    script = home / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    headers = {"x-portkey-provider": "openai", "Authorization": "Bearer none"}
    headers["x-portkey-custom-host"] = f"http://127.0.0.1:{UPSTREAM}/v1"
    return Peer("portkey", PORTKEY, ["node", str(script), f"--port={PORTKEY}", "--headless"], headers,
                {"NODE_ENV": "production"})  # fmt: skip


def litellm(folder: Path) -> Peer:
    """LiteLLM's proxy, from PyPI, in an environment of its own and compiled, with a key to check."""
    home = folder / "litellm"
    python = home / "bin" / "python"
    if not (home / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *LITELLM_PACKAGES, *TELEMETRY], check=True,
                       stdout=sys.stderr)  # fmt: skip
        subprocess.run([str(python), "-m", "compileall", "-q", str(home / "lib")], check=False, capture_output=True)
        (home / "ready").touch()
    config = home / "config.yaml"
    config.write_text(LITELLM_CONFIG.format(port=UPSTREAM), "utf-8")
    command = [str(home / "bin" / "litellm"), "--config", str(config), "--port", str(LITELLM), "--num_workers", "1"]
    return Peer("litellm", LITELLM, command, {"Authorization": "Bearer sk-bench"},
                {"LITELLM_MASTER_KEY": "sk-bench", "LITELLM_LOG": "ERROR"})  # fmt: skip


PEERS: dict[str, Callable[[Path], Peer]] = {
    "nginx": proxied,
    "insource": ours,
    "relaxed": relaxed,
    "sources": sources,
    "portkey": portkey,
    "litellm": litellm,
}


def require(*tools: str) -> None:
    """Ends the program where one of these, or a second core, is missing."""
    missing = [tool for tool in tools if not (shutil.which(tool) or Path(f"/usr/sbin/{tool}").exists())]
    if missing or (os.cpu_count() or 1) < 2:
        packages = " ".join(PACKAGES.get(tool, tool) for tool in tools)
        sys.exit(f"needs two cores and {', '.join(missing) or 'nothing else'}: apt-get install {packages}")


@contextmanager
def running(peer: Peer, core: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The peer's process, on one core, until the block ends."""
    with log.open("ab") as out:
        process = subprocess.Popen(["taskset", "-c", str(core), *peer.command], stdout=out, stderr=out,
                                   env=environment() | peer.environment, start_new_session=True)  # fmt: skip
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
