r"""The claims of the paper, row by row: section 4.4, Figures 1 to 3, Table 1, and what the introduction promises.

A claim names its printed figure, the artefacts it needs, how it is read from them and the rule that judges it. Claims whose run
has a laptop twin show that one's figure as provisional; it never decides a verdict.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from hybrid_lib.ledger import measures, verdicts
from hybrid_lib.ledger.measures import Measure
from hybrid_lib.ledger.runs import RUNS, seeds_of
from hybrid_lib.ledger.verdicts import Rule


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
        return tuple(f"{name}-laptop" for name in runs) if whole and not counted else ()


SHORT_1D = "run to 30,000 of the printed 200,000 iterations"
SHORT_2D = "run to 30,000 of the printed 150,000 iterations"


def _one_dimension() -> list[Claim]:
    rows = []
    for name, eps, figure in (("heat1d-eps15", "1/15", 1), ("heat1d-eps100", "0.01", 2)):
        short = name.removeprefix("heat1d-")
        hybrid, plain = f"{name}-hybrid-ms", f"{name}-pinn-ms"
        level, alone = (0.3, 1e-2) if figure == 1 else (0.1, 10.0)
        for suffix, words in (("", ""), ("-printed", ", learning rate as printed")):
            rows += [
                Claim(
                    f"fig{figure}c-hybrid{suffix}",
                    f"Fig. {figure}c",
                    f"ε = {eps}: the hybrid's relative L² error oscillates around {level:g}{words}",
                    level,
                    (hybrid + suffix,),
                    measures.plateau,
                    verdicts.PLATEAU,
                    remark=SHORT_1D if suffix else "",
                ),
                Claim(
                    f"fig{figure}c-alone{suffix}",
                    f"Fig. {figure}c",
                    f"ε = {eps}: the network alone reaches an L² error of about {alone:g}{words}",
                    alone,
                    (plain + suffix,),
                    measures.last_tenth,
                    verdicts.ORDER,
                    remark="; ".join(
                        ["read off as two orders of magnitude above the hybrid's 0.1"] * (figure == 2)
                        + [SHORT_1D] * bool(suffix)
                    ),
                ),
            ]
        rows.append(
            Claim(
                f"khat-net-{short}",
                "section 4.4",
                f"ε = {eps}: the upscaled coefficient of the trained hybrid network is that of the finite-element solution",
                1.733 if figure == 1 else 1.732,
                (hybrid,),
                measures.upscaled_end,
                verdicts.CLOSE,
                printed="1.733" if figure == 1 else "1.732",
                remark="printed for finite elements only; Algorithm 3.1 rests on it",
            )
        )
        rows.append(
            Claim(
                f"khat-{short}",
                "section 4.4",
                f"ε = {eps}: the upscaled coefficient of the finite-element solution",
                1.733 if figure == 1 else 1.732,
                ("upscaled-coefficients",),
                measures.recorded(name, "elements"),
                verdicts.digits(1e-3),
                printed="1.733" if figure == 1 else "1.732",
            )
        )
    return rows


def _figures() -> list[Claim]:
    gap = "consistency-gap"
    eps15, eps100 = "heat1d-eps15-hybrid-ms", "heat1d-eps100-hybrid-ms"
    return [
        Claim(
            "kstar-1d",
            "section 4.4",
            "homogenised coefficient K* = √3 of the one-dimensional medium",
            1.732,
            ("upscaled-coefficients",),
            measures.recorded("heat1d-eps15", "K_star"),
            verdicts.digits(1e-3),
            printed="1.732",
        ),
        Claim(
            "fig1b-overfit",
            "Fig. 1b",
            "ε = 1/15: y_h(net) matches y_h(u); the averages of the net are much closer to y_h(net) than to those of u",
            1.0,
            (eps15, gap),
            measures.overfitted_gap("heat1d-eps15"),
            verdicts.HOLDS,
            printed="holds",
        ),
        *(
            Claim(
                f"fig1c-order{suffix}",
                "Fig. 1c",
                f"ε = 1/15: the network alone ends with a smaller L² error than the hybrid{words}",
                1.0,
                (f"heat1d-eps15-pinn-ms{suffix}", f"{eps15}{suffix}"),
                measures.lower(0.1),
                verdicts.HOLDS,
                printed="holds",
                remark="in the H¹ norm ours have the paper's order" if not suffix else SHORT_1D,
            )
            for suffix, words in (("", ""), ("-printed", ", learning rate as printed"))
        ),
        Claim(
            "fig2b-gap",
            "Fig. 2b",
            "the gap between y_h(u) and the averages of u is smaller for ε = 0.01 than for ε = 1/15",
            1.0,
            (gap,),
            measures.smaller_gap,
            verdicts.HOLDS,
            printed="holds",
        ),
        Claim(
            "fig2b-extrema",
            "Fig. 2b",
            "ε = 0.01: the coarse-scale component is over-fitted visibly near x = 0.2 and x = 0.8",
            1.0,
            (eps100, gap),
            measures.largest_near("heat1d-eps100", (0.2, 0.8), 0.05),
            verdicts.HOLDS,
            printed="holds",
            remark="the extrema of y: an error of the upscaled coefficient scales the state as a whole",
        ),
        Claim(
            "fig2c-lower",
            "Fig. 2c",
            "the hybrid's error is lower for ε = 0.01 than for ε = 1/15",
            1.0,
            (eps100, eps15),
            measures.lower(0.5),
            verdicts.HOLDS,
            printed="holds",
        ),
        Claim(
            "fig2c-orders",
            "Fig. 2c",
            "ε = 0.01: the hybrid outperforms the network alone by almost two orders of magnitude",
            100.0,
            (eps100, "heat1d-eps100-pinn-ms"),
            measures.plateau_ratio,
            verdicts.ORDER,
        ),
        Claim(
            "intro-low-frequency",
            "introduction",
            "the coupling accelerates convergence to the low-frequency part (ε = 0.01: an L² error of 1 is reached sooner)",
            1.0,
            (eps100, "heat1d-eps100-pinn-ms"),
            measures.sooner(1.0),
            verdicts.HOLDS,
            printed="holds",
        ),
        Claim(
            "fig3b-pointwise",
            "Fig. 3b",
            "pointwise error of the hybrid MLP of at most 1e-3",
            1e-3,
            ("heat2d-hybrid-mlp",),
            measures.selected("max_error"),
            verdicts.AT_MOST,
        ),
        Claim(
            "fig3cd-coarse",
            "Fig. 3c, d",
            "the state y_h and the averages of the hybrid MLP are alike (within a tenth)",
            1.0,
            ("heat2d-hybrid-mlp",),
            measures.state_and_averages(0.1),
            verdicts.HOLDS,
            printed="holds",
            remark="at the exact solution they differ by a third: a network that has both is off",
        ),
        Claim(
            "fig3e-trapped",
            "Fig. 3e",
            "the MLP alone is trapped for around 75,000 iterations (L² error above 0.5 for at least 50,000)",
            1.0,
            ("heat2d-pinn-mlp",),
            measures.trapped(0.5, 50_000),
            verdicts.HOLDS,
            printed="holds",
        ),
        Claim(
            "fig3e-steady",
            "Fig. 3e",
            "the hybrid MLP shows steadily decreasing residuals and errors (medians of each quarter of the run)",
            1.0,
            ("heat2d-hybrid-mlp",),
            measures.steady,
            verdicts.HOLDS,
            printed="holds",
        ),
        Claim(
            "fig3f-faster",
            "Fig. 3f",
            "Fourier networks: L² and H¹ errors fall faster with the coupling (an error of 0.1 is reached sooner)",
            1.0,
            ("heat2d-hybrid-ms", "heat2d-pinn-ms"),
            measures.sooner(0.1, ("rel_l2", "rel_h1")),
            verdicts.HOLDS,
            printed="holds",
        ),
        Claim(
            "fig3f-less-pronounced",
            "Fig. 3e, f",
            "the coupling saves less with Fourier networks than with MLPs (iterations to an L² error of 0.1)",
            1.0,
            ("heat2d-hybrid-mlp", "heat2d-pinn-mlp", "heat2d-hybrid-ms", "heat2d-pinn-ms"),
            measures.less_pronounced(0.1),
            verdicts.HOLDS,
            printed="holds",
        ),
    ]


_TABLE = (  # method, network, name, L², spread, H¹, spread, iterations, seconds
    ("hybrid", "ms", "hybrid Ms-PINN", 1.28e-2, 3e-3, 2.23e-2, 8e-3, 77478, 554),
    ("hybrid", "mlp", "hybrid MLP", 1.42e-2, 1e-3, 1.44e-2, 8e-3, 139400, 1725),
    ("pinn", "ms", "Ms-PINN", 1.97e-2, 5e-3, 2.20e-2, 5e-3, 70009, 354),
    ("pinn", "mlp", "MLP PINN", 1.71e-2, 0.0, 1.89e-2, 0.0, 150000, 1221),
)


def _table() -> list[Claim]:
    rows = []
    for method, network, name, l2, l2_spread, h1, h1_spread, iterations, seconds in _TABLE:
        run, key = (f"heat2d-{method}-{network}",), f"table1-{method}-{network}"
        one = (
            "one of five runs succeeded in the paper; ours is the mean over all"
            if (method, network) == ("pinn", "mlp")
            else ""
        )
        rows += [
            Claim(
                f"{key}-l2", "Table 1", f"{name}: relative L² error", l2, run,
                measures.selected("rel_l2"), verdicts.MEAN, l2_spread, 5, remark=one,
            ),
            Claim(
                f"{key}-h1", "Table 1", f"{name}: relative H¹ error", h1, run,
                measures.selected("rel_h1"), verdicts.MEAN, h1_spread, 5, remark=one,
            ),
            Claim(
                f"{key}-iterations", "Table 1", f"{name}: iterations to the smallest residual", iterations, run,
                measures.selected("iterations"), verdicts.COUNT, seeds=5,
            ),
            Claim(
                f"{key}-seconds", "Table 1", f"{name}: seconds to the smallest residual, on an A100", seconds, run,
                measures.seconds_to_selected, verdicts.TIME, seeds=5,
            ),
            Claim(
                f"{key}-l2-printed", "Table 1", f"{name}: relative L² error, learning rate as printed", l2,
                (f"{run[0]}-printed",), measures.selected("rel_l2"), verdicts.MEAN, l2_spread, 5, remark=SHORT_2D,
            ),
        ]  # fmt: skip
    return [
        *rows,
        Claim(
            "table1-one-of-five",
            "Table 1",
            "MLP PINN: one of five initialisations succeeds",
            1.0,
            ("heat2d-pinn-mlp",),
            measures.successes,
            verdicts.SUCCESSES,
            seeds=5,
            printed="1 of 5",
        ),
        Claim(
            "table1-spread",
            "Table 1",
            "MLP PINN: the relative L² errors of the realisations spread by about one (printed as ± 1.000)",
            1.0,
            ("heat2d-pinn-mlp",),
            measures.spread_of("rel_l2"),
            verdicts.ORDER,
            seeds=5,
            printed="± 1.000",
        ),
        Claim(
            "table1-robust",
            "section 4.4",
            "the hybrid MLP yields robust results across all realisations (an L² error below 0.1)",
            1.0,
            ("heat2d-hybrid-mlp",),
            measures.all_succeed,
            verdicts.HOLDS,
            seeds=5,
            printed="holds",
        ),
        *(
            Claim(
                f"table1-order-{network}-{norm}",
                "Table 1",
                f"{name}: the {words} error with the coupling is below that without",
                1.0,
                (f"heat2d-hybrid-{network}", f"heat2d-pinn-{network}"),
                measures.lower_selected(f"rel_{norm}"),
                verdicts.HOLDS,
                seeds=5,
                printed="holds",
            )
            for network, name, norm, words in (
                ("ms", "Fourier networks", "l2", "L²"),
                ("mlp", "MLP", "l2", "L²"),
                ("mlp", "MLP", "h1", "H¹"),
            )
        ),
        Claim(
            "table1-order-ms-h1",
            "Table 1",
            "Fourier networks: the H¹ errors with and without the coupling are level (ratio of the means)",
            2.23 / 2.20,
            ("heat2d-hybrid-ms", "heat2d-pinn-ms"),
            measures.ratio_selected("rel_h1"),
            verdicts.MEAN,
            round(math.hypot(0.8 / 2.23, 0.5 / 2.20), 2),
            seeds=5,
        ),
        Claim(
            "table1-more-iterations",
            "section 4.4",
            "the hybrid Ms-PINN needs slightly more iterations than the Ms-PINN (ratio of Table 1)",
            77478 / 70009,
            ("heat2d-hybrid-ms", "heat2d-pinn-ms"),
            measures.iterations_ratio,
            verdicts.COUNT,
            seeds=5,
        ),
        *(
            Claim(
                f"cost-{network}",
                "Table 1",
                f"{name}: an iteration costs {with_:g} ms with the coupling, {without:g} ms without (quotients of the means)",
                with_ / without,
                ("coupling-cost",),
                measures.iteration_cost(network),
                verdicts.RATIO,
                remark="a smaller ratio is better",
            )
            for network, name, with_, without in (("ms", "Ms", 7.15, 5.06), ("mlp", "MLP", 12.4, 8.1))
        ),
    ]


CLAIMS: dict[str, Claim] = {claim.id: claim for claim in [*_one_dimension(), *_figures(), *_table()]}
