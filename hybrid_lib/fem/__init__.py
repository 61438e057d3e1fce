"""P1 finite elements on simplicial meshes in one and two dimensions."""

from hybrid_lib.fem.adaptive import bisect
from hybrid_lib.fem.assembly import (
    Pattern,
    assemble,
    cell_coefficient,
    cell_gradients,
    element_stiffness,
    flux_load,
    load,
    mass,
    pattern,
    stiffness,
)
from hybrid_lib.fem.bounds import Certified, EnergyBound, certified_solve, energy_bound
from hybrid_lib.fem.dense import (
    SymmetricFactor,
    factor,
    factor_solve,
    half_solve,
    linear_solve,
    tensor_eigenvalues,
    tensor_root,
    tensor_solve,
    thin_svd,
)
from hybrid_lib.fem.grids import box, grid, interval, lshape, unit_square
from hybrid_lib.fem.identity import given
from hybrid_lib.fem.location import inside, interpolate, interpolation_matrix, locate
from hybrid_lib.fem.mesh import Mesh, from_simplices, refine
from hybrid_lib.fem.norms import flux_error, flux_norm, h1_error, h1_seminorm, l2_error, l2_norm
from hybrid_lib.fem.polygons import polygon
from hybrid_lib.fem.quadrature import composite_rule, evaluate, quadrature_points, rule
from hybrid_lib.fem.reading import read_mesh
from hybrid_lib.fem.reuse import shared
from hybrid_lib.fem.solve import solve_diffusion, solve_dirichlet

__all__ = [
    "Certified",
    "EnergyBound",
    "Mesh",
    "Pattern",
    "SymmetricFactor",
    "assemble",
    "bisect",
    "box",
    "cell_coefficient",
    "cell_gradients",
    "certified_solve",
    "composite_rule",
    "element_stiffness",
    "energy_bound",
    "evaluate",
    "factor",
    "factor_solve",
    "flux_error",
    "flux_load",
    "flux_norm",
    "from_simplices",
    "given",
    "grid",
    "h1_error",
    "h1_seminorm",
    "half_solve",
    "inside",
    "interpolate",
    "interpolation_matrix",
    "interval",
    "l2_error",
    "l2_norm",
    "linear_solve",
    "load",
    "locate",
    "lshape",
    "mass",
    "pattern",
    "polygon",
    "quadrature_points",
    "read_mesh",
    "refine",
    "rule",
    "shared",
    "solve_diffusion",
    "solve_dirichlet",
    "stiffness",
    "tensor_eigenvalues",
    "tensor_root",
    "tensor_solve",
    "thin_svd",
    "unit_square",
]
