r"""The paper's hybrid method: averages of the fine field are held to the coarse state, by (2.10) or (2.16)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from hybrid_lib import training
from hybrid_lib.config import Config
from hybrid_lib.methods import points, strong
from hybrid_lib.methods.cells import Coarse, coarse_model, coarse_of, in_units
from hybrid_lib.methods.method import Counts, Data, Load, Tree
from hybrid_lib.methods.strong import Strong
from hybrid_lib.multiscale.coarse import frozen_state
from hybrid_lib.multiscale.coarse import state as coarse_state
from hybrid_lib.multiscale.compression import average, compression, pad
from hybrid_lib.multiscale.coupling import FineValues, coupling
from hybrid_lib.multiscale.upscaling import parts_of, upscaled_scalar
from hybrid_lib.problems import Problem, argument
from hybrid_lib.units import units


@dataclass(frozen=True)
class Averaged(Strong):
    """The strong blocks and ``coupling``; the name is that of the coupling in :mod:`hybrid_lib.multiscale.coupling`."""

    name: str = "averaged"
    admits_temperatures = False

    def coarse(self, problem: Problem, config: Config) -> Coarse:
        """Mesh and problem."""
        return coarse_of(problem, config)

    def sampler(
        self, problem: Problem, config: Config, ansatz: Any, seeds: Sequence[int], fixed: list[Tree], coarse: Coarse
    ) -> Callable[[int], list[Data]]:
        """As for the network alone, with the averages; points are drawn again when a ball holds none of them."""
        mesh, dtype = coarse.mesh, jnp.dtype(config.dtype)

        def balls(d: Tree) -> Any:
            """Neighbours of the coarse nodes among the points of one seed."""
            return compression(
                mesh.points,
                np.asarray(d["points"]["collocation"], float),
                config.coarse.delta or config.eps,
                problem.domain.distance,
                config.coarse.radius,
                dtype,
                np.asarray(d["scale"], float) ** 2 if "scale" in d else None,
            )

        def complete(data: list[Tree], found: list[Any]) -> None:
            """Neighbours in arrays of one shape, pointwise nodes, parts."""
            padded = pad(found)
            for index, d in enumerate(data):
                own, x = training.member(padded, index), np.asarray(d["points"]["collocation"], float)
                d["points"]["nodes"] = jnp.asarray(mesh.points[np.asarray(own.pointwise_nodes)], dtype)
                d["coupling"] = coupling(self.name).prepare(own, mesh, x)
                if config.coarse.parts > 1:
                    d["parts"] = jnp.asarray(parts_of(x, config.coarse.parts), jnp.int32)

        return points.sampler(problem, config, ansatz, seeds, fixed, strong.coefficients(problem), balls, complete)

    def objective(self, problem: Problem, config: Config, ansatz: Any, coarse: Coarse) -> training.Objective:
        """K̂ by (4.10), a scalar on one part, an isotropic tensor on each of several; the block is in units of u."""
        d, of = problem.domain.dimension, coarse.problem
        unit, e = (argument(problem, value, config.dtype) for value in (units(problem).field, problem.direction))

        def upscale(fields, data):
            jet = fields["collocation"]
            gradient = jnp.stack(jet.gradient, axis=-1)  # (M, d)
            direction = jnp.asarray(e, gradient.dtype)
            weights = data["scale"] ** 2 if "scale" in data else None
            K = upscaled_scalar(data["conductivity"], gradient, direction, weights, data.get("parts"), of.n_parts)  # (P,)
            return K[0] if of.isotropic_constant else K[:, None, None] * jnp.eye(d, dtype=K.dtype)[None]

        def block(fields, data, state):
            y = frozen_state(of, state, upscale(fields, data))
            fine = FineValues(fields["collocation"].value, fields["nodes"])
            return in_units(coupling(self.name).residual(of, data["coupling"], fine, y), unit)

        fields, blocks = strong.point_fields(problem, config, ansatz), strong.blocks(problem, config)
        return training.Objective(fields, blocks | {"coupling": block}, coarse_model(problem, of, upscale))

    def weights(self, problem: Problem, config: Config, coarse: Coarse) -> dict[str, float]:
        """τ₁ and τ₂, as they are set."""
        return super().weights(problem, config, coarse) | {"coupling": config.coarse.weight or 1.0}

    def load(self, counts: Counts) -> Load:
        """A coupling row a coarse node, which reads u and ∇u at all points."""
        read = counts.points * (counts.dimension + 1) + counts.nodes
        return Load(coupling=counts.nodes, sensitivity=read, factors=3.0 * counts.inner_nodes**2)

    def view(self, setup: Any, theta: Tree, data: Data) -> dict[str, np.ndarray]:
        """K̂[u_θ], y_h(u_θ) and Q_δu_θ at the coarse nodes."""
        fields, out = coarse_view(setup, theta, data)
        fine = FineValues(fields["collocation"].value, fields["nodes"])
        balls = getattr(data["coupling"], "compression", data["coupling"])
        return out | {"averaged": np.asarray(average(balls, *fine))}


def coarse_view(setup: Any, theta: Tree, data: Data) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The fields of θ, and nodes, K̂ and coarse state."""
    fields = setup.objective.fields(theta, data)
    K_hat = setup.objective.coarse.upscale(fields, data)
    return fields, {
        "nodes": setup.coarse_mesh.points,
        "upscaled": np.asarray(K_hat),
        "state": np.asarray(coarse_state(setup.coarse_problem, K_hat)),
    }
