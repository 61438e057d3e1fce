"""Parameters in general position: the two-scale network starts at the zero function, where identities are trivial."""

import jax


def shaken(theta, key, size=0.5):
    """`theta` plus Gaussian noise in every entry."""
    leaves, structure = jax.tree.flatten(theta)
    keys = jax.random.split(key, len(leaves))
    noise = [size * jax.random.normal(k, a.shape, a.dtype) for k, a in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(structure, [a + n for a, n in zip(leaves, noise, strict=True)])
