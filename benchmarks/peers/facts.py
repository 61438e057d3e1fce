"""What the peers' scripts say about themselves, and what reading the libraries said about them."""

from __future__ import annotations

import io
import tokenize
from pathlib import Path

HERE = Path(__file__).resolve().parent
SCRIPTS = {name: f"solve_{name}.py" for name in ("ours", "deepxde", "jinns", "pina", "jno")}
SKIPPED = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)


def code_lines(source: str) -> set[int]:
    """Numbers of the lines that hold code: not blank, not a comment, not a docstring."""
    lines: set[int] = set()
    fresh = True  # at the start of a statement, where a string alone is a docstring
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in SKIPPED:
            fresh = fresh or token.type == tokenize.NEWLINE
            continue
        if not (token.type == tokenize.STRING and fresh):
            lines.update(range(token.start[0], token.end[0] + 1))
        fresh = False
    return lines


def user_lines(peer: str) -> dict[str, int]:
    """Lines of code between ``# problem`` and ``# end of problem``: without the part on features, and that part."""
    source = (HERE / SCRIPTS[peer]).read_text(encoding="utf-8")
    inside = featured = False
    count = {"plain": 0, "features": 0}
    code = code_lines(source)
    for number, line in enumerate(source.splitlines(), 1):
        mark = line.strip()
        if mark in ("# problem", "# end of problem"):
            inside = mark == "# problem"
        elif mark in ("# features", "# end of features"):
            featured = mark == "# features"
        elif inside and number in code:
            count["features" if featured else "plain"] += 1
    return count


ABSENT = {"fbpinns": "not on PyPI; only its repository can be installed"}

ABILITIES = {
    "hard boundary": {
        "ours": "by name",
        "deepxde": "Net.apply_output_transform",
        "jinns": "output_transform of PINN_MLP.create",
        "pina": "in the module's forward, as in its tutorial",
        "jno": "a factor in the expression, as in its tutorials",
    },
    "variable coefficient": {
        "ours": "a Medium; K and its divergence are computed once at the points",
        "deepxde": "in the residual, at every iteration; auxiliary variables are left out on JAX (model.py)",
        "jinns": "in the residual, or eq_params_heterogeneity; at every iteration",
        "pina": "in the residual, at every iteration",
        "jno": "in the expression, at every iteration",
    },
    "Fourier features": {
        "ours": "by name",
        "deepxde": "by hand on JAX, apply_feature_transform; MsFFN has no JAX version (deepxde/nn/jax)",
        "jinns": "by hand, input_transform",
        "pina": "FourierFeatureEmbedding",
        "jno": "by hand, in the expression",
    },
    "loss balancing": {
        "ours": "gradient norms",
        "deepxde": "none; loss_weights are constants",
        "jinns": "prior_loss, soft_adapt, lr_annealing, ReLoBRaLo",
        "pina": "NeuralTangentKernelWeighting, SelfAdaptiveWeighting",
        "jno": "ReLoBRaLo, SoftAdapt, gradient norms, tangent kernel and others",
    },
    "coarse constraint": {
        "ours": "by name, with adjoint",
        "deepxde": "finite elements, averages and the gate by hand; the residual sees all points",
        "jinns": "a loss class of one's own: a residual sees one point (vmap over points)",
        "pina": "finite elements, averages and the gate by hand; the residual sees all points",
        "jno": "its elements are differentiable in the same graph; averages and the gate by hand",
    },
    "Gauss-Newton": {
        "ours": "by name, dense, in parameters or points",
        "deepxde": "none on JAX",
        "jinns": "vanilla_ngd; the Broyden family",
        "pina": "none of its own; any torch optimiser",
        "jno": "energy natural gradient (engd); SSBroyden, SSBFGS, SOAP",
    },
}
"""How each library does it, found in its documentation or source at the pinned version."""
