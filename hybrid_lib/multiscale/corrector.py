r"""First-order expansion of homogenisation, as a smooth function for an ansatz to correct.

.. math:: B(x) &= u^0(x) + \varepsilon\,\eta(x)\,\chi(x/\varepsilon)\cdot(e + \nabla u^0(x)), \\
          &-\nabla\cdot(K^*\nabla u^0) = q \text{ in the unit cube}, \quad u^0 = 0 \text{ on its boundary},

with the periodic correctors χ = (χ_1, …, χ_d) of the cell problems and a factor η that is 0 on the boundary and 1 − O(e^{−2πs/ε})
at a distance s from it, the rate at which boundary layers of a medium with period ε decay. u⁰ is a sine series and χ a
trigonometric polynomial, so that B has all the derivatives a strong residual wants.

This is homogenised input: a method that uses it must say so. B itself is off by O(√ε) in H¹ (Bensoussan, Lions, Papanicolaou
1978): the boundary layer, which η cuts off, is what a correction has to find.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from scipy import fft

from hybrid_lib.errors import InputError, real_array
from hybrid_lib.multiscale.homogenisation import cell_problem

Function = Callable[[Array], Array]


def sine_solution(diagonal, source: Function, modes: int = 48) -> tuple[Function, Function]:
    r"""u⁰ and ∇u⁰ of −Σ_i a_i ∂_i²u⁰ = q in the unit cube with zero boundary values, by a sine series.

    .. math:: u^0(x) = \sum_m \frac{\hat q_m}{\pi^2 \sum_i a_i m_i^2} \prod_i \sin \pi m_i x_i

    Parameters
    ----------
    diagonal : (d,)
        a > 0, d = 1 or 2.
    source : callable x (d,) -> ()
        q; its coefficients come from values at (k/n), k = 1, …, n − 1, with n = 4 `modes`.
    modes : int
        Largest m_i.

    Returns
    -------
    u, gradient : callables x (d,) -> () and (d,)
        O(modes^d) each; the error falls as fast as the coefficients of q, divided by m².

    Examples
    --------
    >>> u, _ = sine_solution([2.0], lambda x: jnp.sin(jnp.pi * x[0]))
    >>> round(float(u(jnp.array([0.5]))) * 2 * np.pi**2, 6)
    1.0
    """
    a = np.asarray(diagonal, float)
    if a.shape not in ((1,), (2,)) or not np.all(np.isfinite(a) & (a > 0)):
        raise InputError("diagonal", "one or two numbers > 0", a.tolist(), "pass the diagonal of K*")
    if modes < 1:
        raise InputError("modes", "an integer >= 1", modes, "48 resolve sources wider than 1/20")
    n, d = 4 * modes, len(a)
    nodes = np.arange(1, n) / n
    grid = np.stack(np.meshgrid(*[nodes] * d, indexing="ij"), axis=-1).reshape(-1, d)
    values = np.asarray(jax.vmap(source)(jnp.asarray(grid))).reshape((n - 1,) * d)
    q = fft.dstn(values, type=1) / n**d  # coefficients of the sines
    squares = np.arange(1, modes + 1) ** 2
    denominator = np.pi**2 * sum(
        np.expand_dims(a[i] * squares, tuple(j for j in range(d) if j != i)) for i in range(d)
    )
    coefficients = q[(slice(0, modes),) * d] / denominator  # (modes,)·d
    m = np.pi * np.arange(1, modes + 1)

    def contract(factors: list[Array], dtype) -> Array:
        out = jnp.asarray(coefficients, dtype)
        for factor in factors:
            out = jnp.tensordot(factor, out, axes=(0, 0))
        return out

    def u(x: Array) -> Array:
        k = jnp.asarray(m, x.dtype)
        return contract([jnp.sin(k * x[i]) for i in range(d)], x.dtype)

    def gradient(x: Array) -> Array:
        k = jnp.asarray(m, x.dtype)
        sines, slopes = [jnp.sin(k * x[i]) for i in range(d)], [k * jnp.cos(k * x[i]) for i in range(d)]
        return jnp.stack(
            [contract([slopes[j] if i == j else sines[j] for j in range(d)], x.dtype) for i in range(d)]
        )

    return u, gradient


def trigonometric(values: np.ndarray, modes: int = 16) -> Function:
    """Real trigonometric polynomial on the unit cell through the Fourier coefficients of grid values.

    Parameters
    ----------
    values : (n,)·d
        At k/n, k = 0, …, n − 1, along each axis; d = 1 or 2.
    modes : int
        Frequencies `|k_i| ≤ modes` are kept; 2·modes < n.

    Returns
    -------
    callable y (d,) -> ()
    """
    n, d = values.shape[0], values.ndim
    if 2 * modes >= n:
        raise InputError("modes", f"less than half of the {n} grid points", modes, "refine the cell problem")
    k = np.arange(-modes, modes + 1)
    kept = (fft.fftn(values) / n**d)[np.ix_(*[k % n] * d)]  # (2 modes + 1)·d

    def function(y: Array) -> Array:
        waves = 2 * jnp.pi * jnp.asarray(k, y.dtype)
        out = lax.complex(jnp.asarray(kept.real, y.dtype), jnp.asarray(kept.imag, y.dtype))
        for i in range(d):  # one axis after the other: sines and cosines of 2 modes + 1 numbers an axis
            out = jnp.tensordot(lax.complex(jnp.cos(waves * y[i]), jnp.sin(waves * y[i])), out, axes=(0, 0))
        return out.real

    return function


def expansion(
    conductivity: Function, source: Function, direction, period: float, cells: int = 96, modes: int = 48
) -> Function:
    """The first-order expansion B on the unit cube, smooth and zero on the boundary.

    Parameters
    ----------
    conductivity : callable x (d,) -> () or (d, d)
        K with the given period along all axes; K* must be diagonal.
    source : callable x (d,) -> ()
        *q*.
    direction : (d,)
        e, the direction of the temperature drop.
    period : float
        ε.
    cells : int
        Cells a side of the cell problem (P1); its error is O(1/cells²).
    modes : int
        Of the sine series of u⁰.

    Returns
    -------
    callable x (d,) -> ()

    Raises
    ------
    InputError
        For a K* that is not diagonal, or as :func:`hybrid_lib.multiscale.homogenisation.cell_problem`.
    """
    e = real_array("direction", direction)
    solved = cell_problem(conductivity, len(e), cells, period)
    tensor = solved.tensor
    off = np.abs(tensor - np.diag(np.diag(tensor))).max()
    if off > 1e-6 * np.abs(tensor).max():
        raise InputError("K*", "a diagonal tensor", tensor.round(6).tolist(), "the sine series needs one")
    u, gradient = sine_solution(np.diag(tensor), source, modes)
    at = tuple((np.rint(solved.mesh.points * cells).astype(int) % cells).T)  # d arrays (N,)
    correctors = []
    for nodal in solved.correctors:
        grid = np.zeros((cells,) * len(e))
        grid[at] = nodal
        correctors.append(trigonometric(grid))

    def function(x: Array) -> Array:
        y = x / jnp.asarray(period, x.dtype)
        rate = jnp.asarray(2 * np.pi / period, x.dtype)
        cut = jnp.prod((1 - jnp.exp(-rate * x)) * (1 - jnp.exp(-rate * (1 - x))))
        drop = jnp.asarray(e, x.dtype) + gradient(x)
        chi = jnp.stack([c(y) for c in correctors])
        return u(x) + jnp.asarray(period, x.dtype) * cut * jnp.vdot(chi, drop)

    return function
