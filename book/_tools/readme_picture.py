"""Draw book/_static/hybrid2d.png for the README: a quick hybrid run of the two-dimensional experiment."""

from pathlib import Path

import jax
import matplotlib.pyplot as plt
import numpy as np

from hybrid_lib import experiments
from hybrid_lib.plots import use_style

jax.config.update("jax_enable_x64", True)
use_style()

config = experiments.configuration("heat2d", "hybrid", "ms", "quick")
result = experiments.run(config, (0,))
axis = np.linspace(0, 1, 161)
points = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
u = result.solution(points)[0].reshape(161, 161)
K = np.asarray(jax.vmap(result.setup.problem.medium.conductivity)(points)).reshape(161, 161)
coarse = result.coarse()
y = np.empty((26, 26))
y[tuple(np.rint(coarse["nodes"].T * 25).astype(int))] = coarse["state"]

figure, axes = plt.subplots(1, 3, figsize=(9.6, 2.9))
limits = {"vmin": min(u.min(), y.min()), "vmax": max(u.max(), y.max())}
for ax, field, title, style in zip(
    axes, (K, u, y), ("conductivity $K$", "network $u$", "coarse state $y_h$"), ({}, limits, limits), strict=True
):
    image = ax.imshow(field.T, extent=(0, 1, 0, 1), **style)
    ax.set_title(title)
    ax.grid(False)
    ax.set_xticks([0, 0.5, 1])
    ax.set_yticks([0, 0.5, 1])
    figure.colorbar(image, ax=ax, shrink=0.85)
figure.savefig(Path(__file__).parents[1] / "_static" / "hybrid2d.png", dpi=110)
