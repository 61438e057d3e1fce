"""Imports flow one way and have no side effects."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

REPORT = """
import logging, sys
{imports}
import jax, matplotlib
from jax._src import xla_bridge
assert not jax.config.jax_enable_x64, "x64 is on"
assert jax.config.jax_numpy_dtype_promotion == "standard", "dtype promotion was changed"
assert not xla_bridge.backends_are_initialized(), "an array was made at import"
assert not logging.getLogger().handlers, "the root logger has a handler"
ours = [name for name in logging.root.manager.loggerDict if name.startswith("hybrid_lib")]
assert not any(logging.getLogger(name).handlers for name in ours), "a logger of the library has a handler"
assert matplotlib.rcParams == matplotlib.rcParamsOrig, "plot settings were changed"
"""

EVERY_MODULE = """
import importlib, pkgutil, hybrid_lib
from jax._src import xla_bridge
for module in pkgutil.walk_packages(hybrid_lib.__path__, "hybrid_lib."):
    if module.name != "hybrid_lib.__main__":
        importlib.import_module(module.name)
        assert not xla_bridge.backends_are_initialized(), f"{module.name} makes an array at import"
"""


def run(*command):
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_imports_flow_one_way():
    pytest.importorskip("importlinter")
    code = "from importlinter.cli import lint_imports_command as lint; lint()"
    result = run(sys.executable, "-c", code, "--no-cache")
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("imports", ["import hybrid_lib", EVERY_MODULE], ids=["package", "every module"])
def test_import_has_no_side_effects(imports):
    result = run(sys.executable, "-c", REPORT.format(imports=imports))
    assert result.returncode == 0, result.stderr
    assert result.stdout == "" and result.stderr == "", "importing printed something"


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, hybrid_lib; print(sorted({'jax', 'matplotlib', 'scipy', 'flax'} & set(sys.modules)))"
    assert run(sys.executable, "-c", code).stdout.strip() == "[]"


def test_importing_the_experiments_leaves_the_slow_parts_of_scipy_until_they_are_used():
    slow = {"scipy.interpolate", "scipy.optimize", "scipy.spatial", "scipy.stats"}
    code = f"import sys, hybrid_lib.experiments; print(sorted({slow} & set(sys.modules)))"
    assert run(sys.executable, "-c", code).stdout.strip() == "[]"
