"""The former place of :mod:`hybrid_lib.bookkit.sliders`."""

from hybrid_lib.bookkit.sliders import *  # noqa: F403
