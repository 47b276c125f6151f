"""A Ray cluster of several nodes on this machine, in a process of its own, whose nodes can be killed and added.

python bench/ray_nodes.py 3        says its address and nodes as JSON, a line a change; reads "add" and "end"
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

STORE = 80_000_000  # bytes of shared memory a node


@dataclass
class Nodes:
    """The cluster under way: its addresses, `client` for who is no node of it, and each node's process."""

    process: subprocess.Popen[str]
    address: str = ""
    client: str = ""
    pids: list[int] = field(default_factory=list)

    def heard(self) -> None:
        """Takes in what the process says next. Raises `RuntimeError` where it ended."""
        said = self.process.stdout.readline() if self.process.stdout else ""
        while said and not said.startswith("{"):
            said = self.process.stdout.readline() if self.process.stdout else ""
        if not said:
            raise RuntimeError("the cluster did not start")
        found = json.loads(said)
        self.address, self.client, self.pids = found["address"], found["client"], found["nodes"]

    def add(self) -> None:
        """One more node."""
        self._tell("add")
        self.heard()

    def kill(self, number: int) -> None:
        """SIGKILL to a node and to all that runs on it; number 0 is the head."""
        pid = self.pids[number]
        for one in (pid, *descendants(pid)):
            try:
                os.kill(one, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def actors(self, number: int) -> list[int]:
        """The processes on a node that hold an engine."""
        return [pid for pid in descendants(self.pids[number]) if "ray::Node" in _command(pid)]

    def end(self) -> None:
        """Ends it, whatever is left of it."""
        pids = [one for pid in (self.process.pid, *self.pids) for one in (*descendants(pid), pid)]
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
        for pid in pids:
            if "ray" in _command(pid):
                os.kill(pid, signal.SIGKILL)

    def _tell(self, words: str) -> None:
        if self.process.stdin is not None:
            self.process.stdin.write(words + "\n")
            self.process.stdin.flush()


@contextmanager
def nodes(count: int, environment: dict[str, str]) -> Iterator[Nodes]:
    """A cluster of so many nodes, one processor each, in this environment."""
    words = [sys.executable, str(Path(__file__).resolve()), str(count)]
    env = environment | {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DISABLE_IMPORT_WARNING": "1"}
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)
    found = Nodes(process)
    try:
        found.heard()
        yield found
    finally:
        found.end()


def own_address() -> str:
    """What Ray takes for the address of nodes on this machine, whatever it is told."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        try:
            line.connect(("192.0.2.1", 9))  # nothing is sent
        except OSError:
            return "127.0.0.1"
        return str(line.getsockname()[0])


def descendants(pid: int) -> list[int]:
    """Every process that `pid` started, and that those started."""
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
        parents.setdefault(parent, []).append(int(path.parent.name))
    found, todo = [], [pid]
    while todo:
        todo = [child for one in todo for child in parents.get(one, [])]
        found += todo
    return found


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def main() -> None:
    """Starts the cluster, and does as it is told until it is told to end."""
    from ray._private.ray_constants import PROCESS_TYPE_RAYLET
    from ray.cluster_utils import Cluster

    how: dict[str, Any] = {"num_cpus": 1, "object_store_memory": STORE}
    with socket.create_server(("", 0)) as free:
        port = free.getsockname()[1]
    head = how | {"include_dashboard": False, "ray_client_server_port": port}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    started = [cluster.head_node]
    started += [cluster.add_node(**how) for _ in range(int(sys.argv[1]) - 1)]

    def say() -> None:
        pids = [node.all_processes[PROCESS_TYPE_RAYLET][0].process.pid for node in started]
        client = f"ray://{own_address()}:{port}"
        print(json.dumps({"address": cluster.address, "client": client, "nodes": pids}), flush=True)

    def end(*_: object) -> None:
        cluster.shutdown()
        time.sleep(0.1)
        sys.exit(0)

    signal.signal(signal.SIGTERM, end)
    say()
    for line in sys.stdin:
        if line.strip() == "add":
            started.append(cluster.add_node(**how))
            say()
    end()


if __name__ == "__main__":
    main()
