"""One strict setting for every test: float64, no silent dtype or rank promotion."""

import gc
import os
import tempfile

import jax
import pytest

# One thread a worker, for there are as many workers as cores; tests/test_standstill.py runs commands with all of them. Tests may
# also ask jaxlib for batched factorisations, which the library does not: in a pool of two threads these can wait for ever.
os.environ.setdefault("NPROC", "1")
# Tests compile far more than they run: half the time without LLVM's passes, half of that with the plain emitter of loops and one
# module a program. The chapters and a command in tests/test_standstill.py run with XLA's own settings.
FAST = "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {FAST}"
# The same programs come again, in a resumed run, a command of its own or the next module: each worker keeps its own to its end.
PROGRAMS = tempfile.TemporaryDirectory(prefix="hybrid-lib-tests-")
# References are made anew in a run of the tests, and shared by its workers: one of another day would hide a fault.
REFERENCES = None if "PYTEST_XDIST_WORKER" in os.environ else tempfile.TemporaryDirectory(prefix="hybrid-lib-references-")
if REFERENCES is not None:
    os.environ["HYBRID_LIB_CACHE"] = REFERENCES.name
os.environ |= {"JAX_COMPILATION_CACHE_DIR": PROGRAMS.name, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
jax.config.update("jax_compilation_cache_dir", PROGRAMS.name)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


# Tracing makes many objects and few cycles: looking for these after each 700 took a tenth of the time and more.
gc.set_threshold(100_000, 20, 20)


def pytest_collection_finish():
    """What is imported and collected stays: the collector need not look at it again."""
    gc.freeze()


def pytest_collection_modifyitems(items):
    """Processes that share the tests have to name them alike: an address in a name would end the run before it starts."""
    if found := [item.nodeid for item in items if " at 0x" in item.nodeid]:
        raise pytest.UsageError(f"give this test a name that is the same in every process: {found[0]}")


@pytest.fixture
def key():
    """A fixed random key."""
    return jax.random.key(20260101)


@pytest.fixture
def few_draws(monkeypatch):
    """The sampled bound of a run from a sixteenth of its points: an upper limit with the same confidence, and a wider one."""
    from hybrid_lib.methods.hypercircle import sampled_bound

    *_, key = sampled_bound.__defaults__
    monkeypatch.setattr(sampled_bound, "__defaults__", (8, 2048, key))


@pytest.fixture(autouse=True, scope="module")
def _programs_of_one_module():
    """Give the compiled programs of a finished module back: kept, they add up to gigabytes in each worker."""
    yield
    jax.clear_caches()
