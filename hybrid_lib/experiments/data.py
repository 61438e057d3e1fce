"""The former place of the data of a run; see :mod:`hybrid_lib.methods`."""

from hybrid_lib.methods import Coarse, method_of
from hybrid_lib.methods.cells import coarse_problem_of, rule_of  # noqa: F401
from hybrid_lib.methods.defect import defect_of  # noqa: F401


def sampler(problem, config, ansatz, seeds, fixed, coarse, mesh):
    """As ``Method.sampler``, with the coarse problem and its mesh apart."""
    both = None if coarse is None else Coarse(mesh, coarse)
    return method_of(config).sampler(problem, config, ansatz, seeds, fixed, both)
