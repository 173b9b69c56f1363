"""A process that dies at the Nth system call by which it changes files.

The kernel stops the child before and after each of its calls; the parent counts
those that write, sync, make, rename or remove, and sends SIGKILL at one of
them. A call that is killed on its way in has not happened, on its way out it has.
Python's own threads of one process are enough for this: the child has one.
"""

import ctypes
import os
import platform
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

_TRACEME, _SYSCALL, _SETOPTIONS, _SYSCALL_INFO = 0, 24, 0x4200, 0x420E
_TRACESYSGOOD, _EXITKILL = 1, 0x100000
_ENTRY, _EXIT = 1, 2
_SYSCALL_STOP: Final = signal.SIGTRAP | 0x80
_O_CREAT: Final = 0o100
CALLS: Final = {
    "x86_64": {
        1: "write", 18: "pwrite", 20: "writev", 74: "fsync", 75: "fdatasync", 77: "ftruncate",
        82: "rename", 83: "mkdir", 87: "unlink", 88: "symlink", 257: "openat", 258: "mkdir",
        263: "unlink", 264: "rename", 266: "symlink", 316: "rename",
    },
    "aarch64": {
        64: "write", 66: "writev", 68: "pwrite", 82: "fsync", 83: "fdatasync", 46: "ftruncate",
        34: "mkdir", 35: "unlink", 36: "symlink", 38: "rename", 56: "openat", 276: "rename",
    },
}  # fmt: skip
SUPPORTED: Final = platform.system() == "Linux" and platform.machine() in CALLS


class _Info(ctypes.Structure):
    """`struct ptrace_syscall_info`, as far as it is read here; the same on every machine."""

    _fields_ = [
        ("op", ctypes.c_uint8),
        ("padding", ctypes.c_uint8 * 3),
        ("arch", ctypes.c_uint32),
        ("instruction_pointer", ctypes.c_uint64),
        ("stack_pointer", ctypes.c_uint64),
        ("number", ctypes.c_uint64),
        ("arguments", ctypes.c_uint64 * 6),
    ]


@dataclass(frozen=True)
class Death:
    """How far a process came.

    Attributes:
        calls: that change files, which it had begun.
        at: the call that it died at; None where it ran to its end.
        status: its exit status where it ran to its end.
    """

    calls: int
    at: str | None
    status: int | None


def run(work: Callable[[], object], die_at: int | None = None, *, after: bool = False) -> Death:
    """Run this in a child process, which dies at its call number `die_at`, counted from 0.

    Args:
        work: what the child does; its exit status is 0 where this returns.
        die_at: None lets it run to its end.
        after: on the call's way out, when it has happened.
    """
    child = os.fork()
    if child == 0:
        status = 1
        try:
            _ptrace(_TRACEME, 0, 0, None)
            os.kill(os.getpid(), signal.SIGSTOP)
            work()
            status = 0
        finally:
            os._exit(status)
    return _follow(child, die_at, after)


def _follow(child: int, die_at: int | None, after: bool) -> Death:
    os.waitpid(child, 0)
    _ptrace(_SETOPTIONS, child, 0, ctypes.c_void_p(_TRACESYSGOOD | _EXITKILL))
    calls, begun = 0, None
    passed_on = 0
    while True:
        _ptrace(_SYSCALL, child, 0, ctypes.c_void_p(passed_on))
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status) or os.WIFSIGNALED(status):
            return Death(calls, None, os.waitstatus_to_exitcode(status))
        stop = os.WSTOPSIG(status)
        passed_on = 0 if stop == _SYSCALL_STOP else stop
        if stop != _SYSCALL_STOP:
            continue
        info = _info(child)
        if info.op == _ENTRY:
            begun = _changes(info)
            calls += begun is not None
        here = begun is not None and calls - 1 == die_at and after == (info.op == _EXIT)
        if here:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return Death(calls, begun, None)


def _changes(info: _Info) -> str | None:
    """What a call changes; None where it is one of the others."""
    name = CALLS[platform.machine()].get(info.number)
    if name == "openat":
        return "create" if info.arguments[2] & _O_CREAT else None
    return name


def _info(child: int) -> _Info:
    info = _Info()
    _ptrace(_SYSCALL_INFO, child, ctypes.sizeof(info), ctypes.byref(info))
    return info


def _ptrace(request: int, pid: int, address: int, data: object) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.restype = ctypes.c_long
    result = libc.ptrace(ctypes.c_long(request), ctypes.c_long(pid), ctypes.c_void_p(address), data)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"ptrace {request:#x}: {os.strerror(number)}")
