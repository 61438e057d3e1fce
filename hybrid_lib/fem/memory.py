"""How much memory this machine has left."""

from __future__ import annotations

import math
import os
from pathlib import Path


def free_bytes() -> float:
    """Bytes that are left, within the limit of the group of processes; inf where the machine does not say.

    Examples
    --------
    >>> free_bytes() > 1e6
    True
    """
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        free = next(1024.0 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        names = os.sysconf_names if hasattr(os, "sysconf_names") else {}
        free = float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")) if "SC_PHYS_PAGES" in names else math.inf
    for limit, used in (("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes")):
        try:
            known = [(Path("/sys/fs/cgroup") / name).read_text(encoding="utf-8").strip() for name in (limit, used)]
            free = min(free, float(known[0]) - float(known[1]))
        except (OSError, ValueError):  # no such file, or "max"
            continue
    return free
