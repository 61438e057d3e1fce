"""The picture of the front page and of the README, and the social card, from committed results.

    python book/_tools/front_picture.py              draw book/_static/front-{light,dark}.svg and card.png, renew the README
    python book/_tools/front_picture.py --compute    first solve the plane problem again (two minutes of one core)

Above the medium, a converged network, its coarse state; below error against time beside finite elements. The run is kept in
book/results/beyond/front.npz with its passport in front.json; the rows of the finite elements come from classical-rivals.json,
measured by benchmarks/classical_rivals.py. `front.py` makes the words.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from io import BytesIO
from pathlib import Path

import front
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
RUN = ROOT / "book/results/beyond/front"
STATIC = ROOT / "book/_static"
SIDE = 121  # points a side of the pictures of the fields


def compute() -> None:
    """Solve the plane problem with the defect coupling on one core, and keep fields, errors and their times."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    import jax

    from hybrid_lib import experiments
    from hybrid_lib.training import write_together

    jax.config.update("jax_enable_x64", True)
    config = experiments.configuration("heat2d", optimiser="gauss-newton")
    config = experiments.with_settings(config, {"coarse.coupling": "defect", "training.report_every": "2"})
    setup = experiments.assemble(experiments.problem_of(config), config, (0,))
    clock = []
    note = (lambda fit: clock.append(time.process_time()),)
    result = experiments.run(config, (0,), setup=setup, callbacks=note)
    end = time.process_time()
    errors, coarse = result.fit.evaluations, result.coarse()
    # the callback of a slice comes after its steps, the evaluation of its end belongs to the next: rows 1, 2, …
    step, cpu = errors["step"][1:], np.asarray(clock)
    each = np.median(np.diff(cpu))
    axis = np.linspace(0, 1, SIDE)
    points = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    arrays = {
        "network": result.solution(points)[0].reshape(SIDE, SIDE).astype(np.float32),
        "nodes": coarse["nodes"],
        "state": coarse["state"],
        "step": step,
        "cpu_seconds": cpu - cpu[0] + each,  # compilation apart
        "rel_l2": errors["rel_l2"][1:, 0],
    }
    row = result.summary["seeds"][0]
    last = {"rel_l2": row["rel_l2"], "rel_h1": row["rel_h1"], "cpu_seconds": end - cpu[0] + each}
    record = {
        "experiment": "heat2d",
        "what": "defect coupling, Gauss-Newton steps, then Galerkin steps on the energy; CPU seconds of one core",
        "seeds": [row],
        "last": last,
        "percent_seconds": stays_below(0.01, arrays["cpu_seconds"], arrays["rel_l2"]),
        "environment": experiments.environment(config),
        "load_average": os.getloadavg()[0],
    }
    np.savez_compressed(buffer := BytesIO(), **arrays)
    text = json.dumps(record, indent=1, default=float) + "\n"
    write_together({RUN.with_suffix(".npz"): buffer.getvalue(), RUN.with_suffix(".json"): text.encode()})


def stays_below(level: float, seconds: np.ndarray, errors: np.ndarray) -> float:
    """The time from which on every error is below a level."""
    return float(seconds[np.flatnonzero(errors >= level)[-1] + 1])


def draw(theme: str, card: bool = False) -> None:
    """Write front-light.svg, front-dark.svg or, with `card`, card.png."""
    import jax
    import matplotlib.pyplot as plt

    from hybrid_lib import experiments
    from hybrid_lib.plots import use_style

    use_style()
    ink = {"light": "#222222", "dark": "#dddddd"}[theme]
    red, blue, orange = {
        "light": ("#A8281A", "#0072B2", "#A06A00"),
        "dark": ("#FF8A75", "#6CC0F5", "#F0B23C"),
    }[theme]
    looks = {
        key: ink for key in ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
    }
    looks |= {
        "grid.color": ink,
        "grid.alpha": 0.2,
        "svg.hashsalt": "front",
        "font.size": 12,
        "axes.labelsize": 12,
    }
    looks |= {
        "xtick.labelsize": 11,
        "ytick.labelsize": 11,
        "axes.titlesize": 12,
        "axes.titlelocation": "center",
    }
    with np.load(RUN.with_suffix(".npz")) as kept, plt.rc_context(looks):
        figure = plt.figure(figsize=(9.6, 5.04) if card else (6.2, 5.0))
        upper, lower = figure.subfigures(2, 1, height_ratios=(1.0, 1.12))
        axis = np.linspace(0, 1, SIDE)
        grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
        medium = experiments.problem_of(experiments.configuration("heat2d")).medium
        K = np.asarray(jax.vmap(medium.conductivity)(grid)).reshape(SIDE, SIDE)
        u, nodes, y = kept["network"], kept["nodes"], kept["state"]
        side = int(np.rint(np.sqrt(len(nodes))))
        coarse = np.empty((side, side))
        coarse[tuple(np.rint(nodes.T * (side - 1)).astype(int))] = y
        limits = {"vmin": min(u.min(), y.min()), "vmax": max(u.max(), y.max())}
        panels = (
            (K, {"cmap": "cividis"}, "medium"),
            (u, limits, "network"),
            (coarse, limits, "its coarse state"),
        )
        for ax, (field, look, title) in zip(upper.subplots(1, 3), panels, strict=True):
            ax.imshow(field.T, extent=(0, 1, 0, 1), **look)
            ax.set(title=title, xticks=[], yticks=[])
            ax.grid(False)
        ax = lower.subplots()
        ends = front.facts()
        ax.loglog(kept["cpu_seconds"], kept["rel_l2"], color=red, lw=2.2)
        ax.plot(ends["net_seconds"], ends["net_l2"], "o", color=red, ms=6)
        ax.annotate(
            "network",
            (kept["cpu_seconds"][0], kept["rel_l2"][0]),
            (8, -4),
            textcoords="offset points",
            color=red,
        )
        for method, words, colour, mark, at, k in (
            ("P1", "linear elements", orange, "s", {"xytext": (8, 4), "ha": "left"}, 2),
            ("P2", "quadratic elements", blue, "D", {"xytext": (-8, -14), "ha": "right"}, 3),
        ):
            seconds, errors = np.array(front.elements("heat2d", method)).T
            ax.plot(seconds, errors, mark + "--", color=colour, lw=1.5, ms=5)
            ax.annotate(words, (seconds[k], errors[k]), textcoords="offset points", color=colour, **at)
        ax.plot(ends["paper_seconds"], ends["paper_l2"], "*", color=ink, ms=11)
        paper = {"xytext": (0, 9), "textcoords": "offset points", "ha": "center"}
        ax.annotate("paper\n(GPU)", (ends["paper_seconds"], ends["paper_l2"]), **paper)
        ax.set(xlabel="seconds (one core; star: A100)", ylabel="relative $L^2$ error", xlim=(3e-3, 1.5e3))
        if card:
            figure.savefig(STATIC / "card.png", dpi=125, facecolor="white")
        else:
            clear = {"transparent": True, "metadata": {"Date": None, "Creator": None}}
            figure.savefig(STATIC / f"front-{theme}.svg", **clear)
        plt.close(figure)


def main() -> None:
    """Compute if asked, draw, write the README."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--compute", action="store_true", help="solve the plane problem again first")
    if parser.parse_args().compute:
        compute()
    for theme in ("light", "dark"):
        draw(theme)
    draw("light", card=True)
    page = ROOT / "README.md"
    page.write_text(front.renewed(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
