"""The objective of a configuration, over its own trial field or another one; see :mod:`hybrid_lib.methods`."""

from __future__ import annotations

from typing import Any

from hybrid_lib import training
from hybrid_lib.config import Config
from hybrid_lib.methods import Coarse, method_of
from hybrid_lib.multiscale.coarse import CoarseProblem
from hybrid_lib.problems import Problem


def objective_of(problem: Problem, config: Config, ansatz: Any, coarse: CoarseProblem | None) -> training.Objective:
    """Blocks of a configuration over one evaluation of the network; `ansatz` may be another one than the configuration's."""
    return method_of(config).objective(problem, config, ansatz, None if coarse is None else Coarse(None, coarse))
