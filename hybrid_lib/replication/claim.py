r"""A claim of the paper: its printed figure, the artefacts it needs, how it is read from them and the rule that judges it.

Claims whose run has a laptop twin show that one's figure as provisional; it never decides a verdict.
"""

from __future__ import annotations

from dataclasses import dataclass

from hybrid_lib.replication import verdicts
from hybrid_lib.replication.runs import RUNS, SETTLED, seeds_of
from hybrid_lib.replication.seeds import Measure
from hybrid_lib.replication.verdicts import Rule


@dataclass(frozen=True)
class Claim:
    """One row.

    Attributes
    ----------
    id, where, statement : str
    paper : float
        The printed figure; 1 for a statement that holds or not.
    spread : float
        Printed standard deviation, 0 if none.
    needs : tuple of str
        Names of runs and calculations, in the order `measure` expects; of a run every seed counts that exists.
    measure : callable
    rule : Rule
    seeds : int
        How many initialisations the paper's figure rests on; a row with fewer says so.
    printed : str
        The figure as printed, if a number does not tell it.
    remark : str
        What a reader should know beside the verdict.
    """

    id: str
    where: str
    statement: str
    paper: float
    needs: tuple[str, ...]
    measure: Measure
    rule: Rule
    spread: float = 0.0
    seeds: int = 1
    printed: str = ""
    remark: str = ""

    @property
    def waits_for(self) -> tuple[str, ...]:
        """Runs and calculations without which the row is not whole; of each run the seeds 0, 1, … that the figure rests on."""
        names = [name for need in self.needs for name in seeds_of(need)]
        return tuple(name for name in names if name not in RUNS or max(RUNS[name].seeds) < self.seeds)

    @property
    def provisional(self) -> tuple[str, ...]:
        """The laptop twins of `needs`, for claims about the two-dimensional runs at the paper's sizes."""
        runs = [name for name in self.needs if name.startswith("heat2d")]
        whole = runs and len(runs) == len(self.needs) and not any(name.endswith("-printed") for name in runs)
        counted = self.rule in (verdicts.TIME, verdicts.COUNT)  # a laptop run has other lengths
        return tuple(_twin(name) for name in runs) if whole and not counted else ()


def _twin(name: str) -> str:
    """The laptop run of the same reading."""
    plain = name.removesuffix(f"-{SETTLED}")
    return f"{plain}-laptop{name.removeprefix(plain)}"
