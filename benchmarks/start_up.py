"""Seconds until something answers, each in a fresh process with warm disk caches: imports and the command's shortest answers."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from typing import Any

from timing import interleave

COMMANDS = {
    "python": ["-c", "pass"],
    "import numpy": ["-c", "import numpy"],
    "import jax": ["-c", "import jax"],
    "import jax, flax, optax": ["-c", "import jax, flax.linen, optax"],
    "import hybrid_lib": ["-c", "import hybrid_lib"],
    "import hybrid_lib.fem": ["-c", "import hybrid_lib.fem"],
    "import hybrid_lib.experiments": ["-c", "import hybrid_lib.experiments"],
    "hybrid --help": ["-m", "hybrid_lib", "--help"],
    "hybrid list": ["-m", "hybrid_lib", "list"],
}


def measure(smoke: bool) -> dict[str, Any]:
    """The part ``start``; ratios to the bare interpreter."""
    names = ("python", "hybrid --help") if smoke else tuple(COMMANDS)

    def run(name: str) -> None:
        subprocess.run(
            [sys.executable, *COMMANDS[name]], check=True, stdout=subprocess.DEVNULL, env=dict(os.environ)
        )

    def sampler(call) -> dict[str, float]:
        wall, cpu = time.perf_counter(), _children()
        call()
        return {"wall": time.perf_counter() - wall, "cpu": _children() - cpu}

    runs = {name: lambda name=name: run(name) for name in names}
    return {"commands": interleave(runs, names[0], 2 if smoke else 7, sampler)}


def _children() -> float:
    """Seconds that finished child processes have had of the processor."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
