"""``python -m hybrid_lib``."""

from hybrid_lib.cli import command

command()
