r"""Checkpoints: one file that is replaced atomically and restores a run bit for bit.

The file is an ``.npz`` of the state's leaves in tree order, the history so far and a JSON header with each leaf's path,
shape and dtype and the fingerprint of the configuration. A kill at any moment leaves either the old file or the new one.
"""

from __future__ import annotations

import io
import json
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hybrid_lib.errors import InputError
from hybrid_lib.files import write_atomically
from hybrid_lib.training.fitting import FitResult
from hybrid_lib.training.state import Best, Member, TrainState

Tree = Any
FORMAT = 1
UNREADABLE = (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error, tokenize.TokenError)
"""What NumPy raises for an .npz that is damaged, or none."""


def save(path: Path, result: FitResult, fingerprint: str) -> None:
    """Save a run's state, history, evaluations and seconds to `path`, atomically.

    Parameters
    ----------
    path : Path
        The file, by custom ``checkpoint/state.npz`` in a run directory.
    result : FitResult
    fingerprint : str
        Of the configuration; :func:`restore` refuses another one.
    """
    leaves = _leaves(result.state)
    header = {
        "format": FORMAT,
        "fingerprint": fingerprint,
        "leaves": [[name, list(leaf.shape), str(leaf.dtype)] for name, leaf in leaves],
        "seconds": result.seconds,
        "finished": result.finished,
    }
    arrays = {f"leaf{index}": leaf for index, (_, leaf) in enumerate(leaves)}
    arrays |= {f"history:{name}": column for name, column in result.history.items()}
    arrays |= {f"evaluations:{name}": column for name, column in result.evaluations.items()}
    buffer = io.BytesIO()
    np.savez(buffer, header=np.asarray(json.dumps(header)), **arrays)
    write_atomically(path, buffer.getvalue())


def restore(path: Path, like: TrainState, fingerprint: str) -> FitResult:
    """Read what :func:`save` wrote.

    Parameters
    ----------
    path : Path
    like : TrainState
        A state of the same structure, for instance the initial one.
    fingerprint : str
        Of the configuration at hand.

    Returns
    -------
    FitResult

    Raises
    ------
    InputError
        If the file is missing, unreadable, or belongs to another configuration or structure.
    """
    content, header = _content(Path(path), fingerprint)
    expected = [[name, list(leaf.shape), str(leaf.dtype)] for name, leaf in _leaves(like)]
    if header["leaves"] != expected:
        different = next((a for a in header["leaves"] if a not in expected), "another number of arrays")
        raise InputError(
            "checkpoint", "the arrays of this state", different, "resume with the same library version"
        )
    old, structure = jax.tree.flatten(like)
    leaves = [_array(content[f"leaf{index}"], leaf) for index, leaf in enumerate(old)]
    return _result(jax.tree.unflatten(structure, leaves), content, header)


def glance(path: Path, params: Tree, fingerprint: str) -> FitResult:
    """What a run has found, from what :func:`save` wrote, without the optimiser's state and the coarse data: these are None.

    Parameters
    ----------
    path : Path
    params : tree
        Shapes and types of the members' parameters, leading axis seeds.
    fingerprint : str
        As in :func:`restore`.

    Raises
    ------
    InputError
        As :func:`restore`.
    """
    content, header = _content(Path(path), fingerprint)
    number, flag = np.zeros(()), np.zeros((), np.int32)
    member = Member(params, None, None, None, Best(number, flag, params), flag, flag)
    known = {name: index for index, (name, _, _) in enumerate(header["leaves"])}
    paths, structure = jax.tree_util.tree_flatten_with_path(TrainState(flag, jax.random.key(0), member))
    leaves = []
    for place, like in paths:
        name = jax.tree_util.keystr(place)
        stored = content[f"leaf{known[name]}"] if name in known else None
        if stored is None or (".params" in name and stored.shape != like.shape):
            found = "none" if stored is None else f"shape {stored.shape}"
            raise InputError("checkpoint", f"the arrays of this network, {name}", found, "read it with the version that wrote it")
        leaves.append(_array(stored, like) if _is_key(like) else jnp.asarray(stored))
    return _result(jax.tree.unflatten(structure, leaves), content, header)


def _result(state: TrainState, content: dict[str, np.ndarray], header: dict[str, Any]) -> FitResult:
    """State, tables and times."""
    return FitResult(
        state=state,
        history={k.split(":", 1)[1]: v for k, v in content.items() if k.startswith("history:")},
        evaluations={k.split(":", 1)[1]: v for k, v in content.items() if k.startswith("evaluations:")},
        seconds=float(header["seconds"]),
        compile_seconds=0.0,
        finished=bool(header["finished"]),
    )


def _content(path: Path, fingerprint: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays and header of a checkpoint of this configuration."""
    if not path.exists():
        raise InputError("checkpoint", "an existing file", path, "start without resume=True")
    try:
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
            content = {name: file[name] for name in file.files}
        header = json.loads(str(content.pop("header")))
    except UNREADABLE as error:
        raise _damaged(path, error) from error
    if header.get("format") != FORMAT:
        raise InputError(
            "checkpoint format", FORMAT, header.get("format"), "run again from the start in another folder"
        )
    if header["fingerprint"] != fingerprint:
        raise InputError(
            "checkpoint",
            f"the configuration it was written with ({header['fingerprint']})",
            fingerprint,
            "use the same settings, or another folder",
        )
    return content, header


def steps_done(path: Path) -> int:
    """Step counter of the state that :func:`save` wrote to `path`, 0 if there is no such file."""
    if not Path(path).is_file():
        return 0
    try:
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
            names = [name for name, _, _ in json.loads(str(file["header"]))["leaves"]]
            return int(file[f"leaf{names.index('.step')}"])
    except UNREADABLE as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> InputError:
    remedy = "it is damaged or something else: restore it, or run again in another folder"
    if isinstance(error, OSError) and error.strerror:  # not the content is wrong
        path, remedy = f"{path}: {error.strerror}", "see to it that it can be read"
    return InputError("checkpoint", "a file written by this library", path, remedy)


def _leaves(state: TrainState) -> list[tuple[str, np.ndarray]]:
    paths, _ = jax.tree_util.tree_flatten_with_path(state)
    return [(jax.tree_util.keystr(path), _numpy(leaf)) for path, leaf in paths]


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _numpy(leaf: Any) -> np.ndarray:
    return np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)


def _array(stored: np.ndarray, like: Any) -> jax.Array:
    if _is_key(like):
        return jax.random.wrap_key_data(jnp.asarray(stored), impl=jax.random.key_impl(like))
    return jnp.asarray(stored, like.dtype)
