"""Make the peers' environments under .venv-peers/, each from its pinned requirements.

    python benchmarks/peers/setup.py [deepxde jinns pina]

Each environment takes one to two minutes and about a gigabyte. The project itself needs none of them.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
ENVIRONMENTS = HERE.parents[1] / ".venv-peers"
PEERS = ("deepxde", "jinns", "pina", "jno")


def main() -> None:
    """Make what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("peers", nargs="*", default=list(PEERS), metavar="peer", help=", ".join(PEERS))
    for peer in parser.parse_args().peers:
        if peer not in PEERS:
            parser.error(f"{peer} is none of {', '.join(PEERS)}")
        home = ENVIRONMENTS / peer
        venv.create(home, with_pip=True, clear=True)
        pip = [home / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        print(f"{peer}: {home}", flush=True)
        if subprocess.run([*pip, "-r", HERE / f"requirements-{peer}.txt"]).returncode:
            sys.exit(f"{peer}: the installation failed; the others can still be made and run")


if __name__ == "__main__":
    main()
