"""What the methods share that train a field together with a flux: no ∇K, no coupling, hard boundary conditions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hybrid_lib import fem, training
from hybrid_lib.config import Config
from hybrid_lib.errors import InputError
from hybrid_lib.methods.cells import Coarse
from hybrid_lib.methods.method import Method, Tree
from hybrid_lib.problems import Problem
from hybrid_lib.units import units


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


def energy_error(problem: Problem, ansatz: Any, theta: Tree, fixed: Tree, reference: Any) -> float:
    """‖K^{1/2}∇(v − u)‖ / ‖K^{1/2}∇u‖ of one seed, with u and the quadrature of a reference."""
    dtype = ansatz.network.dtype
    at = fem.shared(
        lambda theta, fixed, x: jax.lax.map(
            lambda p: jnp.stack(ansatz.jet(theta, fixed, p).gradient), x, batch_size=1 << 14
        )
    )
    gradient = np.asarray(at(theta, fixed, jnp.asarray(reference.points, dtype)), float)
    K = fem.evaluate(problem.medium.conductivity, reference.points)
    product = "k,k,kd,kd->" if K.ndim == 1 else "k,kde,kd,ke->"
    square = lambda g: float(np.einsum(product, reference.weights, K, g, g, optimize=True))  # noqa: E731
    size = square(reference.gradient)
    return math.sqrt(square(gradient - reference.gradient) / size) if size > 0 else math.inf
