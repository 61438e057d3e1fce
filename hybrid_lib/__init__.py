"""Hybrid physics-informed neural network solver for multiscale diffusion, constrained by a coarse finite-element problem.

``import hybrid_lib as hl`` loads nothing and changes no setting; each name below loads what it needs when it is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hybrid_lib import fem, media, sides
    from hybrid_lib.errors import InputError
    from hybrid_lib.experiments import (
        Problem,
        advise,
        certify,
        configuration,
        load,
        own_configuration,
        reference,
        run,
        solve,
        train,
    )
    from hybrid_lib.pinn import domains
    from hybrid_lib.processes import distributed
    from hybrid_lib.sides import Dirichlet, Neumann, Robin

__version__ = "0.1.0"

_HOMES = {
    "Dirichlet": "sides",
    "InputError": "errors",
    "Neumann": "sides",
    "Problem": "experiments",
    "Robin": "sides",
    "advise": "experiments",
    "certify": "experiments",
    "configuration": "experiments",
    "distributed": "processes",
    "domains": "pinn",
    "fem": "",
    "load": "experiments",
    "media": "",
    "own_configuration": "experiments",
    "reference": "experiments",
    "run": "experiments",
    "sides": "",
    "solve": "experiments",
    "train": "experiments",
}
__all__ = [
    "Dirichlet",
    "InputError",
    "Neumann",
    "Problem",
    "Robin",
    "__version__",
    "advise",
    "certify",
    "configuration",
    "distributed",
    "domains",
    "enable_float64",
    "fem",
    "load",
    "media",
    "own_configuration",
    "reference",
    "run",
    "sides",
    "solve",
    "train",
]


def enable_float64() -> None:
    """Make JAX compute in float64 where it is asked for, as Gauss-Newton and all elements do; call it before the first array.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> enable_float64()
    >>> jnp.ones(1).dtype
    dtype('float64')
    """
    import jax

    jax.config.update("jax_enable_x64", True)


def __getattr__(name: str) -> Any:
    """The names of the front door, each imported at its first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'hybrid_lib' has no attribute {name!r}")
    home = _HOMES[name]
    if not home or name == "domains":
        value = importlib.import_module(".".join(filter(None, ("hybrid_lib", home, name))))
    else:
        value = getattr(importlib.import_module(f"hybrid_lib.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
