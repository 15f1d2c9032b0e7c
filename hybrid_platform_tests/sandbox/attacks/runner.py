"""Runner of one attack under one isolation. It judges only the effect: data at the listener, and changed files."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

import hybrid_platform_tests
from hybrid_platform.domain.isolation import IsolationEvidence
from hybrid_platform.sandbox.listener import Listener
from hybrid_platform.sandbox.spawn import SpawnOptions, spawn
from hybrid_platform_tests.sandbox.attacks.attacker import Job, Result
from hybrid_platform_tests.sandbox.attacks.catalogue import Attack
from hybrid_platform_tests.sandbox.attacks.target import Target

Under = Literal["nothing", "thread", "process"]
ATTACKER = "hybrid_platform_tests.sandbox.attacks.attacker"
TIMEOUT_S = 60.0
SECRET = b"-----BEGIN PRIVATE KEY----- of the runner"


class Outcome(NamedTuple):
    """Outcome of an attack."""

    got_out: bool
    result: Result
    evidence: IsolationEvidence | None


class AttackRunner:
    """Listeners, a connected socket, a secret in memory and a host process for forks; each attack gets new files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._runs = 0
        self._stack = contextlib.ExitStack()
        self._listener = self._stack.enter_context(Listener())
        self._unix = self._stack.enter_context(socket.socket(socket.AF_UNIX))
        self._unix_path = str(folder / "listener")
        self._unix.bind(self._unix_path)
        self._unix.listen(128)
        self._unix.setblocking(False)
        with socket.create_server(("127.0.0.1", 0)) as server:
            self._connected = self._stack.enter_context(socket.create_connection(server.getsockname()))
            self._peer = self._stack.enter_context(server.accept()[0])
        self._connected.set_inheritable(True)  # the worst case: only the clean start keeps it from a child
        self._peer.setblocking(False)
        self._secret = ctypes.create_string_buffer(SECRET)
        self._host = subprocess.Popen(
            [sys.executable, "-m", ATTACKER, "--host"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=_checkout()
        )
        self._stack.callback(self._end, self._host)

    def close(self) -> None:
        """End the host and close the sockets."""
        self._stack.close()

    def run(self, attack: Attack, under: Under) -> Outcome:
        """Run an attack with a new token and new files."""
        self._runs += 1
        folder = self._folder / str(self._runs)
        with self._aim(folder) as target:
            evidence = None
            if under == "process":
                result, evidence = self._run_sandboxed(attack, target, folder)
            else:
                result = self._run_in_fork(Job(attack.name, msgspec.json.encode(target), thread=under == "thread"))
                evidence = result.evidence
            return Outcome(self._took_effect(attack, target, result), result, evidence)

    @contextlib.contextmanager
    def _aim(self, folder: Path) -> Iterator[Target]:
        """Create the files, and a process outside that must survive."""
        code, private = folder / "strategy", folder / "private"
        code.mkdir(parents=True)
        private.mkdir()
        (code / "__init__.py").write_text("")
        (private / "signing.key").write_bytes(SECRET)
        (private / "signing.key").chmod(0o600)
        (private / "session.json").write_text("{}")
        with contextlib.closing(sqlite3.connect(private / "bot.db")) as database, database:
            database.execute("CREATE TABLE trades (note TEXT)")
            database.execute("INSERT INTO trades VALUES ('as it was')")
        self._victim = victim = subprocess.Popen(["sleep", "600"])
        try:
            yield Target(
                token=f"token{self._runs}x",
                tcp=self._listener.address.tcp,
                udp=self._listener.address.udp,
                unix=self._unix_path,
                parent=os.getpid(),
                parent_socket=self._connected.fileno(),
                secret_address=ctypes.addressof(self._secret),
                key=str(private / "signing.key"),
                key_length=len(SECRET),
                database=str(private / "bot.db"),
                evidence=str(private / "session.json"),
                code=str(code / "__init__.py"),
                victim=victim.pid,
                descriptor=self._connected.fileno(),
            )
        finally:
            self._end(victim)

    def _run_sandboxed(self, attack: Attack, target: Target, folder: Path) -> tuple[Result, IsolationEvidence]:
        with spawn(
            ATTACKER,
            SpawnOptions(
                code=[Path(hybrid_platform_tests.__file__).parent, folder / "strategy"],
                private=[folder / "private"],
                pipes_from_child=("allowed", "result"),
                own_network=False,  # the filter must hold alone; another test covers the network namespace
                arguments=msgspec.json.encode(Job(attack.name, msgspec.json.encode(target))).decode(),
            ),
        ) as child:
            child.close_out(TIMEOUT_S)
            child.wait(TIMEOUT_S)
            readable = select.select([child.pipes["result"]], [], [], 0)[0]
            said = os.read(child.pipes["result"], 65_536) if readable else b""
            result = msgspec.json.decode(said, type=Result) if said else Result(None, "it returned nothing")
            return result, child.evidence()

    def _run_in_fork(self, job: Job) -> Result:
        assert self._host.stdin and self._host.stdout
        self._host.stdin.write(msgspec.json.encode(job) + b"\n")
        self._host.stdin.flush()
        line = self._host.stdout.readline().strip()
        return msgspec.json.decode(line, type=Result) if line else Result(None, "it returned nothing")

    def _took_effect(self, attack: Attack, target: Target, result: Result) -> bool:
        key, database, code = Path(target.key), Path(target.database), Path(target.code)
        match attack.effect:
            case "heard":
                return target.message in self._received()
            case "stolen":
                return result.said is not None and SECRET.decode() in result.said
            case "pth":
                return code.with_name(f"{target.token}.pth").exists()
            case "code":
                return target.token in code.read_text()
            case "row":
                with contextlib.closing(sqlite3.connect(database)) as connection:
                    return connection.execute("SELECT note FROM trades").fetchone() == (target.token,)
            case "emptied":
                return database.stat().st_size == 0
            case "evidence":
                return Path(target.evidence).read_text() == target.token
            case "gone":
                return not Path(target.evidence).exists()
            case "mode":
                return key.stat().st_mode & 0o777 != 0o600
            case "killed":
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._victim.wait(1)  # a signal takes a moment
                return self._victim.poll() is not None

    def _received(self) -> bytes:
        """Return all data that reached a listener, or arrived over the connection that was open before."""
        self._listener.count_arrivals()
        said = self._listener.received()
        with contextlib.suppress(BlockingIOError):
            while True:
                connection, _ = self._unix.accept()
                with connection:
                    said += connection.recv(65_536)
        with contextlib.suppress(BlockingIOError):
            said += self._peer.recv(65_536)
        return said

    @staticmethod
    def _end(process: subprocess.Popen[bytes]) -> None:
        process.kill()
        process.wait()


def _checkout() -> Path:
    return Path(hybrid_platform_tests.__file__).parents[1]
