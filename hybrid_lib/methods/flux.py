"""What the methods share that train a field together with a flux: no ∇K, no coupling, hard boundary conditions."""

from __future__ import annotations

import math
from collections.abc import Callable

import jax.numpy as jnp
from jax import Array

from hybrid_lib import training
from hybrid_lib.config import Config
from hybrid_lib.errors import InputError
from hybrid_lib.methods.cells import Coarse
from hybrid_lib.methods.method import Method, Tree
from hybrid_lib.problems import Problem, units


class FluxMethod(Method):
    """K may jump, the weights are one and stay, and the number that is minimised is in units of the energy norm."""

    admits_jumps = True
    balanced = False

    def check(self, config: Config) -> None:
        """Without a coupling, and with hard boundary conditions."""
        if (config.method, config.boundary) != ("pinn", "hard"):
            raise InputError(
                "formulation",
                f"method pinn and boundary=hard with {self.name}",
                f"method {config.method}, boundary={config.boundary}",
                "choose these, or formulation=strong",
            )

    def weights(self, problem: Problem, config: Config, coarse: Coarse | None) -> dict[str, float]:
        """All one."""
        return {}

    def unit(self, problem: Problem) -> float:
        """Of the root of J."""
        return units(problem).energy


def integral_block(
    residual: Callable[[Tree, Tree], Array], measure: float, unit: float | Array = 1.0, factor: float | Array = 1.0
) -> training.PointwiseBlock:
    """Block whose square is factor²∫r²/unit², from `residual` (fields at the points, data) -> (M,) and their weights, if any."""

    def block(fields: Tree, data: Tree, coarse: Tree) -> Array:
        r = residual(fields["collocation"], data)
        r = r * jnp.asarray(factor * math.sqrt(measure / r.shape[0]) / unit, r.dtype)
        return r * data["scale"] if "scale" in data else r

    return training.PointwiseBlock("collocation", block)
