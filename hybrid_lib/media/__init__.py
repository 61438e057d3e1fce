"""Media: the fine-scale conductivity K^ε of −∇·(K^ε ∇w) = q as a function of one point.

A `Medium` carries the conductivity, its row divergence (the strong form needs ∇K^ε, and so does the lifted
source f^ε = q + ∂₁K^ε) and bounds 0 < α ≤ K^ε ≤ β. Points and values are dimensionless; a value has the
dtype of its point. Every factory validates on the host, in float64, and returns closures that go through
`jax.jit`, `jax.vmap` and derivatives.

Paper: (4.1), (4.2), (4.8)/(4.11) and the media of section 4.4.
"""

from hybrid_lib.media.data import random_smooth, raster
from hybrid_lib.media.expressions import Expression, from_formula, from_function
from hybrid_lib.media.formulas import constant, layered, paper_1d, paper_2d, tensor
from hybrid_lib.media.images import from_image
from hybrid_lib.media.medium import SAFETY, SAMPLES, Medium
from hybrid_lib.media.tables import table
from hybrid_lib.media.tags import by_tag

__all__ = [
    "SAFETY",
    "SAMPLES",
    "Expression",
    "Medium",
    "by_tag",
    "constant",
    "from_formula",
    "from_function",
    "from_image",
    "layered",
    "paper_1d",
    "paper_2d",
    "random_smooth",
    "raster",
    "table",
    "tensor",
]
