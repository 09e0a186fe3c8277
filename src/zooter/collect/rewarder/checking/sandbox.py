"""Runs a Python program that nobody trusts, and says whether it ran to its end.

The program runs in its own process (`sandbox_worker.py`) and sees: an empty file system of its own in memory with the
interpreter and the system's libraries read-only, an environment of four harmless variables, no network (not even
this machine's), no other process. It is held to limits of time, memory, file size and processes; all that it started
dies with it. The namespaces come from Linux (`unshare`, part of util-linux), and need no privileges on most systems.

The walls are against harm. The verdict is not against fraud: program and tests share one process, so a program written
to fool these very tests can; one that merely leaves early, prints a lot or never ends cannot.
"""

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from zooter.errors import ConfigError

SANDBOX_WORKER = Path(__file__).with_name("sandbox_worker.py")
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "HOME": "/tmp", "LANG": "C.UTF-8", "OPENBLAS_NUM_THREADS": "1"}
NAMESPACES = ("--mount", "--net", "--pid", "--ipc", "--uts", "--fork", "--kill-child")
MIB = 2**20
VERDICT_BYTES = 4_096


@dataclass(frozen=True)
class Sandbox:
    """Limits of one program.

    Attributes:
        seconds: wall-clock time, with the tenth of a second that the interpreter takes to start.
        memory_mib: address space of each of its processes.
        file_mib: the largest file it may write; all of its files together may have four times as much.
        processes: processes and threads it may have at once.
        allow_unconfined: run it without a jail where Linux gives none: limits, environment and working folder hold,
            but it sees the network and every file that this user may read.
    """

    seconds: float = 10.0
    memory_mib: int = 1_024
    file_mib: int = 4
    processes: int = 8
    allow_unconfined: bool = False

    def runs(self, *program: str) -> bool:
        """Whether these texts, run one after the other, end without an error inside the limits.

        Raises:
            ConfigError: there is no jail here and `allow_unconfined` is not set.
        """
        return self._run(program, self._jailed)

    @cached_property
    def _jailed(self) -> bool:
        """Whether to use a jail; tried once."""
        reason = "no program `unshare`"
        if shutil.which("unshare"):
            try:
                if self._run(("pass",), True):
                    return True
                reason = "a program that does nothing did not end"
            except OSError as error:
                reason = str(error)
        if self.allow_unconfined:
            return False
        raise ConfigError(
            expected="Linux namespaces to lock Python tests in",
            found=reason,
            do="run where `unshare --user --net true` works, or set allow_unconfined=true: the tests then see the "
            "network and your files",
        )

    def _run(self, program: tuple[str, ...], jailed: bool) -> bool:
        token = secrets.token_hex(16)
        with tempfile.TemporaryDirectory(prefix="zooter-") as folder:
            job = {
                "program": program,
                "token": token,
                "root": folder if jailed else None,
                "shown": sorted({sys.prefix, sys.base_prefix, os.path.realpath(sys.base_prefix)}),
                "nobody": os.geteuid() == 0,
                "limits": self._limits(),
            }
            process = subprocess.Popen(
                [*(_unshare() if jailed else ()), sys.executable, "-I", str(SANDBOX_WORKER)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=ENVIRONMENT,
                cwd=folder,
                start_new_session=True,
            )
            return self._verdict(process, json.dumps(job).encode()) == token

    def _verdict(self, process: "subprocess.Popen[bytes]", job: bytes) -> str:
        """What was written after `ready`; nothing is read before the end, so that a flood of it blocks the writer.

        Raises:
            OSError: the program was not locked in.
        """
        assert process.stdin is not None
        assert process.stdout is not None
        with process.stdin, process.stdout:
            try:
                process.stdin.write(job)
                process.stdin.close()
                process.wait(self.seconds)
            except (subprocess.TimeoutExpired, BrokenPipeError):
                pass
            finally:
                _kill(process)
            # Without a jail something that got away may still hold the other end.
            os.set_blocking(process.stdout.fileno(), False)
            written = (process.stdout.read(VERDICT_BYTES) or b"").decode(errors="replace")
        reason, ready, rest = written.partition("ready")
        if not ready and process.returncode != -signal.SIGKILL:
            raise OSError(reason or f"`unshare` ended with {process.returncode}")
        return rest

    def _limits(self) -> dict[str, int]:
        return {
            "CPU": int(self.seconds) + 1,
            "AS": self.memory_mib * MIB,
            "FSIZE": self.file_mib * MIB,
            "NPROC": self.processes,
            "NOFILE": 64,
            "CORE": 0,
        }


def _unshare() -> list[str]:
    # The real root needs no user namespace, and inside one it could not become nobody.
    user = () if os.geteuid() == 0 else ("--user", "--map-root-user")
    return [shutil.which("unshare") or "unshare", *user, *NAMESPACES, "--"]


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """The process, its session, and with a jail everything in its process namespace."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
