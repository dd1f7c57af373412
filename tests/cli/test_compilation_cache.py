"""The cache of compiled programs: on by default, bounded, and never a reason to fail."""

import os
import subprocess
import sys

import jax
import pytest

from aigc_jax.cli.main import use_compilation_cache

PROGRAM = """
import jax, jax.numpy as jnp
from aigc_jax.cli.main import use_compilation_cache
use_compilation_cache()
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
print(float(jax.jit(lambda x: jnp.sin(x @ x.T).sum())(jnp.ones((8, 8)))))
"""


def run(cache, **environment):
    own = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    own |= {"JAX_PLATFORMS": "cpu", "AIGC_JAX_CACHE": str(cache), **environment}
    return subprocess.run([sys.executable, "-c", PROGRAM], env=own, capture_output=True, text=True, check=True)


@pytest.mark.slow
def test_compilation_cache_ignores_damaged_entries_and_folders(tmp_path):
    first = run(tmp_path)
    entries = list((tmp_path / "programs").glob("jit__lambda*-cache"))
    assert len(entries) == 1
    entries[0].write_bytes(entries[0].read_bytes()[:100])
    (tmp_path / "file").write_text("")
    for again in (run(tmp_path), run(tmp_path / "file")):
        assert (again.stdout, again.stderr) == (first.stdout, "")


@pytest.mark.slow
def test_compilation_cache_can_be_turned_off(tmp_path):
    run(tmp_path, JAX_ENABLE_COMPILATION_CACHE="0")
    assert not list(tmp_path.rglob("*-cache"))


def test_compilation_cache_leaves_a_given_folder_alone():
    given = jax.config.jax_compilation_cache_dir
    assert given  # that of the tests: they never write to the user's own
    use_compilation_cache()
    assert jax.config.jax_compilation_cache_dir == given
