"""The former place of :mod:`hybrid_lib.methods.first_order` and :mod:`hybrid_lib.pinn.flux`."""

from hybrid_lib.methods.first_order import *  # noqa: F403
from hybrid_lib.pinn.flux import *  # noqa: F403
