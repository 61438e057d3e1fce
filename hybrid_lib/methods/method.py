r"""What a run asks of its method; each method is one file of this package.

A method is a small frozen object without state. From a problem and a configuration it makes what is trained, and afterwards it
answers for the result. What most methods share stands here as a default: a method says only where it differs.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple, Protocol, TypedDict

import jax.numpy as jnp
import numpy as np
from jax import Array

from hybrid_lib import training
from hybrid_lib.config import Config
from hybrid_lib.errors import InputError
from hybrid_lib.fem import Mesh
from hybrid_lib.methods.cells import Coarse
from hybrid_lib.problems import Problem, is_plain
from hybrid_lib.training.ritz import Energy, RitzResult, ritz_finish
from hybrid_lib.units import units

Tree = Any
LEAST = 16
"""Cells a unit length of the finish, at least, on domains of one's own and with temperatures on sides."""


class Data(TypedDict, total=False):
    """What the blocks of one seed read beside θ; a tree of arrays, with a leading axis of seeds in a ``Setup``.

    Attributes
    ----------
    fixed : tree
        Frequencies that are not trained.
    points : dict of str to (M, d)
        ``collocation``; ``boundary`` with soft conditions; ``nodes``, where the averages of a hybrid method are values.
    embedding : tree
        What the fields at the collocation points need and θ does not touch.
    conductivity, divergence, source : (M,) or (M, d, d); (M, d); (M,)
        There: K, ∇·K, and f of the strong form or q itself.
    particular : (M, d)
        A flux that balances the source.
    scale : (M,)
        Roots of the quadrature weights over their mean, where points have weights.
    coupling, unit_factor, cells, parts : trees
        What a coupling reads: averages or the quadrature in the cells, the factor of the dual norm, the network's part of
        that quadrature, the part of the domain that a point lies in.
    exchange : tree
        Points of the sides with an exchange, and what their block reads.
    """

    fixed: Tree
    points: dict[str, Array]
    embedding: Tree
    conductivity: Array
    divergence: Array
    source: Array
    particular: Array
    scale: Array
    coupling: Tree
    unit_factor: Array
    cells: Tree
    parts: Array
    exchange: Tree


class Counts(NamedTuple):
    """How much there is of everything: collocation points, coarse cells, their nodes, points of the rule in a cell, and d."""

    points: int
    cells: int
    nodes: int
    inner_nodes: int
    rule: int
    dimension: int


class Load(NamedTuple):
    """Which large arrays a method has beside those of every run, see :mod:`hybrid_lib.experiments.sizes`.

    Attributes
    ----------
    rows : int
        Residual rows at a collocation point.
    inner : int
        Points in the coarse cells, beside the collocation points.
    coupling : int
        Rows that depend on all points.
    sensitivity : int
        Numbers that such a row depends on.
    factors : float
        Numbers in the coarse factors.
    parts : int
        Of about the same number of parameters, with a Gauss-Newton step each.
    """

    rows: int = 1
    inner: int = 0
    coupling: int = 0
    sensitivity: int = 0
    factors: float = 0.0
    parts: int = 1


class Method(Protocol):
    """A way to solve a problem by networks.

    Attributes
    ----------
    name : str
        Key in :data:`hybrid_lib.methods.choice.BY_NAME`.
    admits_jumps : bool
        Whether K may jump: the method uses no ∇K.
    admits_sides, admits_temperatures : bool
        Whether it knows all domains and any conditions on their sides; whether it knows temperatures all around all of them.
    balanced : bool
        Whether Adam balances the weights unless told otherwise.
    own_sizes : bool
        Whether the paper's experiments have sizes of their own with this formulation.
    splines : bool
        Whether it solves for splines of a coarse mesh beside its networks.
    sharp : bool
        Whether the errors of the paper's problems are taken from spectral elements, since they may be below those of P1.
    reports : tuple of str
        Names of what :meth:`report` knows of a seed beside its errors; they are columns of the summary.
    finishes : pair of int
        Steps of the finish after Gauss-Newton, on a line and in the plane.
    momentum : float
        Of Gauss-Newton in the recommended configuration; another optimiser leaves it unread.
    """

    name: str
    admits_jumps: ClassVar[bool] = False
    admits_sides: ClassVar[bool] = False
    admits_temperatures: ClassVar[bool] = False
    balanced: ClassVar[bool] = True
    sharp: ClassVar[bool] = False
    own_sizes: ClassVar[bool] = False
    splines: ClassVar[bool] = False
    reports: ClassVar[tuple[str, ...]] = ()
    finishes: ClassVar[tuple[int, int]] = (0, 2)
    momentum: ClassVar[float] = 0.0

    def check(self, config: Config) -> None:
        """Refuse settings that this method does not have; called with every configuration that is made."""

    def recommended(self, config: Config) -> Config:
        """The configuration for a problem of one's own; `config` is the one for the defect with Gauss-Newton."""
        return config

    @abstractmethod
    def ansatz(self, problem: Problem, config: Config) -> Any:
        """The trial field: an :class:`~hybrid_lib.pinn.ansatz.Ansatz`, or what can be read as one that is u.

        A run reads ``dimension``, ``network.dtype``, ``init``, ``embed``, ``jet``, ``base`` and ``without_base``.
        """

    def coarse(self, problem: Problem, config: Config) -> Coarse | None:
        """Coarse mesh and problem; None for a method without."""
        return None

    @abstractmethod
    def sampler(
        self, problem: Problem, config: Config, ansatz: Any, seeds: Sequence[int], fixed: list[Tree], coarse: Coarse | None
    ) -> Callable[[int], list[Data]]:
        """The function step ↦ data of every seed; what does not change with the step is computed once."""

    @abstractmethod
    def objective(self, problem: Problem, config: Config, ansatz: Any, coarse: Coarse | None) -> training.Objective:
        """The residual blocks, in the units of the problem, and the coarse model."""

    def weights(self, problem: Problem, config: Config, coarse: Coarse | None) -> dict[str, float]:
        """Weights of the blocks at the start; 1 where none is given."""
        return {"boundary": config.boundary_weight}

    def optimiser(self, config: Config, optimiser: training.Optimiser) -> training.Optimiser:
        """The optimiser of the run, from the one that the configuration names."""
        return optimiser

    def unit(self, problem: Problem) -> float:
        """Unit of the root of the number that selects the iterate."""
        return units(problem).residual

    def has_energy(self, config: Config) -> bool:
        """Whether the energy of the trial field is that of the problem, in a precision that can tell two fields apart.

        Such a run can end with the finish of :mod:`hybrid_lib.experiments.finish`.
        """
        return False

    def energy(self, problem: Problem, ansatz: Any, fixed: Tree, mesh: Mesh, order: int) -> Energy:
        """That energy as a function of θ, by the rule of this order on `mesh`; asked where :meth:`has_energy` is true."""
        raise NotImplementedError

    def finish(self, setup: Any, theta: Tree, fixed: Tree, steps: int, orders: tuple[int, int]) -> RitzResult:
        """At most `steps` steps on the energy with one rule on cells of a part of the period, judged by another."""
        config, domain = setup.config, setup.problem.domain
        cells = math.ceil({1: 6, 2: 2}[domain.dimension] / config.eps)
        if not is_plain(setup.problem):
            cells = max(cells, LEAST)
        mesh = domain.mesh(cells)
        return ritz_finish(theta, *(self.energy(setup.problem, setup.ansatz, fixed, mesh, n) for n in orders), steps=steps)

    def load(self, counts: Counts) -> Load:
        """The large arrays, for the forecast of the memory."""
        return Load()

    # After training: `setup` is an experiments.assemble.Setup, θ and data are those of one seed.

    def view(self, setup: Any, theta: Tree, data: Data) -> dict[str, np.ndarray]:
        """The coarse view of a result: ``nodes``, ``upscaled``, ``state`` and what the coupling compares with."""
        raise InputError("coarse", "a run of the hybrid method", setup.config.method, "run with method='hybrid'")

    def quadrature_error(self, setup: Any, theta: Tree, data: Data, pieces: int) -> Any:
        """How much a finer rule changes what was trained."""
        raise InputError(
            "quadrature_error", "a hybrid run with the defect coupling", setup.config.coarse.coupling,
            "run with coarse.coupling=defect",
        )  # fmt: skip

    def estimate(self, setup: Any, theta: Tree, data: Data, pieces: int) -> Any:
        """The error, as the run itself can tell it."""
        config = setup.config
        raise InputError(
            "error_estimate", "a hybrid run with coarse.coupling=defect and boundary=hard",
            f"method {config.method}, coarse.coupling={config.coarse.coupling}, boundary={config.boundary}", "run with these",
        )  # fmt: skip

    def flux(self, problem: Problem, ansatz: Any, theta: Tree, fixed: Tree, x: Array) -> Array:
        """σ ≈ K(∇u + e) at one point `x` (d,), as the method knows it best; by default from u alone."""
        total = jnp.stack(ansatz.jet(theta, fixed, x).gradient) + jnp.asarray(problem.direction, x.dtype)
        K = jnp.asarray(problem.medium.conductivity(x), x.dtype)
        return K @ total if K.ndim else K * total

    def report(self, setup: Any, theta: Tree, data: Data, reference: Any = None) -> dict[str, float]:
        """The values of ``reports``, a bound for instance, of the iterate whose errors the summary has, or nan."""
        return {}


