"""The former place of :mod:`hybrid_lib.problems`."""

from hybrid_lib.problems import *  # noqa: F403
