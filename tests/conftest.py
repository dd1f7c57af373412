"""Strict numerics, four fake devices, quick compilation; tests that share compilations stay together."""

import functools
import gc
import os
import shutil
import types
from pathlib import Path

# All of it before jax starts, and inherited by subprocesses.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Four devices on one CPU, so that data parallelism is tested for real.
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=4"
# XLA's pool has as many threads as the machine has cores. Four fake devices on two cores deadlock when many steps are
# in flight: each waits in a collective for its peers and holds the thread that one of them needs.
os.environ["PJRT_NPROC"] = os.environ.get("PJRT_NPROC", "16")
# Two processes on two cores: threads of numpy's BLAS that wait for one another would spend ten times the work.
os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"
# What one process has compiled, the others read from disk: small programs too, of which there are most.
os.environ["JAX_COMPILATION_CACHE_DIR"] = os.environ.get(
    "JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".pytest_cache" / "jax")
)
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"

import jax
import numpy as np
import pytest
from jaxtyping import install_import_hook

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")

QUICK = " --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
"""XLA's older code generator needs a third of the time of the one that users run."""
TRAINING = {"trained_runs", "quick_classifiers"}
"""Fixtures that train: which test pays for that is chance, so that all tests that ask for them are slow."""
MEMORY = 2 * 2**30
"""Bytes of a process above which the compiled programs of earlier groups are dropped."""


def pytest_addoption(parser):
    parser.addoption(
        "--times",
        default=None,
        help="a file to which the CPU seconds of each test, subprocesses included, are appended",
    )
    parser.addoption("--thorough", action="store_true", help="check annotated shapes; compile as users do")


def pytest_make_parametrize_id(config, val, argname):
    """Names of bytes by their number: an archive holds the time, in which processes differ; long texts are cut."""
    del config
    if isinstance(val, bytes) and not (val.isascii() and val.decode().isprintable() and len(val) <= 40):
        return f"{argname}-of-{len(val)}-bytes"
    return ascii(val[:40])[1:-1] if isinstance(val, str) and len(val) > 200 else None


def pytest_configure(config):
    if config.getoption("--thorough"):
        config.add_cleanup(install_import_hook("aigc_jax", "tests.conftest.checked_types").uninstall)
    else:
        os.environ["XLA_FLAGS"] += QUICK


def checked_types(function):
    """Check annotations as a type checker reads them: an integer is a float too."""
    from beartype import BeartypeConf, beartype

    return beartype(conf=BeartypeConf(is_pep484_tower=True))(function)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item):
    begin = _cpu_seconds()
    # Most tests compile much and compute little: LLVM's optimisations would be half of their time.
    is_quick = item.get_closest_marker("optimized") is None and not item.config.getoption("--thorough")
    jax.config.update("jax_disable_most_optimizations", is_quick)
    os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = str(int(is_quick))  # of subprocesses
    with jax.numpy_dtype_promotion("standard" if item.get_closest_marker("standard_promotion") else "strict"):
        yield
    _write_time(item.config, _cpu_seconds() - begin, item.nodeid.removesuffix("@" + _group(item)))


def _cpu_seconds():
    """CPU seconds of this process and of the subprocesses that it has waited for."""
    return sum(os.times()[:4])


def _write_time(config, seconds, name):
    if config.getoption("--times"):
        with open(config.getoption("--times"), "a", encoding="utf-8") as file:
            file.write(f"{seconds:.2f} {name}\n")


def pytest_collection_finish(session):
    gc.collect()
    gc.freeze()  # a tenth of the suite's time went by in looking through what was imported
    _write_time(session.config, _cpu_seconds(), "imports and collection")


@pytest.fixture
def rng():
    """A generator of each test's own: one that tests share makes the values of one depend on all before it."""
    return np.random.default_rng(0)


@pytest.fixture
def trained_runs(tmp_path_factory, monkeypatch):
    """The runs that all tests of all processes share: see tests/runs.py."""
    from aigc_jax.train import worlds  # not before --thorough has taken hold

    from .runs import TrainedRuns

    monkeypatch.setattr(worlds, "NUM_IMAGES", (200, 200))
    monkeypatch.setattr(worlds, "NUM_POINTS", (2000, 1000))
    monkeypatch.setattr(worlds, "NUM_TEXTS", (200, 200))
    base = tmp_path_factory.getbasetemp()
    return TrainedRuns((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "runs")


@pytest.fixture
def trained_run(trained_runs, tmp_path):
    """A function from the name of a run to a copy of it, which the test may write to."""
    return lambda name: shutil.copytree(trained_runs(name), tmp_path / "runs" / name, dirs_exist_ok=True)


@pytest.fixture
def quick_classifiers(tmp_path, monkeypatch):
    """The folder of classifiers that judge, none there yet and each trained in no time."""
    from aigc_jax.configs.classifier_digits import build

    from aigc_jax.evaluation import classifiers

    from .runs import QuickClassifier

    load_config = classifiers.load_config
    quick = {
        name: types.SimpleNamespace(Config=functools.partial(QuickClassifier, architecture=kind), build=build)
        for name, kind in (("classifier_digits", "conv"), ("mixer_digits", "mixer"))
    }
    monkeypatch.setattr(classifiers, "load_config", lambda name: quick.get(name) or load_config(name))
    monkeypatch.setenv("AIGC_JAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("aigc_jax.evaluation.trust.doubt", lambda *given: "")  # they have learned next to nothing
    return tmp_path / "cache" / "classifiers"


def _group(item):
    """The tests that share compilations: those of a file, all properties of a row of the contract table, a config's."""
    place, name = item.nodeid.split("::")[0], getattr(item, "callspec", None) and item.callspec.params.get("name")
    if name and item.path.parent.name == "contracts":
        return f"contracts of {name}"
    return f"{place} of {name}" if name and item.path.name == "test_configs.py" else place


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """A group runs in one piece, and with ``--dist loadgroup`` in one process: nothing is compiled twice."""
    first, functions = {}, set()
    for number, item in enumerate(items):
        first.setdefault(_group(item), number)
        item.add_marker(pytest.mark.xdist_group(_group(item)))
        function = item.nodeid.partition("[")[0]
        if item.get_closest_marker("one_case") and function in functions:
            item.add_marker(pytest.mark.checked)
        functions.add(function)
        if item.get_closest_marker("checked") or not TRAINING.isdisjoint(item.fixturenames):
            item.add_marker(pytest.mark.slow)
    items.sort(key=lambda item: first[_group(item)])


_last_group = [""]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Programs of earlier groups are dropped where they fill the memory of a small machine."""
    if item.get_closest_marker("tpu_aot") is not None:
        if "tpu_aot" not in item.config.getoption("markexpr"):
            pytest.skip("takes minutes: pytest -m tpu_aot")
        pytest.importorskip("libtpu", reason="needs the compiler of TPUs: pip install 'aigc-jax[tpu]'")
    if item.config.getoption("--thorough") and item.get_closest_marker("unchecked_types") is not None:
        pytest.skip("gives values of other types than annotated")
    if _last_group[0] != _group(item):
        _last_group[0] = _group(item)
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        if pages * os.sysconf("SC_PAGE_SIZE") > MEMORY:
            jax.clear_caches()
            gc.collect()
