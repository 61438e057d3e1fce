"""The paper's experiments as data, their references, and how to run them or a problem of one's own (section 4.4)."""

from hybrid_lib.experiments.assemble import Setup, ansatz_of, assemble, evaluator
from hybrid_lib.experiments.config import (
    CoarseConfig,
    Config,
    NetworkConfig,
    SamplingConfig,
    TrainingConfig,
    paths,
    with_settings,
)
from hybrid_lib.experiments.problems import Problem, heat1d_problem, heat2d_problem
from hybrid_lib.experiments.references import Reference, fine_solution, reference
from hybrid_lib.experiments.registry import EXPERIMENTS, METHODS, NETWORKS, SCALES, configuration, problem_of
from hybrid_lib.experiments.runner import RunResult, environment, run, train

__all__ = [
    "EXPERIMENTS",
    "METHODS",
    "NETWORKS",
    "SCALES",
    "CoarseConfig",
    "Config",
    "NetworkConfig",
    "Problem",
    "Reference",
    "RunResult",
    "SamplingConfig",
    "Setup",
    "TrainingConfig",
    "ansatz_of",
    "assemble",
    "configuration",
    "environment",
    "evaluator",
    "fine_solution",
    "heat1d_problem",
    "heat2d_problem",
    "paths",
    "problem_of",
    "reference",
    "run",
    "train",
    "with_settings",
]
