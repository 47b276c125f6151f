"""The balancers' files are theirs, and with one of them replicas are replaced one by one while calls go on."""

import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2 as httpx
import openai
import pytest
from deployed import DEPLOY

needs_haproxy = pytest.mark.skipif(not shutil.which("haproxy"), reason="no haproxy here")


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, check=False)


@needs_haproxy
@pytest.mark.parametrize("place", ["balancer/haproxy.cfg", "compose/haproxy.cfg"])
def test_haproxy_takes_its_file(place: str) -> None:
    done = run("haproxy", "-c", "-f", str(DEPLOY / place))
    assert done.returncode == 0, done.stderr
    assert "warning" not in (done.stdout + done.stderr).lower()


@pytest.mark.skipif(not shutil.which("nginx"), reason="no nginx here")
def test_nginx_takes_its_file(tmp_path: Path) -> None:
    text = (DEPLOY / "balancer" / "nginx.conf").read_text("utf-8")
    module = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
    if "--with-stream=dynamic" in run("nginx", "-V").stderr:
        if not module.exists():
            pytest.skip("nginx has no stream module here")
        text = f"load_module {module};\n{text}"
    (tmp_path / "nginx.conf").write_text(f"pid {tmp_path}/pid;\nerror_log stderr;\n{text}", "utf-8")
    done = run("nginx", "-t", "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf"))
    assert done.returncode == 0, done.stderr


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def balanced(folder: Path, ports: list[int]) -> Iterator[tuple[str, str]]:
    """HAProxy with the file of deploy/, on free ports: where calls go, and where people do."""
    calls, people = free_port(), free_port()
    text = (DEPLOY / "balancer" / "haproxy.cfg").read_text("utf-8")
    for old, new in zip((8443, 8444, 8081, 8082), (calls, people, *ports), strict=True):
        assert f"127.0.0.1:{old}" in text
        text = text.replace(f"127.0.0.1:{old}", f"127.0.0.1:{new}")
    (folder / "haproxy.cfg").write_text(text, "utf-8")
    with subprocess.Popen(["haproxy", "-db", "-f", str(folder / "haproxy.cfg")]) as process:
        try:
            yield f"http://127.0.0.1:{calls}", f"http://127.0.0.1:{people}"
        finally:
            process.terminate()


def gateway(root: Path, port: int) -> subprocess.Popen[bytes]:
    """A gateway that answers."""
    words = [sys.executable, "-m", "insource", "-C", str(root), "serve", "--port", str(port)]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while time.monotonic() < until:
        assert process.poll() is None, "the gateway ended"
        try:
            if httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=5).status_code == 200:
                return process
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError("the gateway was not ready in 60 s")


def signed_in_anew(url: str) -> int:
    """How often somebody who opens the console twenty times, each on a new connection, is unknown there."""
    with httpx.Client(base_url=url, headers={"connection": "close"}) as browser:
        assert "set-cookie" in browser.get("/console/").headers
        return sum("set-cookie" in browser.get("/console/").headers for _ in range(20))


class Callers:
    """Some callers with the official client, as it is: each call is answered or failed."""

    def __init__(self, url: str, count: int) -> None:
        self.said = Counter[str]()
        self._stop, self._url = threading.Event(), url
        self._threads = [threading.Thread(target=self._call) for _ in range(count)]

    def __enter__(self) -> "Callers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def _call(self) -> None:
        client = openai.OpenAI(base_url=f"{self._url}/v1", api_key="none", timeout=20)
        while not self._stop.is_set():
            try:
                hello = client.chat.completions.create(model="hub", messages=[{"role": "user", "content": "hello"}])
                self.said[hello.choices[0].message.content or ""] += 1
            except openai.OpenAIError as error:
                self.said[f"failed: {type(error).__name__}"] += 1


@needs_haproxy
@pytest.mark.slow
@pytest.mark.parametrize("store", ["sqlite", "postgresql"])
def test_replicas_are_replaced_one_by_one_and_no_call_fails(
    store: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    root = tmp_path / "workspace"
    root.mkdir()
    settings = '[engines.hub]\nkind = "scripted"\nscript = "hub.jsonl"\n'
    if store == "postgresql":
        settings += f'[store]\nurl = "{request.getfixturevalue("postgres").url}?schema=replaced"\n'
    (root / "insource.toml").write_text(settings, "utf-8")
    (root / "hub.jsonl").write_text('{"match": "*", "text": "yes", "delay_s": 0.02}\n', "utf-8")
    ports = [free_port(), free_port()]
    running = [gateway(root, port) for port in ports]
    try:
        with balanced(tmp_path, ports) as (url, people):
            time.sleep(3)
            assert signed_in_anew(people) == 0
            assert signed_in_anew(url) > 0, "the control: whoever is free next"
            with Callers(url, 8) as callers:
                time.sleep(2)
                for i, port in enumerate(ports):
                    before = callers.said["yes"]
                    running[i].send_signal(signal.SIGTERM)
                    assert running[i].wait(40) == 0
                    running[i] = gateway(root, port)
                    time.sleep(3)
                    assert callers.said["yes"] > before
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait(40)
    assert set(callers.said) == {"yes"}, callers.said
    told = run(sys.executable, "-m", "insource", "-C", str(root), "audit", "verify")
    assert told.returncode == 0, told.stderr
