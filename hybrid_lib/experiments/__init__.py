"""The paper's experiments as data, their references, and how to run them or a problem of one's own (section 4.4)."""

from hybrid_lib.config import (
    CoarseConfig,
    Config,
    NetworkConfig,
    SamplingConfig,
    TrainingConfig,
    paths,
    with_settings,
)
from hybrid_lib.experiments.advise import Advice, Way, advise
from hybrid_lib.experiments.assemble import Setup, ansatz_of, assemble, evaluator
from hybrid_lib.experiments.certify import Certificate, certify
from hybrid_lib.experiments.environment import environment
from hybrid_lib.experiments.jumps import MeanFlux, SmoothingChange, mean_flux, smoothing_change
from hybrid_lib.experiments.own import ErrorEstimate, error_estimate, field_energy, own_configuration
from hybrid_lib.experiments.price import Elements, element_cost
from hybrid_lib.experiments.references import Reference, fine_solution, reference
from hybrid_lib.experiments.registry import EXPERIMENTS, METHODS, NETWORKS, SCALES, configuration, problem_of
from hybrid_lib.experiments.reopen import load
from hybrid_lib.experiments.result import RunResult
from hybrid_lib.experiments.runner import run, train
from hybrid_lib.experiments.sizes import Forecast, forecast, seconds_of_a_step
from hybrid_lib.experiments.solve import FieldSolution, solve
from hybrid_lib.methods.first_order import (
    divergence_weight,
    error_bounds,
    first_order_objective,
    objective_value,
    stability_range,
)
from hybrid_lib.pinn.flux import FirstOrderAnsatz, first_order_ansatz
from hybrid_lib.problems import Problem, heat1d_problem, heat2d_problem, own_problem, poincare_constant
from hybrid_lib.units import units

__all__ = [
    "EXPERIMENTS",
    "METHODS",
    "NETWORKS",
    "SCALES",
    "Advice",
    "Certificate",
    "CoarseConfig",
    "Config",
    "Elements",
    "ErrorEstimate",
    "FieldSolution",
    "FirstOrderAnsatz",
    "Forecast",
    "MeanFlux",
    "NetworkConfig",
    "Problem",
    "Reference",
    "RunResult",
    "SamplingConfig",
    "Setup",
    "SmoothingChange",
    "TrainingConfig",
    "Way",
    "advise",
    "ansatz_of",
    "assemble",
    "certify",
    "configuration",
    "divergence_weight",
    "element_cost",
    "environment",
    "error_bounds",
    "error_estimate",
    "evaluator",
    "field_energy",
    "fine_solution",
    "first_order_ansatz",
    "first_order_objective",
    "forecast",
    "heat1d_problem",
    "heat2d_problem",
    "load",
    "mean_flux",
    "objective_value",
    "own_configuration",
    "own_problem",
    "paths",
    "poincare_constant",
    "problem_of",
    "reference",
    "run",
    "seconds_of_a_step",
    "smoothing_change",
    "solve",
    "stability_range",
    "train",
    "units",
    "with_settings",
]
