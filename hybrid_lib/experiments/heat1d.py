r"""One-dimensional experiments of section 4.4: ε = 1/15 (Fig. 1) and ε = 0.01 (Fig. 2)."""

from __future__ import annotations

from dataclasses import replace

from hybrid_lib.config import CoarseConfig, Config, NetworkConfig, SamplingConfig, TrainingConfig

POINTS = {"heat1d-eps15": 2000, "heat1d-eps100": 5000}
EPS = {"heat1d-eps15": 1 / 15, "heat1d-eps100": 0.01}


def paper(name: str, method: str, network: str) -> Config:
    """The paper's sizes: 2,000 or 5,000 uniform points, 2×128 tanh, 200,000 iterations, hard boundary conditions."""
    mlp = network == "mlp"
    return Config(
        experiment=name,
        eps=EPS[name],
        method=method,
        scale="paper",
        network=NetworkConfig("mlp", (64,) * 8) if mlp else NetworkConfig("ms", (128, 128)),
        sampling=SamplingConfig(points=POINTS[name]),
        coarse=CoarseConfig(cells=250),
        training=TrainingConfig(steps=200_000, learning_rate=1e-3 if mlp else 5e-4, decay_every=10_000),
    )


def laptop(name: str, method: str, network: str) -> Config:
    """Sizes between the two, for a CPU.

    The paper's number of points, taken from a Sobol sequence, half its width, 20,000 larger steps.
    """
    mlp = network == "mlp"
    return Config(
        experiment=name,
        eps=EPS[name],
        method=method,
        scale="laptop",
        network=NetworkConfig("mlp", (64,) * 4) if mlp else NetworkConfig("ms", (64, 64), frequencies=32),
        sampling=SamplingConfig(points=POINTS[name], sampler="sobol"),
        coarse=CoarseConfig(cells=250),
        training=TrainingConfig(steps=20_000, learning_rate=2e-3 if mlp else 3e-3, decay_every=2_000),
    )


def newton(name: str, method: str, network: str) -> Config:
    """Quick sizes for Gauss-Newton in float64; the two-scale network has 706 parameters.

    2,048 points, half of them in the boundary layers, serve the strong residual, about 2,000 Gauss points inside the coarse cells
    the defect; the cells are a third of a period long, so that the coarse problem sees the oscillation. At ε = 0.01 their number,
    233, has no common factor with the 100 periods: in step with the period the points would meet it in twenty phases only.
    """
    fine = name == "heat1d-eps100"
    net = NetworkConfig(network, (32,) * 3 if network == "mlp" else (16, 16), frequencies=8)
    if network == "two-scale":
        net = replace(net, boundary_layers=True, layer_factor=True)
    elif network == "windowed":
        net = replace(net, widths=(8,))
    return Config(
        experiment=name,
        eps=EPS[name],
        method=method,
        scale="quick",
        dtype="float64",
        network=net,
        sampling=SamplingConfig(points=2048, sampler="graded"),
        coarse=CoarseConfig(cells=233 if fine else 50, pieces=2 if fine else 10),
        training=TrainingConfig(
            optimiser="gauss-newton", steps=200, record_every=10, report_every=50, select="last"
        ),
    )


def quick(name: str, method: str, network: str) -> Config:
    """Sizes for two CPU cores and less than a minute; same problem, same coarse mesh, same coupling.

    Smaller networks and low-discrepancy points in place of uniformly random ones: fewer points then resolve ε.
    """
    fine = name == "heat1d-eps100"
    sampling = SamplingConfig(points=2048 if fine else 512, sampler="sobol")
    if network == "mlp":
        net = NetworkConfig("mlp", (32,) * 4)
        training = TrainingConfig(steps=2_000, learning_rate=5e-3, decay_every=500, report_every=250)
    elif network == "two-scale":
        net = NetworkConfig("two-scale", (20, 20))
        training = TrainingConfig(steps=8_000, learning_rate=5e-3, decay_every=800, report_every=400)
    elif fine:
        net = NetworkConfig("ms", (16, 16), frequencies=8)
        training = TrainingConfig(steps=8_000, learning_rate=1e-2, decay_every=800, report_every=400)
    else:
        net = NetworkConfig("ms", (32, 32), frequencies=32)
        training = TrainingConfig(steps=24_000, learning_rate=5e-3, decay_every=3_500, report_every=500)
    return Config(
        experiment=name,
        eps=EPS[name],
        method=method,
        scale="quick",
        network=net,
        sampling=sampling,
        coarse=CoarseConfig(cells=250),
        training=training,
    )
