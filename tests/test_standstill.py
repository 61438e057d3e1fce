"""No run may stand still: jaxlib's batched LAPACK calls wait on the pool of threads that they run on."""

import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hybrid_lib import experiments, fem, media, training
from hybrid_lib.experiments.assemble import assemble
from hybrid_lib.experiments.registry import problem_of

CALL = re.compile(r"custom_call @(lapack_\w+).*?: \(tensor<([0-9x]*)x[a-z]\w*>")
SIZES = {"network.widths": "8", "sampling.points": "300", "training.steps": "2"}


def calls(program, *arguments) -> list[tuple[str, int]]:
    """Name and number of matrices of every LAPACK call of a program."""
    found = CALL.findall(jax.jit(program).lower(*arguments).as_text())
    shapes = [(name, [int(n) for n in shape.split("x")]) for name, shape in found]
    return [(name, int(np.prod(shape[:-2], dtype=int))) for name, shape in shapes]


def alone(program, *arguments) -> list[str]:
    """Names of the LAPACK calls of a program, none of which may take a batch."""
    found = calls(program, *arguments)
    assert not [call for call in found if call[1] != 1], found
    return [name for name, _ in found]


OPTIMISERS = [training.adam(1e-3)] + [training.gauss_newton(solver=name, rank=5) for name in ("dense", "woodbury", "cg")]
CASES = [
    ("heat1d-eps15", {}),
    ("heat1d-eps15", {"coarse.coupling": "averaged-both"}),
    ("heat1d-eps15", {"coarse.coupling": "defect"}),
    ("heat1d-eps15", {"coarse.coupling": "averaged", "coarse.parts": "3"}),
    ("heat1d-eps15", {"coarse.coupling": "defect", "coarse.parts": "3"}),
    ("heat2d", {"coarse.coupling": "averaged-both", "coarse.parts": "2"}),
    ("heat2d", {"coarse.coupling": "defect", "coarse.parts": "2"}),
    ("heat1d-eps15", {"method": "pinn"}),
    ("heat2d", {"method": "pinn", "formulation": "first-order"}),
]


@pytest.mark.parametrize("experiment, settings", CASES)
def test_a_step_of_several_seeds_calls_lapack_for_one_matrix_at_a_time(experiment, settings):
    """Each coupling, number of parts and formulation with each optimiser and solver."""
    config = experiments.configuration(experiment, settings.get("method", "hybrid"), None, "quick", "gauss-newton")
    cells = {} if "method" in settings else {"coarse.cells": "6"}
    setup = assemble(problem_of(config), experiments.with_settings(config, SIZES | cells | settings), (0, 1))
    for optimiser in OPTIMISERS:
        program = training.program(setup.objective, optimiser, setup.program.options, 2)
        members = setup.state.members._replace(opt_state=jax.vmap(optimiser.init)(setup.state.members.params))
        names = alone(program.advance, setup.state._replace(members=members), setup.data, jnp.asarray(0, jnp.int32))
        assert optimiser is OPTIMISERS[0] or "lapack_dpotrf_ffi" in names


@pytest.mark.parametrize("formulation", ["strong", "first-order"])
def test_a_tensor_at_every_point_needs_no_lapack(formulation):
    K = media.from_function(lambda x: jnp.array([[2.0, 0.5], [0.5, 1.0]]) * (1 + x[0]), 2, alpha=0.5, beta=5.0)
    problem = experiments.own_problem(K, 1.0)
    config = experiments.own_configuration(problem, 0.5, widths=(6,), steps=1)
    config = experiments.with_settings(config, {"formulation": formulation} | ({"method": "pinn"} if formulation != "strong" else {}))
    setup = assemble(problem, config, (0, 1))
    alone(setup.program.advance, setup.state, setup.data, jnp.asarray(0, jnp.int32))


@pytest.mark.parametrize("axes", [(0, 0), (0, None), (None, 0)])
@pytest.mark.parametrize("columns", [(), (3,)])
def test_solves_of_a_batch_are_those_of_its_members(axes, columns):
    """Values, Jacobians both ways, and rows pulled back under a second vmap, for each of the three triangular solves."""
    key = jax.random.key(0)
    root = jax.random.normal(key, (4, 5, 5))
    L = jnp.tril(root) + 5.0 * jnp.eye(5)[None]
    b = jax.random.normal(key, (4, 5, *columns))
    arguments = [whole if axis == 0 else whole[0] for whole, axis in zip((L, b), axes, strict=True)]

    def everything(L, b):
        def solve(L, b):
            factor = fem.SymmetricFactor(L)
            return fem.half_solve(factor, b), fem.half_solve(factor, b, transposed=True), fem.factor_solve(factor, b)

        return solve(L, b), jax.jacrev(solve, (0, 1))(L, b), jax.jacfwd(solve, (0, 1))(L, b)

    def plain(L, b):
        def solve(L, b):
            return jnp.linalg.solve(L, b), jnp.linalg.solve(L.T, b), jnp.linalg.solve(L @ L.T, b)

        both = jax.jacfwd(solve, (0, 1))(L, b)
        return solve(L, b), both, both

    batched = jax.vmap(everything, axes)
    assert set(alone(batched, *arguments)) == {"lapack_dtrsm_ffi"}
    expected = jax.vmap(plain, axes)(*arguments)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-12), jax.jit(batched)(*arguments), expected)


def test_the_plain_command_ends_on_all_cores():
    """It stood still for ever, five times in five, while the coarse solves of the seeds were one batch."""
    command = [sys.executable, "-m", "hybrid_lib", "run", "heat1d-eps100", "--coupling", "defect", "--optimiser", "gauss-newton"]
    command += ["--seed", "11", "12", "13", "14", "15", "--set", "training.steps=6", "--set", "training.finish=0"]
    plain = {name: value for name, value in os.environ.items() if "THREADS" not in name and name not in ("NPROC", "XLA_FLAGS")}
    plain["PYTHONPATH"] = str(Path(experiments.__file__).parents[2])
    done = subprocess.run(command, env=plain, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("completed") == 5
