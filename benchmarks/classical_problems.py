"""Six oscillating problems with a reference on quadrature points: the paper's three, and three to be hard in other ways."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from classical_methods import Space, Values, at, elements, solve, vectorised

from hybrid_lib import experiments, fem, media
from hybrid_lib.pinn import domains
from hybrid_lib.problems import Problem


class Case(NamedTuple):
    """A problem, its fields for many points, and its solution at quadrature points."""

    problem: Problem
    K: Values
    q: Values
    points: np.ndarray
    weights: np.ndarray
    value: np.ndarray
    gradient: np.ndarray
    about: dict


def product_problem(eps: float = 1 / 8) -> Problem:
    """K = 2 + sin(2πx₁/ε)cos(2πx₂/ε), q = sin x₁ + cos x₂, zero boundary values: a test problem of the literature on networks."""
    wave = 2 * np.pi / eps
    K = media.from_function(
        lambda x: 2 + jnp.sin(wave * x[0]) * jnp.cos(wave * x[1]), 2, 1.0, 3.0, period=eps
    )
    return Problem("product", domains.unit_square(), K, lambda x: jnp.sin(x[0]) + jnp.cos(x[1]), (0.0, 0.0))


def inclusions_problem(eps: float = 1 / 16) -> Problem:
    """A raster with jumps: a tile of 8 × 8 pixels, the middle 4 × 4 of them 1000, the others 1, repeated; q = 1."""
    tile = np.ones((8, 8))
    tile[2:6, 2:6] = 1000.0

    def pixel(x: jax.Array) -> jax.Array:
        i = jnp.mod(jnp.floor(8 * x / eps).astype(jnp.int32), 8)
        return jnp.asarray(tile, x.dtype)[i[0], i[1]]

    medium = dataclasses.replace(media.from_function(pixel, 2, 1.0, 1000.0), period=eps, is_lipschitz=False)
    return Problem("inclusions", domains.unit_square(), medium, lambda x: jnp.ones((), x.dtype), (0.0, 0.0))


def layers_problem(eps: float = 1 / 16) -> Problem:
    """Layers of 1 and 10 across x₁: K* = diag(20/11, 5.5); q = 1."""
    medium = media.layered([1.0, 10.0], 0, eps, 2)
    return Problem("layers", domains.unit_square(), medium, lambda x: jnp.ones((), x.dtype), (0.0, 0.0))


def graded(fractions: np.ndarray, repeats: int, side: float) -> fem.Mesh:
    """Tensor mesh of (0, side)², both axes cut by `repeats` copies of these fractions (from 0, without 1)."""
    axis = side * np.append((np.arange(repeats)[:, None] + fractions).ravel() / repeats, 1.0)
    base = fem.unit_square(len(axis) - 1)
    index = np.rint(base.points * (len(axis) - 1)).astype(int)
    return fem.from_simplices(axis[index], base.cells)


def relative(weights: np.ndarray, difference: np.ndarray, size: np.ndarray) -> float:
    """Ratio of two L² norms by quadrature."""
    total = [weights @ (f**2 if f.ndim == 1 else np.sum(f**2, axis=1)) for f in (difference, size)]
    return float(np.sqrt(total[0] / total[1]))


def fine_elements(problem: Problem, K: Values, q: Values, mesh: fem.Mesh) -> tuple[Space, np.ndarray]:
    """Quadratic elements; sides x_i = 1/2 of a quarter of the square are free, by symmetry."""
    system = elements(mesh, 2, K, q, problem.direction)
    V = system.space
    outer = V.boundary[(V.points[V.boundary] % 1.0 == 0.0).any(axis=1)]
    return V, solve(system._replace(space=V._replace(boundary=outer)))


def element_case(problem: Problem, K: Values, q: Values) -> Case:
    """Reference by quadratic elements, its error from the mesh with half the cells along each axis."""
    symmetric = problem.name == "inclusions"
    if symmetric:  # in both axes: a quarter of the square, graded to the corners of the inclusions
        steps = np.array([32, 16, 8, 4, 2, 1]) / 252
        quarter = np.concatenate([[0.0], np.cumsum(steps), 0.25 + np.cumsum(steps[::-1])])[:-1]
        fine = np.concatenate([quarter, 0.5 + quarter])  # edges at 1/4 and 3/4
        meshes = [graded(f, 8, 0.5) for f in (fine, fine[::2])]
        # errors of these two meshes with two periods instead of 16, against an overkill mesh
        factors, cells = (
            (10.0, 3.2),
            "192 x 192 cells on a quarter, graded to the corners; difference to 96 x 96",
        )
    else:
        meshes = [fem.unit_square(192), fem.unit_square(96)]
        factors, cells = (7.0, 3.0), "192 cells a side; difference to 96"  # 2^3 - 1 and 2^2 - 1
    points, weights = fem.quadrature_points(meshes[0], 2)
    x, w = points.reshape(-1, 2), weights.ravel()
    (u, slope), (coarse, coarse_slope) = (at(*fine_elements(problem, K, q, mesh), x) for mesh in meshes)
    gaps = relative(w, u - coarse, u), relative(w, slope - coarse_slope, slope)
    about = {"method": f"P2, {cells}, divided by {factors[0]:g} and {factors[1]:g}"}
    about |= {"rel_l2": gaps[0] / factors[0], "rel_h1": gaps[1] / factors[1]}
    if symmetric:
        flips = [np.array(s, float) for s in ((1, 1), (-1, 1), (1, -1), (-1, -1))]
        x = np.concatenate([np.where(s > 0, x, 1 - x) for s in flips])
        slope = np.concatenate([s * slope for s in flips])
        w, u = np.tile(w, 4), np.tile(u, 4)
    return Case(problem, K, q, x, w, u, slope, about)


def case(name: str, smoke: bool = False) -> Case:
    """A problem with its reference; the paper's have the library's, on cells whose number is a prime, out of step with K."""
    made = {"product": product_problem, "inclusions": inclusions_problem, "layers": layers_problem}
    problem = made[name]() if name in made else experiments.problem_of(experiments.configuration(name))
    K, q = vectorised(problem.medium.conductivity), vectorised(problem.source)
    if name in made:
        return element_case(problem, K, q)
    line = problem.domain.dimension == 1
    cells = {"heat1d-eps15": 1009, "heat1d-eps100": 7001, "heat2d": 97}[name]
    known = experiments.reference(problem, cells=cells, mesh_cells=80 if smoke and not line else None)
    method = "quadrature of the exact formula" if line else "P1, Richardson, quintic spline"
    about = {"method": method, "rel_l2": known.error}
    return Case(problem, K, q, known.points, known.weights, known.value, known.gradient, about)
