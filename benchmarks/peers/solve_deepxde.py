"""The paper's 2-D problem with DeepXDE on JAX.

Derivatives by ``dde.grad.jacobian`` and ``dde.grad.hessian``, which its documentation asks for; reverse mode is its default, and
``--variant forward`` takes the other documented mode. ``Model.train`` with full batches: it compiles one step and calls it
from a Python loop; there is no compiled loop to choose. ``display_every`` is never reached: no time goes into reports.
"""

import os

os.environ["DDE_BACKEND"] = "jax"

import common
import deepxde as dde
import jax
import jax.numpy as jnp

options = common.arguments(("default", "forward"))
dde.config.set_random_seed(options.seed)
if options.variant == "forward":
    dde.config.set_default_autodiff("forward")
inputs = 6 if options.features else 2

# problem
wave = 2 * jnp.pi / common.EPS


def residual(x, u):
    """-div(K grad u) - q - dK/dx1."""
    K = 3 + jnp.sin(wave * x[:, :1]) + jnp.sin(wave * x[:, 1:])
    K_x, K_y = wave * jnp.cos(wave * x[:, :1]), wave * jnp.cos(wave * x[:, 1:])
    q = 10 * jnp.exp(-100 * ((x[:, :1] - 0.5) ** 2 + (x[:, 1:] - 0.5) ** 2))
    u_x, u_y = (dde.grad.jacobian(u, x, i=0, j=j)[0] for j in (0, 1))
    u_xx, u_yy = (dde.grad.hessian(u, x, i=j, j=j)[0] for j in (0, 1))
    return -K * (u_xx + u_yy) - K_x * u_x - K_y * u_y - q - K_x


def vanish(x, y):
    """Hard boundary condition."""
    return 16 * x[:, :1] * (1 - x[:, :1]) * x[:, 1:] * (1 - x[:, 1:]) * y


square = dde.geometry.Rectangle([0, 0], [1, 1])
data = dde.data.PDE(square, residual, [], num_domain=options.points, train_distribution="pseudo")
net = dde.nn.FNN([inputs, common.WIDTH, common.WIDTH, 1], "tanh", "Glorot normal")
net.apply_output_transform(vanish)
# features
if options.features:
    net.apply_feature_transform(lambda x: jnp.concatenate([x, jnp.cos(wave * x), jnp.sin(wave * x)], axis=-1))
# end of features
model = dde.Model(data, net)
model.compile("adam", lr=common.RATE, decay=("exponential", common.DECAY_EVERY, common.DECAY))
# end of problem


def predict(points):
    """Values and gradients."""
    along = (lambda x, u: dde.grad.jacobian(u, x, i=0, j=0)[0], lambda x, u: dde.grad.jacobian(u, x, i=0, j=1)[0])
    slopes = [model.predict(points, operator=slope) for slope in along]
    return model.predict(points), jnp.concatenate(slopes, axis=1)


class Slices(dde.callbacks.Callback):
    """Stop at the end of a slice until the runner wants the next."""

    steps = 0

    def on_epoch_end(self):
        """After every iteration."""
        self.steps += 1
        if self.steps % meter.slice == 0:
            jax.block_until_ready(self.model.params)
            meter.done()
            self.model.stop_training = not meter.go()


meter = common.Meter(options, predict)
if meter.go():
    model.train(iterations=10**9, display_every=10**9, callbacks=[Slices()], verbose=0)
