"""The former place of :mod:`hybrid_lib.bookkit.notebook`."""

from hybrid_lib.bookkit.notebook import *  # noqa: F403
