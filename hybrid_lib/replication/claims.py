r"""The claims of the paper, row by row: section 4.4, Figures 1 to 3, Table 1, and what the introduction promises."""

from __future__ import annotations

from hybrid_lib.replication import curves, measures, verdicts
from hybrid_lib.replication.claim import Claim
from hybrid_lib.replication.table1 import table_claims

SHORT_1D = "run to 30,000 of the printed 200,000 iterations"


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
                    curves.plateau,
                    verdicts.PLATEAU,
                    remark=SHORT_1D if suffix else "",
                ),
                Claim(
                    f"fig{figure}c-alone{suffix}",
                    f"Fig. {figure}c",
                    f"ε = {eps}: the network alone reaches an L² error of about {alone:g}{words}",
                    alone,
                    (plain + suffix,),
                    curves.last_tenth,
                    verdicts.ORDER,
                    remark="; ".join(
                        ["read off as two orders of magnitude above the hybrid's 0.1"] * (figure == 2)
                        + [SHORT_1D] * bool(suffix)
                    ),
                ),
            ]
        rows.append(
            Claim(
                f"khat-{short}-net",
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
                f"fig1c-alone{suffix}-radians-trained",
                "Fig. 1c",
                f"ε = 1/15: the network alone reaches an L² error of about 0.01{words}; features cos Bx, B trained",
                1e-2,
                (f"heat1d-eps15-pinn-ms{suffix}-radians-trained",),
                measures.but(curves.last_tenth, "not the printed features"),
                verdicts.ORDER,
                remark=SHORT_1D if suffix else "",
            )
            for suffix, words in (("", ""), ("-printed", ", learning rate as printed"))
        ),
        Claim(
            "fig1c-order-printed-radians-trained",
            "Fig. 1c",
            "ε = 1/15: the network alone ends below the hybrid in L², learning rate as printed; features cos Bx, B trained",
            1.0,
            tuple(f"heat1d-eps15-{method}-ms-printed-radians-trained" for method in ("pinn", "hybrid")),
            measures.but(curves.lower(0.1), "not the printed features"),
            verdicts.HOLDS,
            printed="holds",
            remark=SHORT_1D,
        ),
        *(
            Claim(
                f"fig1c-order{suffix}",
                "Fig. 1c",
                f"ε = 1/15: the network alone ends with a smaller L² error than the hybrid{words}",
                1.0,
                (f"heat1d-eps15-pinn-ms{suffix}", f"{eps15}{suffix}"),
                curves.lower(0.1),
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
            "ε = 0.01: the coarse-scale component is over-fitted visibly near x = 0.2 and 0.8 (most there, 5 % of max |y|)",
            1.0,
            (eps100, gap),
            measures.overfitted_near("heat1d-eps100", (0.2, 0.8), within=0.05, visible=0.05),
            verdicts.HOLDS,
            printed="holds",
        ),
        Claim(
            "fig2c-lower",
            "Fig. 2c",
            "the hybrid's error is lower for ε = 0.01 than for ε = 1/15",
            1.0,
            (eps100, eps15),
            curves.lower(0.5),
            verdicts.HOLDS,
            printed="holds",
        ),
        Claim(
            "fig2c-orders",
            "Fig. 2c",
            "ε = 0.01: the hybrid outperforms the network alone by almost two orders of magnitude",
            100.0,
            (eps100, "heat1d-eps100-pinn-ms"),
            curves.plateau_ratio,
            verdicts.ORDER,
        ),
        Claim(
            "intro-low-frequency",
            "introduction",
            "the coupling accelerates convergence to the low-frequency part (ε = 0.01: an L² error of 1 is reached sooner)",
            1.0,
            (eps100, "heat1d-eps100-pinn-ms"),
            curves.sooner({"rel_l2": 1.0}),
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
            "the MLP alone gives no reasonable approximation for around 75,000 iterations (L² error above 0.5)",
            75_000.0,
            ("heat2d-pinn-mlp",),
            curves.escape(0.5),
            verdicts.COUNT,
        ),
        Claim(
            "fig3e-faster",
            "Fig. 3e",
            "the coupling accelerates the approximation of the coarse scale by the MLP (an L² error of 0.5 is reached sooner)",
            1.0,
            ("heat2d-hybrid-mlp", "heat2d-pinn-mlp"),
            curves.sooner({"rel_l2": 0.5}),
            verdicts.HOLDS,
            printed="holds",
            remark="the homogenised solution, all of that component, is 0.49 off",
        ),
        Claim(
            "fig3e-steady",
            "Fig. 3e",
            "the hybrid MLP shows steadily decreasing residuals and errors (medians of the first hundredth and of each quarter)",
            1.0,
            ("heat2d-hybrid-mlp",),
            curves.steady,
            verdicts.HOLDS,
            printed="holds",
        ),
        Claim(
            "fig3f-faster",
            "Fig. 3f",
            "Fourier networks: L² and H¹ errors fall to the values of Table 1 in fewer iterations with the coupling",
            1.0,
            ("heat2d-hybrid-ms", "heat2d-pinn-ms"),
            curves.sooner({"rel_l2": 1.97e-2, "rel_h1": 2.23e-2}),
            verdicts.HOLDS,
            printed="holds",
        ),
        Claim(
            "fig3f-less-pronounced",
            "Fig. 3e, f",
            "the coupling saves less with Fourier networks than with MLPs (iterations to an L² error of 0.1)",
            1.0,
            ("heat2d-hybrid-mlp", "heat2d-pinn-mlp", "heat2d-hybrid-ms", "heat2d-pinn-ms"),
            curves.less_pronounced(0.1),
            verdicts.HOLDS,
            printed="holds",
        ),
    ]


CLAIMS: dict[str, Claim] = {claim.id: claim for claim in [*_one_dimension(), *_figures(), *table_claims()]}
