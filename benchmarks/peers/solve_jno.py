"""The paper's 2-D problem with jNO, as its tutorial on variable coefficients does it: fluxes, and their divergence.

Networks are those of foundax, which it brings; points are given as an array, as its own are nodes of a mesh. ``core.solve`` is
its loop: ``inner_steps`` iterations in one compiled program, and a callback after each of them, in which the meter speaks.
``--variant ssbroyden`` takes its self-scaled Broyden method with its defaults, in double precision.
"""

import common
import equinox as eqx
import foundax
import jax
import jax.numpy as jnp
import jno
import numpy as np
import optax
from jno.utils.adaptive.callbacks import Callback

options = common.arguments(("default", "ssbroyden"))
second = options.variant == "ssbroyden"
jax.config.update("jax_enable_x64", second)
key_net, key_points = jax.random.split(jax.random.key(options.seed))

# problem
wave = 2 * np.pi / common.EPS
points = np.asarray(jax.random.uniform(key_points, (options.points, 2)))
domain = jno.domain.from_array({"interior": points})
x, y, *_ = domain.variable("interior", split=True)
inputs = [x, y]
# features
if options.features:
    inputs += [wrap(wave * z) for wrap in (jno.np.cos, jno.np.sin) for z in (x, y)]
# end of features
net = jno.nn(
    foundax.mlp(in_features=len(inputs), hidden_dims=options.width, num_layers=2, activation=jnp.tanh, key=key_net)
)
net.optimizer(optax.adam(optax.exponential_decay(common.RATE, common.DECAY_EVERY, common.DECAY)))
u = net(*inputs) * 16 * x * (1 - x) * y * (1 - y)
K = 3 + jno.np.sin(wave * x) + jno.np.sin(wave * y)
q = 10 * jno.np.exp(-100 * ((x - 0.5) ** 2 + (y - 0.5) ** 2))
flux = [K * jno.np.grad(u, x), K * jno.np.grad(u, y)]
residual = -jno.np.divergence(flux, [x, y]) - q - wave * jno.np.cos(wave * x)
core = jno.core([residual.mse], domain=domain)
# end of problem
if second:
    net.optimizer(jno.optimizers.ssbroyden())


def field(module, point):
    """u at one point."""
    waves = wave * point
    inside = jnp.concatenate([point, jnp.cos(waves), jnp.sin(waves)]) if options.features else point
    return module(inside).squeeze() * jnp.prod(4 * point * (1 - point))


class Slices(Callback):
    """Report each slice and wait for the word to go on."""

    modules = None

    def on_epoch_end(self, *, trainable, **_):
        """After `inner_steps` iterations; True ends the training."""
        self.modules = jax.block_until_ready(trainable)
        meter.done()
        return not meter.go()


def predict(points):
    """Values and gradients."""
    ((key, trained),) = slices.modules.items()
    module = eqx.combine(trained, core.models[key])
    return jax.jit(jax.vmap(jax.value_and_grad(lambda p: field(module, p))))(jnp.asarray(points))


slices = Slices()
meter = common.Meter(options, predict)
if meter.go():
    core.solve(meter.slice * 10**5, inner_steps=meter.slice, callbacks=[slices])
