"""The former place of :mod:`hybrid_lib.replication`."""

from hybrid_lib.replication import *  # noqa: F403
