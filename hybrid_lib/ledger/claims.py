r"""The claims of the paper, row by row: section 4.4, Figures 1 to 3, Table 1, and what the introduction promises.

A claim names its printed figure, the artefacts it needs, how it is read from them and the rule that judges it. Claims whose run
has a laptop twin show that one's figure as provisional; it never decides a verdict.
"""

from __future__ import annotations

from dataclasses import dataclass

from hybrid_lib.ledger import measures, verdicts
from hybrid_lib.ledger.measures import Measure
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
        Names of the artefacts, runs or calculations, in the order `measure` expects.
    measure : callable
    rule : Rule
    more : tuple of str
        Further seeds of ``needs[0]``, counted where they exist.
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
    more: tuple[str, ...] = ()
    printed: str = ""
    remark: str = ""

    @property
    def provisional(self) -> tuple[str, ...]:
        """The laptop twins of `needs`, for claims about the two-dimensional runs at the paper's sizes."""
        runs = [name for name in self.needs if name.startswith("heat2d")]
        whole = runs and len(runs) == len(self.needs) and not any(name.endswith("-printed") for name in runs)
        counted = self.rule in (verdicts.TIME, verdicts.COUNT)  # a laptop run has other lengths
        return tuple(f"{name}-laptop" for name in runs) if whole and not counted else ()


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
                    more=(f"{hybrid}{suffix}-seeds",),
                    remark="the curve still falls when the rate has died" if figure == 2 and suffix else "",
                ),
                Claim(
                    f"fig{figure}c-alone{suffix}",
                    f"Fig. {figure}c",
                    f"ε = {eps}: the network alone reaches an L² error of about {alone:g}{words}",
                    alone,
                    (plain + suffix,),
                    measures.last_tenth,
                    verdicts.ORDER,
                    more=(f"{plain}{suffix}-seeds",),
                    remark=""
                    if figure == 1
                    else "read off as two orders of magnitude above the hybrid's 0.1",
                ),
            ]
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
        Claim(
            "fig1c-order",
            "Fig. 1c",
            "ε = 1/15: the network alone ends with a smaller L² error than the hybrid",
            1.0,
            ("heat1d-eps15-pinn-ms", eps15),
            measures.lower_plateau,
            verdicts.HOLDS,
            printed="holds",
            remark="in the H¹ norm ours have the paper's order",
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
            "fig2c-lower",
            "Fig. 2c",
            "the hybrid's error is lower for ε = 0.01 than for ε = 1/15",
            1.0,
            (eps100, eps15),
            measures.lower_plateau,
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
                measures.selected("rel_l2"), verdicts.MEAN, l2_spread, remark=one,
            ),
            Claim(
                f"{key}-h1", "Table 1", f"{name}: relative H¹ error", h1, run,
                measures.selected("rel_h1"), verdicts.MEAN, h1_spread, remark=one,
            ),
            Claim(
                f"{key}-iterations", "Table 1", f"{name}: iterations to the smallest residual", iterations, run,
                measures.selected("iterations"), verdicts.COUNT,
            ),
            Claim(
                f"{key}-seconds", "Table 1", f"{name}: seconds to the smallest residual, on an A100", seconds, run,
                measures.seconds_to_selected, verdicts.TIME,
            ),
            Claim(
                f"{key}-l2-printed", "Table 1", f"{name}: relative L² error, learning rate as printed", l2,
                (f"{run[0]}-printed",), measures.selected("rel_l2"), verdicts.MEAN, l2_spread,
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
            printed="1 of 5",
        ),
        Claim(
            "table1-more-iterations",
            "section 4.4",
            "the hybrid Ms-PINN needs slightly more iterations than the Ms-PINN (ratio of Table 1)",
            77478 / 70009,
            ("heat2d-hybrid-ms", "heat2d-pinn-ms"),
            measures.iterations_ratio,
            verdicts.COUNT,
        ),
        *(
            Claim(
                f"cost-{network}",
                "Table 1",
                f"{name}: an iteration costs {with_:g} ms with the coupling, {without:g} ms without (quotients of the means)",
                with_ / without,
                ("coupling-cost",),
                measures.recorded(network, "ratio"),
                verdicts.RATIO,
                remark="ours on a CPU core with 5,000 points, not the paper's setting; a smaller ratio is better",
            )
            for network, name, with_, without in (("ms", "Ms", 7.15, 5.06), ("mlp", "MLP", 12.4, 8.1))
        ),
    ]


CLAIMS: dict[str, Claim] = {claim.id: claim for claim in [*_one_dimension(), *_figures(), *_table()]}
