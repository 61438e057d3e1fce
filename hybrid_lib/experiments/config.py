"""The former place of :mod:`hybrid_lib.config`."""

from hybrid_lib.config import *  # noqa: F403
from hybrid_lib.methods import balance_every, finish_steps  # noqa: F401
