"""The paper's 2-D problem with jinns.

The residual is a ``PDEStatio`` and takes ``laplacian_rev``, jinns' operator for perceptrons, with its default method;
``--variant loop`` takes the other documented one. ``ngd``, ``ssbroyden`` and ``ssbfgs`` are its optimisers of second order, with
their defaults, in double precision as in its notebooks, and with ``loop``; its documentation recommends ``vanilla_ngd``. The last
two start after some iterations of Adam.
``jinns.solve`` runs its iterations in one compiled loop; it compiles
anew at every call, and its documentation says to wrap it in ``jax.jit`` with ``ahead_of_time=False`` where it is called inside
other code: so every slice is one call of the same compiled program. Layers start from equinox' default.
"""

import common
import equinox as eqx
import jax
import jax.numpy as jnp
import jinns
import optax
from jinns.loss import PDEStatio, laplacian_rev

SECOND = {"ssbroyden": "SSBroyden", "ssbfgs": "SSBFGS"}
WARM = 100
"""Iterations of Adam before the Broyden family."""
options = common.arguments(("default", "loop", "ngd", *SECOND))
jax.config.update("jax_enable_x64", options.variant in ("ngd", *SECOND))
key_net, key_points = jax.random.split(jax.random.key(options.seed))
inputs = 6 if options.features else 2
method = "trace_hessian_x" if options.variant == "default" else "loop"

# problem
wave = 2 * jnp.pi / common.EPS


class Heat(PDEStatio):
    """-div(K grad u) - q - dK/dx1."""

    def equation(self, x, u, params):
        """Residual at one point."""
        K, K_grad = 3 + jnp.sum(jnp.sin(wave * x)), wave * jnp.cos(wave * x)
        q = 10 * jnp.exp(-100 * jnp.sum((x - 0.5) ** 2))
        u_grad = jax.grad(lambda z: u(z, params)[0])(x)
        lap = laplacian_rev(x, u, params, method=method)
        return jnp.atleast_1d(-K * lap - K_grad @ u_grad - q - K_grad[0])


def vanish(x, y, params):
    """Hard boundary condition."""
    return jnp.prod(4 * x * (1 - x)) * y


# features
def expand(x, params):
    """Inputs of the network."""
    return jnp.concatenate([x, jnp.cos(wave * x), jnp.sin(wave * x)])


# end of features
layers = (
    (eqx.nn.Linear, inputs, options.width), (jnp.tanh,), (eqx.nn.Linear, options.width, options.width), (jnp.tanh,),
    (eqx.nn.Linear, options.width, 1),
)  # fmt: skip
u, start = jinns.nn.PINN_MLP.create(
    key=key_net, eqx_list=layers, eq_type="PDEStatio", output_transform=vanish,
    input_transform=expand if options.features else None,
)  # fmt: skip
params = jinns.parameters.Params(nn_params=start, eq_params={})
data = jinns.data.CubicMeshPDEStatio(
    key=key_points, n=options.points, dim=2, min_pts=(0.0, 0.0), max_pts=(1.0, 1.0), method="uniform"
)
weights = jinns.loss.LossWeightsPDEStatio(dyn_loss=1.0)
loss = jinns.loss.LossPDEStatio(u=u, dynamic_loss=Heat(), loss_weights=weights, params=params)
optimizer = optax.adam(optax.exponential_decay(common.RATE, common.DECAY_EVERY, common.DECAY))
# end of problem


def callback_value_fn(params, batch, loss):
    """For line searches, as jinns documents it."""
    return loss.evaluate(params, batch)[0]


def callback_grad_fn(params, batch, loss):
    """Likewise."""
    return loss.ponderate_and_sum_gradient(loss.values_and_grads(params, batch)[1])


extra = None
if options.variant == "ngd":
    optimizer = jinns.optimizers.vanilla_ngd()
elif options.variant in SECOND:
    optimizer = jinns.optimizers.scale_by_SSBroyden_family(method=SECOND[options.variant])
    names = {"value": "train_loss_value", "grad_pt": "grads", "batch": "batch", "loss": "loss"}
    extra = {key: jinns.solver.GetJinnsVariableName(name) for key, name in names.items()}
    extra |= {"value_fn": callback_value_fn, "grad_fn": callback_grad_fn}


def slice_of(optimizer, extra=None):
    """One slice of jinns.solve, compiled once."""

    @jax.jit
    def advance(params, state):
        out = jinns.solve(
            n_iter=meter.slice, init_params=params, data=data, loss=loss, optimizer=optimizer, opt_state=state,
            print_loss_every=10**9, verbose=False, ahead_of_time=False, extra_optax_args_and_kwargs=extra,
        )  # fmt: skip
        return out[0], out[5]

    return advance


@jax.jit
def evaluated(params, points):
    """Values and gradients."""
    return jax.vmap(jax.value_and_grad(lambda z: u(z, params)[0]))(points)


meter = common.Meter(options, lambda points: evaluated(params, jnp.asarray(points)))
phases = [(optimizer, extra, None)]
if options.variant in SECOND:  # without these their line search climbs at its first step and never comes back
    phases.insert(0, (optax.adam(common.RATE), None, WARM // meter.slice))
phases = [(rule, slice_of(rule, more), count) for rule, more, count in phases]
if options.variant in SECOND:  # both before the clock starts
    phases = [(rule, advance.lower(params, rule.init(params)).compile(), count) for rule, advance, count in phases]
going = True
for rule, advance, count in phases:
    state = rule.init(params)
    while count != 0 and (going := going and meter.go()):
        params, state = jax.block_until_ready(advance(params, state))
        meter.done()
        count = count and count - 1
