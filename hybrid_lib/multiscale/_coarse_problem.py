"""Arrays of the coarse problem, its matrix and load, and small operations on them; see ``coarse``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from hybrid_lib import fem
from hybrid_lib.errors import InputError, real_array


@dataclass(frozen=True, eq=False)
class CoarseProblem:
    """Arrays of the coarse problem that do not change in training; make one with :func:`coarse_problem`.

    Attributes
    ----------
    unknowns : (m, d+1) int32
        Number of each cell corner among the interior nodes; their count for boundary nodes.
    basis_gradients : (m, d+1, d)
        Gradients of the hat functions.
    volumes : (m,)
        Cell volumes.
    parts : (m,) int32
        Part of the domain each cell lies in.
    interior_nodes : (k,) int32
        Nodes that carry an unknown.
    source : (n,)
        Load vector of q.
    direction : (d,)
        The direction e of the temperature drop.
    weights : (n,)
        Quadrature weights of the nodes, the lumped mass.
    unit_state : (n,)
        State for K_hat = 1.
    n_parts : int
        Number of parts P; static.
    isotropic_constant : bool
        Whether K_hat is a scalar; static.
    """

    unknowns: jax.Array
    basis_gradients: jax.Array
    volumes: jax.Array
    parts: jax.Array
    interior_nodes: jax.Array
    source: jax.Array
    direction: jax.Array
    weights: jax.Array
    unit_state: jax.Array
    n_parts: int
    isotropic_constant: bool


_einsum = partial(jnp.einsum, precision="highest")  # the short float formats of accelerators lose digits here
STATIC = ("n_parts", "isotropic_constant")
jax.tree_util.register_dataclass(
    CoarseProblem, [f.name for f in fields(CoarseProblem) if f.name not in STATIC], list(STATIC)
)


def coarse_problem(
    mesh: fem.Mesh,
    source: float | np.ndarray | Callable = 0.0,
    direction: np.ndarray | int = 0,
    parts: np.ndarray | None = None,
    dtype=None,
    isotropic_constant: bool = False,
    order: int = 2,
) -> CoarseProblem:
    """Build the coarse problem on the host, in float64, and round it to the dtype of the training.

    Parameters
    ----------
    mesh : Mesh
        Coarse mesh, n nodes and m cells.
    source : float, (m,) array or callable
        q, a JAX function of one point ``x (d,)`` if callable.
    direction : int or (d,) array
        Direction e of the temperature drop; an integer i stands for the i-th unit vector.
    parts : (m,) int array, optional
        Part of each cell, 0 to P - 1; default one part. See ``upscaling.parts_of``.
    dtype : optional
        Of all arrays; default JAX's current float.
    isotropic_constant : bool
        Take K_hat as a scalar on the whole domain and use y = unit_state / K_hat.
    order : int
        Quadrature order for the source.

    Returns
    -------
    CoarseProblem
        A pytree whose integers are static.

    Raises
    ------
    InputError
        For a direction or parts that do not fit the mesh, or parts with a scalar K_hat.

    Notes
    -----
    O(n^1.5) for the unit state.

    Examples
    --------
    >>> from hybrid_lib.fem import interval
    >>> problem = coarse_problem(interval(4), source=1.0, isotropic_constant=True)
    >>> problem.unit_state.round(6).tolist()  # x (1 - x) / 2
    [0.0, 0.09375, 0.125, 0.09375, 0.0]
    """
    n, m, d = len(mesh.points), len(mesh.cells), mesh.dimension
    if len(mesh.interior_nodes) == 0:
        raise InputError(
            "coarse mesh", "at least one interior node", f"{n} boundary nodes only", "use more cells"
        )
    if isinstance(direction, int | np.integer) and 0 <= direction < d:
        direction = np.eye(d)[direction]
    direction = real_array("direction", direction)
    if direction.shape != (d,) or not np.all(np.isfinite(direction)):
        raise InputError(
            "direction",
            f"an integer below {d} or a vector of shape ({d},)",
            direction,
            "pass e of w = u + e.x",
        )
    parts = np.zeros(m, np.int32) if parts is None else np.asarray(parts)
    if parts.shape != (m,) or not np.issubdtype(parts.dtype, np.integer) or parts.min() < 0:
        raise InputError(
            "parts",
            f"integers >= 0 of shape ({m},)",
            f"{parts.dtype} {parts.shape}",
            "number the part of each cell from 0",
        )
    missing = np.setdiff1d(np.arange(parts.max() + 1), parts)
    if len(missing):
        raise InputError(
            "parts",
            f"a cell in each part 0..{parts.max()}",
            f"none in part {missing[0]}",
            "refine or renumber",
        )
    if isotropic_constant and parts.max() > 0:
        raise InputError(
            "isotropic_constant",
            "one part",
            f"{parts.max() + 1} parts",
            "use isotropic_constant=False for a piecewise tensor",
        )

    number = np.full(n, len(mesh.interior_nodes))
    number[mesh.interior_nodes] = np.arange(len(mesh.interior_nodes))
    load = fem.load(mesh, source, order=order)
    unit_state = fem.solve_dirichlet(fem.stiffness(mesh, 1.0), load, mesh.boundary_nodes)
    dtype = jnp.result_type(float) if dtype is None else dtype

    def real(a):
        return jnp.asarray(np.asarray(a).astype(dtype))

    return CoarseProblem(
        unknowns=jnp.asarray(number[mesh.cells], jnp.int32),
        basis_gradients=real(mesh.basis_gradients),
        volumes=real(mesh.volumes),
        parts=jnp.asarray(parts, jnp.int32),
        interior_nodes=jnp.asarray(mesh.interior_nodes, jnp.int32),
        source=real(load),
        direction=real(direction),
        weights=real(fem.load(mesh, 1.0)),
        unit_state=real(unit_state),
        n_parts=int(parts.max()) + 1,
        isotropic_constant=bool(isotropic_constant),
    )


def matrix(problem: CoarseProblem, K_hat: jax.Array) -> jax.Array:
    r"""Interior stiffness matrix :math:`B_{ij} = \int \hat K\nabla\varphi_j\cdot\nabla\varphi_i`, (k, k).

    Dense. Linear in ``K_hat``, differentiable; O(m d^3 + k^2).
    """
    K_cells = cell_tensors(problem, K_hat)
    elements = fem.element_stiffness(problem.basis_gradients, problem.volumes, K_cells)  # (m, d+1, d+1)
    rows = jnp.broadcast_to(problem.unknowns[:, :, None], elements.shape)
    columns = jnp.broadcast_to(problem.unknowns[:, None, :], elements.shape)
    size = problem.interior_nodes.shape[0]
    empty = jnp.zeros((size, size), elements.dtype)
    return empty.at[rows, columns].add(elements, mode="drop")  # boundary nodes have numbers past the end


def load(problem: CoarseProblem, K_hat: jax.Array) -> jax.Array:
    r"""Interior load :math:`F_i = \int q\varphi_i - \int \hat K e\cdot\nabla\varphi_i`, (k,).

    Affine in ``K_hat``, differentiable; O(m d^2).
    """
    source = problem.source[problem.interior_nodes]
    if problem.isotropic_constant:  # the integral of a gradient that vanishes on the boundary
        return source
    slope = jnp.broadcast_to(problem.direction, (*problem.volumes.shape, *problem.direction.shape))  # (m, d)
    return source - flux_integrals(problem, K_hat, slope)


def valid_tensor(problem: CoarseProblem, K_hat: jax.Array) -> jax.Array:
    """K_hat as an array, or an InputError if its shape is not the one of the problem."""
    d = problem.direction.shape[0]
    shape = () if problem.isotropic_constant else (problem.n_parts, d, d)
    if jnp.shape(K_hat) != shape:
        raise InputError(
            "K_hat",
            f"shape {shape}",
            jnp.shape(K_hat),
            "see isotropic_constant and parts of coarse_problem",
        )
    return jnp.asarray(K_hat)


def symmetric_part(K: jax.Array) -> jax.Array:
    """(K + K^T) / 2 over the last two axes."""
    return (K + jnp.swapaxes(K, -1, -2)) / 2


def cell_tensors(problem: CoarseProblem, K_hat: jax.Array) -> jax.Array:
    """The tensor on each cell, (m, d, d)."""
    if problem.isotropic_constant:
        d = problem.direction.shape[0]
        return jnp.broadcast_to(K_hat * jnp.eye(d, dtype=K_hat.dtype), (problem.volumes.shape[0], d, d))
    return symmetric_part(K_hat)[problem.parts]


def slopes(problem: CoarseProblem, nodal: jax.Array) -> jax.Array:
    """Gradient on each cell of a P1 function that vanishes on the boundary, (m, d)."""
    corners = nodal[problem.interior_nodes].at[problem.unknowns].get(mode="fill", fill_value=0)  # (m, d+1)
    return _einsum("mi,mid->md", corners, problem.basis_gradients)


def flux_integrals(problem: CoarseProblem, K_hat: jax.Array, slope: jax.Array) -> jax.Array:
    """Integrals of K_hat slope . grad(phi_i) over the domain for the interior nodes i, (k,)."""
    flux = _einsum("mab,mb->ma", cell_tensors(problem, K_hat), slope) * problem.volumes[:, None]  # (m, d)
    return hat_integrals(problem, flux)


def hat_integrals(problem: CoarseProblem, cell_integrals: jax.Array) -> jax.Array:
    """Integrals of a flux against grad(phi_i) for the interior nodes i, (k,), from its integrals over the cells, (m, d)."""
    entries = _einsum("mia,ma->mi", problem.basis_gradients, cell_integrals)  # (m, d+1)
    size = problem.interior_nodes.shape[0]
    return jnp.zeros(size, entries.dtype).at[problem.unknowns].add(entries, mode="drop")


def extend(problem: CoarseProblem, interior: jax.Array) -> jax.Array:
    """Nodal values from interior ones, zero on the boundary, (n,)."""
    return jnp.zeros(problem.source.shape[0], interior.dtype).at[problem.interior_nodes].set(interior)
