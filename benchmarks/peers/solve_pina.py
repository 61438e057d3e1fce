"""The paper's 2-D problem with PINA on PyTorch.

Derivatives by ``pina.operator``, as in its tutorials; ``--variant fast`` takes the operators without checks of labels, which the
documentation offers for speed. ``Trainer.train`` runs Lightning's loop, one epoch an iteration; logger, checkpoints, progress
bar and model summary are switched off. There is nothing to compile: the ``compile`` option of earlier releases "is deprecated
and no longer used". Layers start from PyTorch's default.
"""

import logging
import warnings

import common
import lightning
import torch
from pina import Condition, LabelTensor, Trainer
from pina.domain import CartesianDomain
from pina.equation import Equation
from pina.model import FeedForward
from pina.operator import fast_grad, fast_laplacian, grad, laplacian
from pina.optim import TorchOptimizer, TorchScheduler
from pina.problem import SpatialProblem
from pina.solver import PhysicsInformedSingleModelSolver

options = common.arguments(("default", "fast"))
warnings.filterwarnings("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
torch.manual_seed(options.seed)
torch.set_num_threads(1)
grad, laplacian = (fast_grad, fast_laplacian) if options.variant == "fast" else (grad, laplacian)
inputs = 6 if options.features else 2

# problem
wave = 2 * torch.pi / common.EPS


def residual(points, u):
    """-div(K grad u) - q - dK/dx1."""
    x, y = points.extract(["x"]).tensor, points.extract(["y"]).tensor
    K = 3 + torch.sin(wave * x) + torch.sin(wave * y)
    K_x, K_y = wave * torch.cos(wave * x), wave * torch.cos(wave * y)
    q = 10 * torch.exp(-100 * ((x - 0.5) ** 2 + (y - 0.5) ** 2))
    u_grad = grad(u, points, components=["u"], d=["x", "y"]).tensor
    lap = laplacian(u, points, components=["u"], d=["x", "y"]).tensor
    return -K * lap - K_x * u_grad[:, :1] - K_y * u_grad[:, 1:] - q - K_x


class Heat(SpatialProblem):
    """The equation on the square."""

    output_variables = ["u"]  # noqa: RUF012
    spatial_domain = CartesianDomain({"x": [0, 1], "y": [0, 1]})
    domains = {"D": spatial_domain}  # noqa: RUF012
    conditions = {"D": Condition(domain="D", equation=Equation(residual))}  # noqa: RUF012


class Network(torch.nn.Module):
    """Perceptron with a hard boundary condition."""

    def __init__(self):
        """Layers."""
        super().__init__()
        self.layers = FeedForward(inputs, 1, layers=[common.WIDTH] * 2, func=torch.nn.Tanh)

    def forward(self, points):
        """u at the points."""
        x = z = points.tensor if isinstance(points, LabelTensor) else points
        # features
        if options.features:
            z = torch.cat([x, torch.cos(wave * x), torch.sin(wave * x)], dim=-1)
        # end of features
        return torch.prod(4 * x * (1 - x), dim=-1, keepdim=True) * self.layers(z)


problem = Heat()
problem.discretise_domain(n=options.points, mode="random", domains="D")
decay = TorchScheduler(torch.optim.lr_scheduler.ExponentialLR, gamma=common.DECAY ** (1 / common.DECAY_EVERY))
solver = PhysicsInformedSingleModelSolver(
    problem, Network(), optimizer=TorchOptimizer(torch.optim.Adam, lr=common.RATE), scheduler=decay
)
# end of problem


def predict(points):
    """Values and gradients."""
    with torch.enable_grad():
        x = torch.tensor(points, requires_grad=True)
        u = solver.model(x)
        slope = torch.autograd.grad(u.sum(), x)[0]
    return u.detach().numpy(), slope.numpy()


class Slices(lightning.pytorch.Callback):
    """Stop at the end of a slice until the runner wants the next."""

    steps = 0

    def on_train_epoch_end(self, trainer, module):
        """After every iteration."""
        self.steps += 1
        if self.steps % meter.slice == 0:
            meter.done()
            trainer.should_stop = not meter.go()


meter = common.Meter(options, predict)
trainer = Trainer(
    solver, max_epochs=-1, accelerator="cpu", callbacks=[Slices()], logger=False, enable_checkpointing=False,
    enable_progress_bar=False, enable_model_summary=False,
)  # fmt: skip
if meter.go():
    trainer.train()
