"""The methods, a file each: what is trained, and what is known of the result (paper section 3; Alg. 3.1 is the same for all).

* ``strong``: the network alone, (3.24);
* ``averaged``: the paper's couplings, (2.10) and (2.16);
* ``defect``: the coarse test functions see no residual, :mod:`hybrid_lib.multiscale.defect`;
* ``first_order``: the solution and its flux as two unknowns;
* ``hypercircle``: a field and a flux that balances the source; the objective is the sum of both squared errors.

Nobody else asks which method a configuration has: :func:`~hybrid_lib.methods.choice.method_of` chooses, and the rest is asked of
the method.
"""

from hybrid_lib.methods.cells import Coarse
from hybrid_lib.methods.choice import (
    BY_NAME,
    balance_every,
    finish_steps,
    method_of,
    recommended_method,
    require_form,
)
from hybrid_lib.methods.method import Counts, Data, Load, Method

__all__ = [
    "BY_NAME", "Coarse", "Counts", "Data", "Load", "Method",
    "balance_every", "finish_steps", "method_of", "recommended_method", "require_form",
]  # fmt: skip
