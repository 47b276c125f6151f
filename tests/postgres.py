"""A PostgreSQL server of the tests' own: a real one, in a folder, on a free port of this machine."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PLACES = ("/usr/lib/postgresql/*/bin", "/usr/local/pgsql/bin")
QUICK = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "on", "max_connections": "300"}


def programs() -> Path | None:
    """The folder of initdb and postgres, of the newest version there is; None without one."""
    found = [path for place in PLACES for path in Path("/").glob(place.lstrip("/")) if (path / "initdb").exists()]
    if not found and (there := shutil.which("initdb")):
        return Path(there).resolve().parent
    return max(found, default=None)


class Postgres:
    """A server that can be stopped, killed and started again, and is gone after `remove`.

    Its folder is not pytest's: others must be able to enter it, for PostgreSQL refuses to be run by root.
    """

    def __init__(self, *, durable: bool = False, host: str = "127.0.0.1") -> None:
        self.folder, self.host, self.port = Path(tempfile.mkdtemp(prefix="insource-postgres-")), host, free_port(host)
        self._options = {} if durable else QUICK
        self._process: subprocess.Popen[bytes] | None = None
        self._bin = programs()
        assert self._bin is not None, "no PostgreSQL on this machine: apt-get install postgresql"
        self.run("initdb", "-D", str(self.folder / "data"), "-U", "insource", "-A", "trust", "--locale=C.UTF-8", "-N")

    @property
    def url(self) -> str:
        """Of the database that every server has."""
        return f"postgresql://insource@{self.host}:{self.port}/postgres"

    def run(self, program: str, *arguments: str) -> str:
        """What one of PostgreSQL's programs says."""
        self._own()
        command = [str(self._bin / program), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, user=self._user, cwd=self.folder, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def sql(self, statement: str) -> str:
        """What psql says to it."""
        return self.run("psql", "-X", "-A", "-t", "-c", statement, self.url).strip()

    def start(self) -> None:
        """Returns when it takes connections."""
        options = {"port": self.port, "listen_addresses": self.host, "unix_socket_directories": "", **self._options}
        words = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        self._own()
        with (self.folder / "log").open("ab") as log:
            command = [str(self._bin / "postgres"), "-D", str(self.folder / "data"), *words]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, user=self._user, cwd=self.folder)
        until = time.monotonic() + 60
        while not self._answers():
            assert self._process.poll() is None and time.monotonic() < until, (self.folder / "log").read_text("utf-8")
            time.sleep(0.02)

    def stop(self, how: int = signal.SIGINT) -> None:
        """Ends it: SIGINT lets go of everybody at once, SIGKILL of the first process is a crash."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(60)
            self._process = None
            if how == signal.SIGKILL:  # its children see that it is gone; the lock is theirs until then
                time.sleep(0.5)
                with suppress(FileNotFoundError):
                    (self.folder / "data" / "postmaster.pid").unlink()

    def remove(self) -> None:
        """Stops it, and takes its folder away."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _answers(self) -> bool:
        ready = [str(self._bin / "pg_isready"), "-q", "-h", self.host, "-p", str(self.port), "-U", "insource"]
        return subprocess.run(ready, check=False).returncode == 0

    @property
    def _user(self) -> str | None:
        return "postgres" if os.geteuid() == 0 else None

    def _own(self) -> None:
        if self._user is not None:
            shutil.chown(self.folder, self._user)


@contextmanager
def server(*, durable: bool = False) -> Iterator[Postgres]:
    """One that runs, and is gone afterwards."""
    made = Postgres(durable=durable)
    try:
        made.start()
        yield made
    finally:
        made.remove()


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
