"""What runs inside the sandbox: a script that locks itself in and then runs one program. Never imported.

It reads one JSON object from its standard input: `program` (texts run one after the other in one namespace), `token`,
`root` (an empty folder to become the file system, or null for no jail), `shown` (folders to show in it, read-only),
`nobody` (whether to become that user) and `limits`. It writes `ready` once it is locked in, then the token once the
program has run to its end; anything else means that it did not. Only the standard library, for `python -I`.

With a jail the process already has its own network, process and mount namespaces (`unshare`). Here it gets a file
system of its own in memory, which holds the interpreter, the system's libraries and an empty /tmp and nothing else.
"""

import ctypes
import json
import os
import resource
import sys
from pathlib import Path

NOBODY = 65_534
RDONLY, NOSUID, NODEV, REMOUNT, BIND, REC = 1, 2, 4, 32, 4_096, 16_384
PR_SET_NO_NEW_PRIVS, CAPABILITY_VERSION_3 = 38, 0x20080522
LIBRARIES = ("/bin", "/lib", "/lib32", "/lib64", "/usr/bin", "/usr/lib", "/usr/lib64", "/usr/local/lib")

libc = ctypes.CDLL(None, use_errno=True)


def mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    encoded = [None if text is None else text.encode() for text in (source, target, kind, data)]
    if libc.mount(encoded[0], encoded[1], encoded[2], ctypes.c_ulong(flags), encoded[3]):
        raise OSError(ctypes.get_errno(), f"mount {target}")


def show(path: Path, root: Path) -> None:
    """The same path inside the new root: a link as the same link, a folder or file as itself, read-only."""
    inside = root / path.relative_to("/")
    if os.path.lexists(inside) or not os.path.lexists(path):
        return
    inside.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink():
        inside.symlink_to(path.readlink())
        return
    if path.is_dir():
        inside.mkdir()
    else:
        inside.touch()
    mount(str(path), str(inside), None, BIND | REC)
    device = 0 if path.is_relative_to("/dev") else NODEV
    mount(str(path), str(inside), None, BIND | REMOUNT | RDONLY | NOSUID | device)


def lock_in(root: Path, shown: list[str], file_bytes: int) -> None:
    mount("tmpfs", str(root), "tmpfs", NOSUID | NODEV, f"size={file_bytes},nr_inodes=4k,mode=755")
    # Longer paths later: a folder inside one already shown is there by then.
    for path in sorted({*LIBRARIES, *shown, "/dev/null"}, key=len):
        show(Path(path), root)
    (root / "tmp").mkdir(exist_ok=True)
    (root / "tmp").chmod(0o1777)
    os.chroot(root)
    os.chdir("/tmp")


def drop_privileges(nobody: bool) -> None:
    if nobody:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    if libc.capset(header, (ctypes.c_uint32 * 6)()) or libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "dropping privileges")


def main() -> None:
    job = json.load(sys.stdin)
    # What the program prints goes nowhere; only this end of the pipe is left for the verdict.
    verdict = os.dup(1)
    nowhere = os.open("/dev/null", os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    limits = job["limits"]
    try:
        if job["root"]:
            lock_in(Path(job["root"]), job["shown"], limits["FSIZE"] * 4)
        drop_privileges(job["nobody"])
        for name, value in limits.items():
            resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, value))
    except OSError as error:
        os.write(verdict, f"no jail: {error}".encode())
        os._exit(3)
    os.write(verdict, b"ready")
    space = {"__name__": "program"}  # not __main__: what a response does only as a script is no part of the answer
    for text in job["program"]:
        exec(compile(text, "<program>", "exec"), space)
    os.write(verdict, job["token"].encode())
    os._exit(0)


if __name__ == "__main__":
    main()
