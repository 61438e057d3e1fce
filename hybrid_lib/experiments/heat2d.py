r"""Two-dimensional experiment of section 4.4 (Fig. 3, Table 1), ε = 0.1."""

from __future__ import annotations

from dataclasses import replace

from hybrid_lib.config import CoarseConfig, Config, NetworkConfig, SamplingConfig, TrainingConfig

EPS = {"heat2d": 0.1}


def paper(name: str, method: str, network: str) -> Config:
    """The paper's sizes: 25,000 uniform points, 2,500 on the boundary, coarse h = 0.04, 150,000 iterations."""
    mlp = network == "mlp"
    return Config(
        experiment=name,
        eps=EPS[name],
        method=method,
        scale="paper",
        boundary="soft",
        network=NetworkConfig("mlp", (64,) * 8) if mlp else NetworkConfig("ms", (128, 128)),
        sampling=SamplingConfig(points=25_000, boundary_points=2_500),
        coarse=CoarseConfig(cells=25),
        training=TrainingConfig(steps=150_000, learning_rate=1e-3 if mlp else 5e-4, decay_every=10_000),
    )


def laptop(name: str, method: str, network: str) -> Config:
    """Sizes between the two, for a CPU.

    4,096 Sobol points, half the paper's width, 10,000 iterations; boundary weight and choice of the iterate as in `quick`.
    """
    mlp = network == "mlp"
    return Config(
        experiment=name,
        eps=EPS[name],
        method=method,
        scale="laptop",
        boundary="soft",
        boundary_weight=1000.0,
        network=NetworkConfig("mlp", (64,) * 4) if mlp else NetworkConfig("ms", (64, 64), frequencies=32),
        sampling=SamplingConfig(points=4096, boundary_points=512, sampler="sobol"),
        coarse=CoarseConfig(cells=25),
        training=TrainingConfig(
            steps=10_000, learning_rate=2e-3 if mlp else 3e-3, decay_every=1_000, report_every=500, select="last"
        ),
    )


def newton(name: str, method: str, network: str) -> Config:
    """Quick sizes for Gauss-Newton in float64, with hard boundary values.

    8,750 Gauss points inside the coarse cells serve the strong residual and the defect alike; the second network of the
    two-scale ansatz knows the boundary layers' rate of decay and has a factor of its own there. At the end come two steps of
    the Ritz finish.
    """
    net = NetworkConfig(network, (32,) * 3 if network == "mlp" else (20, 20), frequencies=8)
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
        boundary="hard",
        network=net,
        sampling=SamplingConfig(sampler="gauss"),
        coarse=CoarseConfig(cells=25, pieces=1, order=5),
        training=TrainingConfig(
            optimiser="gauss-newton", steps=110, record_every=10, report_every=10, select="last"
        ),
    )


def quick(name: str, method: str, network: str) -> Config:
    """Sizes for two CPU cores and less than a minute; same problem, same coarse mesh, same coupling.

    Smaller networks, Sobol points, fewer iterations. The errors are those of the last iterate: early on the smallest PDE
    term belongs to the trap u = c − x₁, where the flux vanishes and only the boundary term objects.
    """
    if network == "mlp":
        net, points = NetworkConfig("mlp", (32,) * 4), 1024
        training = TrainingConfig(
            steps=6_000, learning_rate=5e-3, decay_every=2_000, report_every=250, select="last"
        )
    else:
        net, points = NetworkConfig("ms", (24, 24), frequencies=8), 2048
        training = TrainingConfig(
            steps=3_000, learning_rate=1e-2, decay_every=1_000, report_every=250, select="last"
        )
    return Config(
        experiment=name,
        eps=EPS[name],
        method=method,
        scale="quick",
        boundary="soft",
        boundary_weight=1000.0,
        network=net,
        sampling=SamplingConfig(points=points, boundary_points=128, sampler="sobol"),
        coarse=CoarseConfig(cells=25),
        training=training,
    )
