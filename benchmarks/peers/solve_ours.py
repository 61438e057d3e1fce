"""The paper's 2-D problem with hybrid_lib: the plain network, or ``--variant hybrid`` with the paper's coupling.

``--variant uniform`` is the plain network from the initial weights that jinns and PINA have by default, ``newton`` the plain
network with Gauss-Newton in double precision.

The medium and the source are written out as for the other libraries. Derivatives by jets; ``Setup.program`` is the compiled loop
that ``experiments.train`` calls slice by slice. With ``--features`` the network is a subclass of the library's, and the run is
put together from the library's parts, since a configuration names networks of the library alone.
"""

import common
import jax
import jax.numpy as jnp

from hybrid_lib import experiments, media, training
from hybrid_lib.methods import method_of
from hybrid_lib.pinn import jets, networks
from hybrid_lib.pinn.ansatz import Ansatz

options = common.arguments(("default", "hybrid", "uniform", "newton"))
newton = options.variant == "newton"
jax.config.update("jax_enable_x64", newton)

# problem
wave = 2 * jnp.pi / common.EPS


def conductivity(x):
    """K."""
    return 3 + jnp.sum(jnp.sin(wave * x))


def source(x):
    """q."""
    return 10 * jnp.exp(-100 * jnp.sum((x - 0.5) ** 2))


problem = experiments.own_problem(media.from_function(conductivity, 2, period=common.EPS), source)
config = experiments.Config(
    "peers", common.EPS, "hybrid" if options.variant == "hybrid" else "pinn", dtype="float64" if newton else "float32",
    network=experiments.NetworkConfig("mlp", (options.width,) * 2),
    sampling=experiments.SamplingConfig(points=options.points),
    coarse=experiments.CoarseConfig(cells=25),
    training=experiments.TrainingConfig(learning_rate=common.RATE, decay_every=common.DECAY_EVERY),
)  # fmt: skip
setup = experiments.assemble(problem, config, (options.seed,))


# features
class Periodic(networks.MLP):
    """Perceptron of the point and of cos and sin of 2 pi x / eps."""

    def embed(self, x):
        """The features; nothing in them is trained."""
        return [jets.cos_sin(jets.affine(x, 2 * jnp.pi / common.EPS))]

    def head(self, x, features):
        """The perceptron."""
        return super().head(jets.concatenate([x, *features]), [])


def assembled(ansatz):
    """What assemble does, for a trial field of one's own."""
    method = method_of(config)
    coarse = method.coarse(problem, config)
    theta, fixed = ansatz.init(jax.random.key(options.seed))
    data = method.sampler(problem, config, ansatz, (options.seed,), [fixed], coarse)(0)
    objective = method.objective(problem, config, ansatz, coarse)
    adam = training.gauss_newton() if newton else training.adam(common.RATE, common.DECAY, common.DECAY_EVERY)
    member = training.init_member(objective, adam, theta, data[0], {"coupling": 1.0})
    state = training.init_state([member], jax.random.key(options.seed))
    return ansatz, training.program(objective, adam, training.LoopOptions(), 1), state, training.stack(data)


# end of features
# end of problem
ansatz, program, state, data = setup.ansatz, setup.program, setup.state, setup.data
if options.features:
    network = Periodic((options.width,) * 2, dtype=jnp.float64 if newton else jnp.float32)
    ansatz, program, state, data = assembled(Ansatz(network, 2, problem.domain.vanishing))


def uniform_start(members):
    """Members whose layers start uniform in plus or minus 1/sqrt(inputs), kernels and biases alike: without Glorot's law."""
    layers = jax.tree.leaves(members.params, is_leaf=lambda node: isinstance(node, dict) and "kernel" in node)
    draws = []
    for layer, key in zip(layers, jax.random.split(jax.random.key(options.seed), len(layers)), strict=True):
        bound = layer["kernel"].shape[-2] ** -0.5
        keys = dict(zip(("bias", "kernel"), jax.random.split(key), strict=True))
        draws += [jax.random.uniform(keys[k], layer[k].shape, layer[k].dtype, -bound, bound) for k in keys]
    return members._replace(params=jax.tree.unflatten(jax.tree.structure(members.params), draws))


if options.variant == "uniform":
    state = state._replace(members=uniform_start(state.members))


@jax.jit
def evaluated(params, points):
    """Values and gradients."""
    jet = jax.vmap(lambda x: ansatz.jet(params, {}, x)[:2])(points)
    return jet[0], jnp.stack(jet[1], axis=-1)


meter = common.Meter(options, lambda x: evaluated(training.member(state.members.params, 0), jnp.asarray(x)))
while meter.go():
    state, _ = jax.block_until_ready(program.advance(state, data, state.step + meter.slice))
    meter.done()
