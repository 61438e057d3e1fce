r"""Coupling of the fine and the coarse field: residual vectors with :math:`R_\delta = \sum_i r_i^2`, (3.25).

A :class:`Coupling` is a pair of functions: ``prepare`` runs once on the host and returns a pytree,
``residual`` runs in the training step. A new coupling is a new pair in ``COUPLINGS``; the loop does not
change.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hybrid_lib.errors import InputError
from hybrid_lib.fem import Mesh
from hybrid_lib.multiscale.coarse import CoarseProblem
from hybrid_lib.multiscale.compression import Compression, average, compression_of_coarse


class FineValues(NamedTuple):
    """What a coupling needs of the fine field.

    Attributes
    ----------
    at_points : (M,)
        Values at the residual collocation points.
    at_pointwise : (k,)
        Values at the coarse nodes where the compression is the identity.
    """

    at_points: jax.Array
    at_pointwise: jax.Array


class Coupling(NamedTuple):
    """A coupling term as two functions.

    Attributes
    ----------
    prepare : callable
        ``prepare(compression, mesh, points) -> data``, host code; ``data`` is a pytree of arrays. Data of
        several seeds stack once their compressions have one length, see ``compression.pad``.
    residual : callable
        ``residual(problem, data, fine, y) -> (n,)``, jittable, differentiable in ``fine`` and ``y``.
    """

    prepare: Callable[[Compression, Mesh, np.ndarray], Any]
    residual: Callable[[CoarseProblem, Any, FineValues, jax.Array], jax.Array]


def averaged(
    problem: CoarseProblem,
    compression: Compression,
    u_at_points: jax.Array,
    u_at_pointwise: jax.Array,
    y: jax.Array,
) -> jax.Array:
    r"""Residual of the coupling (2.10), :math:`r_i = \sqrt{\omega_i}\,((Q_\delta u)(x_i) - y_i)`.

    Parameters
    ----------
    problem : CoarseProblem
        Gives the quadrature weights :math:`\omega_i`, the lumped mass.
    compression : Compression
        :math:`Q_\delta`.
    u_at_points, u_at_pointwise : (M,), (k,)
        The fine field, see :class:`FineValues`.
    y : (n,)
        Coarse nodal values.

    Returns
    -------
    (n,) array
        :math:`\sum_i r_i^2 \approx \|Q_\delta u - y\|^2_{L^2}`. O(nnz + n).

    Examples
    --------
    >>> from hybrid_lib.fem import interval
    >>> from hybrid_lib.multiscale import coarse, compression
    >>> mesh, distance = interval(2), np.array([0.0, 0.5, 0.0])
    >>> Q = compression.compression(mesh.points, np.array([[0.5]]), 0.4, distance)
    >>> r = averaged(coarse.coarse_problem(mesh), Q, jnp.ones(1), jnp.ones(2), jnp.zeros(3))
    >>> round(float(jnp.sum(r**2)), 6)  # the squared norm of 1 on (0, 1)
    1.0
    """
    return jnp.sqrt(problem.weights) * (average(compression, u_at_points, u_at_pointwise) - y)


def averaged_both(
    problem: CoarseProblem,
    compression: Compression,
    Q_phi: jax.Array,
    u_at_points: jax.Array,
    u_at_pointwise: jax.Array,
    y: jax.Array,
) -> jax.Array:
    r"""Residual of the coupling (2.16), :math:`r_i = \sqrt{\omega_i}\,(Q_\delta u - Q_\delta y)(x_i)`.

    Parameters
    ----------
    problem, compression, u_at_points, u_at_pointwise, y
        As in :func:`averaged`.
    Q_phi : (n, n)
        Compression of the coarse basis, from ``compression.compression_of_coarse``.

    Returns
    -------
    (n,) array
        :math:`\sum_i r_i^2 \approx \|Q_\delta u - Q_\delta y\|^2_{L^2}`. O(nnz + n^2).

    Examples
    --------
    >>> from hybrid_lib.fem import interval
    >>> from hybrid_lib.multiscale import coarse, compression
    >>> mesh, distance = interval(2), np.array([0.0, 0.5, 0.0])
    >>> Q = compression.compression(mesh.points, np.array([[0.5]]), 0.4, distance)
    >>> problem = coarse.coarse_problem(mesh)
    >>> averaged_both(problem, Q, jnp.eye(3), jnp.ones(1), jnp.ones(2), jnp.ones(3)).tolist()
    [0.0, 0.0, 0.0]
    """
    Q_y = jnp.matmul(Q_phi, y, precision="highest")  # (n,)
    return jnp.sqrt(problem.weights) * (average(compression, u_at_points, u_at_pointwise) - Q_y)


def coupling(name: str) -> Coupling:
    """Look a coupling up by its name.

    Parameters
    ----------
    name : str
        ``"averaged"``, (2.10), the default of the experiments; ``"averaged-both"``, (2.16).

    Raises
    ------
    InputError
        For another name; lists the valid ones.

    Examples
    --------
    >>> coupling("averaged") is COUPLINGS["averaged"]
    True
    """
    if name not in COUPLINGS:
        raise InputError(
            "coupling", f"one of {', '.join(sorted(COUPLINGS))}", repr(name), "choose a listed name"
        )
    return COUPLINGS[name]


class _Both(NamedTuple):
    compression: Compression
    Q_phi: jax.Array  # (n, n)


COUPLINGS: dict[str, Coupling] = {
    "averaged": Coupling(
        prepare=lambda compression, mesh, points: compression,
        residual=lambda problem, data, fine, y: averaged(problem, data, *fine, y),
    ),
    "averaged-both": Coupling(
        prepare=lambda compression, mesh, points: _Both(
            compression, compression_of_coarse(compression, mesh, points)
        ),
        residual=lambda problem, data, fine, y: averaged_both(problem, *data, *fine, y),
    ),
}
