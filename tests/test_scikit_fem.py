"""Every kind of side, domain and constant medium: on the same mesh scikit-fem finds the same nodal values."""

import dataclasses
import functools

import jax.numpy as jnp
import numpy as np
import pytest

import hybrid_lib as hl
from hybrid_lib import fem
from hybrid_lib.experiments.solve import solve_on
from hybrid_lib.fem import quadratic
from hybrid_lib.pinn import domains

skfem = pytest.importorskip("skfem")
from skfem.helpers import grad  # noqa: E402

TENSOR = hl.media.tensor([3.0, 0.5], 0.4)
HOLE = [(1.0, 0.7), (1.6, 0.7), (1.6, 1.3), (1.0, 1.3)]
RING = domains.polygon([(0, 0), (3, 0), (3, 2), (0, 2)], [HOLE], sides={"left": [3], "right": [1]})


@functools.cache
def tagged():
    """The ring as a mesh of three materials, one of them a tensor."""
    mesh = RING.mesh(2)
    third = np.digitize(mesh.points[mesh.cells].mean(axis=1)[:, 0], [0.8, 1.9])
    mesh = dataclasses.replace(mesh, materials={name: np.flatnonzero(third == k) for k, name in enumerate("abc")})
    return domains.from_mesh(mesh), hl.media.by_tag(mesh, {"a": 1.0, "b": TENSOR, "c": 50.0})


DOMAINS = {
    "box": lambda: (domains.box((-1.0, 2.0), (1.0, 3.0)), TENSOR),
    "lshape": lambda: (domains.lshape(), hl.media.constant(2.0, 2)),
    "polygon": lambda: (RING, TENSOR),
    "tags": tagged,
}
HELD, FLUX = hl.Dirichlet(lambda x: x[0] * x[1] + 2), hl.Neumann(lambda x: 1 - x[0] * x[1])
EXCHANGE = hl.Robin(lambda x: 3 + x[0] / 2, lambda x: 20 - x[1])
SIDES = {  # in turn, side by side
    "drop": None,
    "temperatures": [HELD],
    "fluxes": [HELD, FLUX],
    "insulated": [HELD, hl.Neumann()],
    "exchange": [EXCHANGE],
    "mixed": [FLUX, EXCHANGE, HELD, hl.Neumann(-2.0)],
}


def theirs(problem, mesh, element):
    """scikit-fem's points and values of the unknowns."""
    grid = skfem.MeshTri(mesh.points.T.copy(), mesh.cells.T.copy())
    K = fem.evaluate(problem.medium.conductivity, mesh.points[mesh.cells].mean(axis=1))
    K = K if K.ndim == 3 else K[:, None, None] * np.eye(2)
    basis = skfem.Basis(grid, element, intorder=8)
    form = skfem.BilinearForm(lambda u, v, w: np.einsum("kij,jkq,ikq->kq", K, grad(u), grad(v)))
    at = lambda value, x: value(x) if callable(value) else value + 0 * x[0]  # noqa: E731
    A, b = form.assemble(basis), skfem.LinearForm(lambda v, w: (1 + w.x[0] * w.x[1]) * v).assemble(basis)
    number = {tuple(sorted(pair)): k for k, pair in enumerate(grid.facets.T.tolist())}
    x, held = np.zeros(len(b)), []
    for name, (kind, value, *rest) in problem.conditions().items():
        where = np.array([number[tuple(sorted(pair))] for pair in mesh.sides[name].tolist()])
        side = skfem.FacetBasis(grid, element, facets=where, intorder=8)
        if kind == "value":
            held.append(basis.get_dofs(facets=where).all())
            x[held[-1]] = [float(at(value, jnp.asarray(point))) for point in basis.doflocs.T[held[-1]]]
        elif kind == "flux":
            b = b + skfem.LinearForm(lambda v, w, p=value: at(p, w.x) * v).assemble(side)
        else:
            A = A + skfem.BilinearForm(lambda u, v, w, c=rest[0]: at(c, w.x) * u * v).assemble(side)
            b = b + skfem.LinearForm(lambda v, w, a=value, c=rest[0]: at(c, w.x) * at(a, w.x) * v).assemble(side)
    held = np.unique(np.concatenate(held)) if held else np.zeros(0, int)
    return basis.doflocs, skfem.solve(*skfem.condense(A, b, x=x, D=held))


@pytest.mark.parametrize("sides", SIDES)
@pytest.mark.parametrize("name", DOMAINS)
def test_the_same_mesh_gives_the_same_values(name, sides):
    domain, medium = DOMAINS[name]()
    turn = SIDES[sides]
    given = {"direction": (1.0, -2.0)} if turn is None else {
        "boundary": {side: turn[k % len(turn)] for k, side in enumerate(domain.sides)}
    }  # fmt: skip
    problem = hl.Problem(medium=medium, domain=domain, source=lambda x: 1 + x[0] * x[1], **given)
    mesh = domain.labelled(domain.mesh(3))
    found = {1: (mesh.points, solve_on(problem, mesh).w)}
    V, nodal = quadratic.solve(mesh, medium.conductivity, problem.source, conditions=problem.conditions())
    found[2] = V.points, nodal
    for degree, element in ((1, skfem.ElementTriP1()), (2, skfem.ElementTriP2())):
        points, values = theirs(problem, mesh, element)
        order = np.lexsort(np.round(found[degree][0].T, 9)), np.lexsort(np.round(points, 9))
        np.testing.assert_allclose(found[degree][1][order[0]], values[order[1]], rtol=0, atol=1e-10 * np.abs(values).max())
