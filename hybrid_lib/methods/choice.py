"""Which method a configuration has, and what follows from it: the one place that asks."""

from __future__ import annotations

from hybrid_lib.config import CHECKS, CHOICES, Config
from hybrid_lib.errors import InputError
from hybrid_lib.methods.averaged import Averaged
from hybrid_lib.methods.defect import Defect
from hybrid_lib.methods.first_order import FirstOrder
from hybrid_lib.methods.hypercircle import Hypercircle
from hybrid_lib.methods.lifting import lifting
from hybrid_lib.methods.method import Method
from hybrid_lib.methods.steps import second_order
from hybrid_lib.methods.strong import Strong
from hybrid_lib.problems import Problem, is_plain, require_drop

BY_NAME: dict[str, Method] = {
    method.name: method for method in (Strong(), Averaged(), Averaged("averaged-both"), Defect(), FirstOrder(), Hypercircle())
}
"""Every method by the name that a configuration has for it, a coupling or a formulation."""


def method_of(config: Config) -> Method:
    """The method of a configuration: that of its formulation; in the strong one the network alone, or the coupling.

    Examples
    --------
    >>> method_of(Config("heat1d-eps15", 1 / 15)).name, method_of(Config("heat1d-eps15", 1 / 15, method="pinn")).name
    ('averaged', 'strong')
    """
    if config.formulation != "strong":
        return BY_NAME[config.formulation]
    return BY_NAME[config.coarse.coupling if config.method == "hybrid" else "strong"]


def recommended_method(formulation: str, problem: Problem | None = None) -> Method:
    """The method for a problem of one's own: in the strong formulation the one with the defect, where it knows the problem."""
    if formulation == "strong" and problem is not None and not (is_plain(problem) and any(problem.direction)):
        return BY_NAME["strong"]
    if formulation not in CHOICES["formulation"]:
        raise InputError("formulation", "one of " + ", ".join(CHOICES["formulation"]), repr(formulation), "choose one of these")
    return BY_NAME["defect" if formulation == "strong" else formulation]


def require_form(problem: Problem, method: Method) -> None:
    """Refuse a problem whose sides or domain a method does not know, and say which form does.

    Examples
    --------
    >>> from hybrid_lib.problems import heat1d_problem
    >>> require_form(heat1d_problem(0.1), BY_NAME["averaged"])
    """
    other = [name for name, condition in problem.conditions().items() if condition[0] != "value"]
    remedy = "use formulation=hypercircle, or solve it by elements, hybrid_lib.solve"
    if method.admits_temperatures and other:
        raise InputError(method.name, "a temperature on every side", f"another condition on {other[0]}", remedy)
    if not (method.admits_sides or method.admits_temperatures):
        require_drop(problem, method.name, remedy)
        if not any(problem.direction):
            received = f"direction {problem.direction}, for which K̂ is not defined"
            raise InputError(method.name, "a temperature drop", received, "use method=pinn, or elements, hybrid_lib.solve")
    lifting(problem)


def balance_every(config: Config) -> int:
    """Steps between two updates of the weights, 0 for none; the setting, or what None stands for."""
    if config.training.balance_every is not None:
        return config.training.balance_every
    return 100 if method_of(config).balanced and not second_order(config) else 0


def finish_steps(config: Config, dimension: int) -> int:
    """Most steps of the Ritz finish, see :mod:`hybrid_lib.training.ritz`; the setting, or what None stands for.

    That is 2 after Gauss-Newton in two dimensions, where training leaves an error in L² that the energy still sees, and 0
    otherwise: in one dimension the runs end where the energy is down to rounding. The hypercircle takes one.
    """
    if config.training.finish is not None:
        return config.training.finish
    method = method_of(config)
    return method.finishes[dimension - 1] if second_order(config) and method.has_energy(config) else 0


def _admitted(config: Config) -> None:
    """Refuse what the method of a configuration does not have."""
    method = method_of(config)
    method.check(config)
    if config.network.coarse_cells and not method.splines:
        received = f"formulation={config.formulation}"
        raise InputError("network.coarse_cells", "formulation=hypercircle", received, "set network.coarse_cells=none")
    if not second_order(config) and config.training.momentum not in (0, method.momentum):
        received = f"{config.training.momentum} with optimiser {config.training.optimiser}"
        raise InputError("training.momentum", "0 but for gauss-newton", received, "set training.momentum=0")
    if config.training.finish and not method.has_energy(config):
        raise InputError(
            "training.finish", "0 but for formulation=strong or hypercircle, boundary=hard and dtype=float64",
            f"{config.training.finish} with formulation={config.formulation}, boundary={config.boundary}, dtype={config.dtype}",
            "set training.finish=0, or these",
        )  # fmt: skip


CHECKS.append(_admitted)
