"""What a process that handles what nobody trusts may take of the machine."""

import contextlib


def limit_process(cpu_s: int, memory_mb: int, file_bytes: int) -> None:
    """Bound what this process may take, where the system can.

    RLIMIT_DATA counts what a process may write to; RLIMIT_AS would count the
    interpreter's own libraries too.
    """
    try:
        import resource
    except ImportError:
        return
    limits = {
        resource.RLIMIT_DATA: memory_mb << 20,
        resource.RLIMIT_CPU: cpu_s,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: file_bytes,
    }
    for which, value in limits.items():
        _, hard = resource.getrlimit(which)
        ceiling = value if hard == resource.RLIM_INFINITY else min(value, hard)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(which, (ceiling, ceiling))
