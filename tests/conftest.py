"""Strict numerics, four fake devices, checked array shapes; tests that share compilations stay together."""

import gc
import os
import time
from pathlib import Path

# Before jax starts: four devices on one CPU, so that data parallelism is tested for real.
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=4"
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import pytest
from jaxtyping import install_import_hook

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")

# Kept for the whole session: every annotation of shape and dtype in the library is checked at run time.
_hook = install_import_hook("aigc_jax", "beartype.beartype")


SLOW = set((Path(__file__).parent / "slow.txt").read_text().splitlines())
"""Tests, with or without their parameters, of more than 1.5 s of CPU time: ``pytest --times FILE`` measures them."""


def pytest_addoption(parser):
    parser.addoption("--times", default=None, help="a file to which the CPU seconds of each test are appended")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item):
    begin = time.process_time()
    yield
    if item.config.getoption("--times"):
        with open(item.config.getoption("--times"), "a", encoding="utf-8") as file:
            file.write(f"{time.process_time() - begin:.2f} {item.nodeid.removesuffix('@' + _group(item))}\n")


def _group(item):
    """The tests that share compilations: those of a file, all properties of a row of the contract table, a config's."""
    place, name = item.nodeid.split("::")[0], getattr(item, "callspec", None) and item.callspec.params.get("name")
    if name and item.path.parent.name == "contracts":
        return f"contracts of {name}"
    return f"{place} of {name}" if name and item.path.name == "test_configs.py" else place


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """A group runs in one piece, and with ``--dist loadgroup`` in one process: nothing is compiled twice."""
    first = {}
    for number, item in enumerate(items):
        first.setdefault(_group(item), number)
        item.add_marker(pytest.mark.xdist_group(_group(item)))
        if not SLOW.isdisjoint((item.nodeid, item.nodeid.partition("[")[0])):
            item.add_marker(pytest.mark.slow)
    items.sort(key=lambda item: first[_group(item)])


_last_group = [""]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Programs of the last group are dropped: thousands of them fill the memory of a small machine."""
    if _last_group[0] != _group(item):
        _last_group[0] = _group(item)
        jax.clear_caches()
        gc.collect()
