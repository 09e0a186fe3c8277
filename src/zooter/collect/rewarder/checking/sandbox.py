"""Execute untrusted Python programs in isolated, limited processes.

A program runs in its own process (`sandbox_worker.py`). It sees an empty file system in memory, in which the
interpreter and the system's libraries are read-only; an environment of four variables; no network, not even this
machine's; and no other process. Its time, memory, file size and number of processes are limited, and all processes
that it started end with it. The namespaces come from Linux (`unshare`, part of util-linux), and need no privileges on
most systems.

A seccomp filter (`seccomp.py`) refuses memory that no limit counts and ways out of the namespaces. Where Linux takes
none, a warning says so once. Control groups are not used: writing to them is not delegated on most machines.

The isolation protects this machine. It does not protect the verdict: program and tests share one process, so a program
written to deceive these very tests can. One that merely exits early, prints a lot or never ends cannot.
"""

import contextlib
import json
import logging
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from functools import cached_property
from pathlib import Path

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt

from zooter.collect.rewarder.checking.process_memory import descendants, total_bytes
from zooter.collect.rewarder.checking.seccomp import filter_program
from zooter.data.component import component
from zooter.errors import ConfigError

SANDBOX_WORKER = Path(__file__).with_name("sandbox_worker.py")
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "HOME": "/tmp", "LANG": "C.UTF-8", "OPENBLAS_NUM_THREADS": "1"}
NAMESPACES = ("--mount", "--net", "--pid", "--ipc", "--uts", "--fork", "--kill-child")
MIB = 2**20
MAX_OUTPUT_BYTES = 4_096
UNFILTERED = "unfiltered "
WATCH_SECONDS = 0.05
NOBODY, LAST_USER, MIN_USERS = 65_534, 2**31, 1_000
UID_MAP = Path("/proc/self/uid_map")

log = logging.getLogger(__name__)


@component
class Sandbox:
    """Run programs under limits.

    Attributes:
        seconds: wall-clock time, including the tenth of a second in which the interpreter starts.
        memory_mib: memory of all processes together, and address space of each, in MiB. The sum is taken some twenty
            times a second, so that for a moment it may be exceeded.
        file_mib: largest file that a program may write, in MiB; all its files together may have four times as much.
        processes: largest number of processes and threads of one program at a time.
        allow_unconfined: run programs without namespaces if Linux provides none. Limits, environment and working
            folder remain, but programs see the network and every file that this user may read.
    """

    seconds: PositiveFloat = 10.0
    memory_mib: PositiveInt = 1_024
    file_mib: NonNegativeInt = 4
    processes: PositiveInt = 8
    allow_unconfined: bool = False

    def passes(self, *program: str) -> bool:
        """Run a program and return whether it ended without an error and inside the limits.

        Args:
            program: source texts, run one after the other in one namespace, such as code and its tests.

        Raises:
            ConfigError: there are no namespaces and `allow_unconfined` is not set.
        """
        return self._run(program, self._confined)[0]

    @cached_property
    def _confined(self) -> bool:
        """Return whether programs run in namespaces; tried once."""
        reason = "no program `unshare`"
        if shutil.which("unshare"):
            try:
                passed, filtered = self._run(("pass",), True)
                if passed:
                    if not filtered:
                        log.warning("Linux takes no seccomp filter here: Python tests may use shared memory beyond "
                                    "sandbox.memory_mib; all other limits hold")  # fmt: skip
                    return True
                reason = "a program that does nothing did not end"
            except OSError as error:
                reason = str(error)
        if self.allow_unconfined:
            return False
        raise ConfigError(
            expected="Linux namespaces to confine Python tests",
            found=reason,
            do="run where `unshare --user --net true` works, or set allow_unconfined=true: the tests then see the "
            "network and your files",
        )

    def _run(self, program: tuple[str, ...], confined: bool) -> tuple[bool, bool]:
        """Run a program; return whether it passed, and whether a seccomp filter was set."""
        instructions = filter_program()
        token = secrets.token_hex(16)
        with tempfile.TemporaryDirectory(prefix="zooter-") as folder:
            job = {
                "program": program,
                "token": token,
                "root": folder if confined else None,
                "visible": sorted({sys.prefix, sys.base_prefix, os.path.realpath(sys.base_prefix)}),
                "user": _unused_user() if os.geteuid() == 0 else None,
                "limits": self._limits(),
                "filter": None if instructions is None else instructions.hex(),
            }
            process = subprocess.Popen(
                [*(_unshare_command() if confined else ()), sys.executable, "-I", str(SANDBOX_WORKER)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=ENVIRONMENT,
                cwd=folder,
                start_new_session=True,
            )
            remark, output = self._read_output(process, json.dumps(job).encode())
            return output == token, remark != UNFILTERED

    def _read_output(self, process: "subprocess.Popen[bytes]", job: bytes) -> tuple[str, str]:
        """Return what the worker writes before and after `ready`: the job's token if the program ran to its end.

        Nothing is read before the process has ended, so that a program that floods the pipe blocks itself.

        Raises:
            OSError: the worker could not isolate itself.
        """
        assert process.stdin is not None
        assert process.stdout is not None
        with process.stdin, process.stdout:
            try:
                process.stdin.write(job)
                process.stdin.close()
                self._watch(process)
            except BrokenPipeError:
                pass
            finally:
                _kill(process)
            # Unconfined, a process that escaped may still hold the pipe's other end.
            os.set_blocking(process.stdout.fileno(), False)
            output = (process.stdout.read(MAX_OUTPUT_BYTES) or b"").decode(errors="replace")
        remark, ready, token = output.partition("ready")
        if not ready and process.returncode != -signal.SIGKILL:
            raise OSError(remark or f"`unshare` ended with {process.returncode}")
        return remark, token

    def _watch(self, process: "subprocess.Popen[bytes]") -> None:
        """Wait until a process ends, its time is up, or its descendants together take too much memory."""
        deadline = time.monotonic() + self.seconds
        while process.poll() is None and (seconds := deadline - time.monotonic()) > 0:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(min(WATCH_SECONDS, seconds))
            pids = descendants(process.pid)
            # One process alone is held by the limit of its address space.
            if len(pids) > 1 and total_bytes(pids) > self.memory_mib * MIB:
                return

    def _limits(self) -> dict[str, int]:
        return {
            "CPU": int(self.seconds) + 1,
            "AS": self.memory_mib * MIB,
            "FSIZE": self.file_mib * MIB,
            "NPROC": self.processes,
            "NOFILE": 64,
            "CORE": 0,
            "MSGQUEUE": 0,
        }


def _unused_user() -> int:
    """Choose the id of a user that nobody has, at random.

    Linux counts processes per user. A user of its own for each program keeps the programs' counts apart. In a
    container whose ids are mapped, only the mapped ones can be taken.
    """
    try:
        ranges = [tuple(map(int, line.split())) for line in UID_MAP.read_text().splitlines()]
    except FileNotFoundError:
        return NOBODY
    first, _, count = max(ranges, key=lambda numbers: numbers[0] + numbers[2])
    end = min(first + count, LAST_USER)
    # Users are given low ids; hardly anybody has one of the upper half.
    start = max(first, end // 2)
    return start + secrets.randbelow(end - start) if end - start > 2 * MIN_USERS else NOBODY


def _unshare_command() -> list[str]:
    # The real root needs no user namespace, and inside one it could not become another user.
    user = () if os.geteuid() == 0 else ("--user", "--map-root-user")
    return [shutil.which("unshare") or "unshare", *user, *NAMESPACES, "--"]


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """Kill a process and its session; in namespaces, everything in its process namespace ends with it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
