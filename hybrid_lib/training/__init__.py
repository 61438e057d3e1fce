"""Training: residual blocks, loss balancing, first- and second-order optimisers, Algorithm 3.1 as one loop, checkpoints."""

from hybrid_lib.files import write_atomically, write_together
from hybrid_lib.training.alternating import alternating
from hybrid_lib.training.balancing import balance, gradient_norms
from hybrid_lib.training.checkpoint import (
    UNREADABLE,
    glance,
    restore,
    save,
    steps_done,
)
from hybrid_lib.training.fitting import FitResult, fit, step_seconds
from hybrid_lib.training.gauss_newton import gauss_newton
from hybrid_lib.training.layout import Layout, layout, local
from hybrid_lib.training.loop import LoopOptions, Program, program
from hybrid_lib.training.objectives import (
    CoarseModel,
    Objective,
    PointFields,
    PointwiseBlock,
    Terms,
    boundary_block,
    embed_points,
    evaluate_fields,
    loss,
    pde_block,
    reduced_loss,
    residuals,
    terms,
)
from hybrid_lib.training.optimisers import adam, first_order, lbfgs
from hybrid_lib.training.state import (
    STATUS,
    Member,
    Optimiser,
    TrainState,
    init_member,
    init_state,
    member,
    stack,
)
from hybrid_lib.training.watchdog import Watchdog

__all__ = [
    "STATUS",
    "UNREADABLE",
    "CoarseModel",
    "FitResult",
    "Layout",
    "LoopOptions",
    "Member",
    "Objective",
    "Optimiser",
    "PointFields",
    "PointwiseBlock",
    "Program",
    "Terms",
    "TrainState",
    "Watchdog",
    "adam",
    "alternating",
    "balance",
    "boundary_block",
    "embed_points",
    "evaluate_fields",
    "first_order",
    "fit",
    "gauss_newton",
    "glance",
    "gradient_norms",
    "init_member",
    "init_state",
    "layout",
    "lbfgs",
    "local",
    "loss",
    "member",
    "pde_block",
    "program",
    "reduced_loss",
    "residuals",
    "restore",
    "save",
    "stack",
    "step_seconds",
    "steps_done",
    "terms",
    "write_atomically",
    "write_together",
]
