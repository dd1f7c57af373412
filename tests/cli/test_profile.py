"""aigc-jax profile: a trace of real training steps, and figures that agree with each other."""

import re

import jax
import pytest

from aigc_jax.cli.main import main
from aigc_jax.cli.profile import in_whole_calls
from aigc_jax.inference.peaks import published_peak

pytestmark = pytest.mark.standard_promotion  # of optax

WORDS = ["profile", "flow_2d", "--widths", "16", "--batch-size", "16", "--parallel", "jit"]


@pytest.fixture(autouse=True)
def _cache_as_before():
    """The command turns the cache of compiled programs off, since it measures compilation."""
    before = jax.config.jax_enable_compilation_cache  # pyright: ignore[reportAttributeAccessIssue]: made at run time
    yield
    jax.config.update("jax_enable_compilation_cache", before)


@pytest.mark.slow
def test_profile_prints_figures_that_agree_and_writes_a_trace(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main([*WORDS, "--num-steps", "3", "--out", "trace"]) == 0
    out = capsys.readouterr().out
    found = re.search(r"^step time +([\d.]+) ms, ([\d.e+]+) steps/s \(mean of 3 steps\)", out, re.MULTILINE)
    assert found is not None
    step_ms, steps_per_s = float(found[1]), float(found[2])
    assert step_ms * steps_per_s == pytest.approx(1000, rel=0.02)
    flops = float(re.search(r"^operations +([\d.e+]+)", out, re.MULTILINE)[1])  # pyright: ignore[reportOptionalSubscript]
    rate = re.search(r"^utilisation +[\d.]+%: ([\d.e+-]+) of [\d.e+-]+ TFLOP/s, measured here", out, re.MULTILINE)
    assert rate is not None
    assert float(rate[1]) * 1e12 == pytest.approx(flops * 1000 / step_ms, rel=0.02)
    for name in ("data wait", "compile time", "by compiler", "memory", "longest"):
        assert name in out
    assert list((tmp_path / "trace").rglob("*.xplane.pb"))
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("num_steps", "steps_per_call", "timed"), [(20, 1, 20), (20, 10, 20), (5, 20, 20), (20, 15, 30)]
)
def test_in_whole_calls_rounds_up(num_steps, steps_per_call, timed):
    assert in_whole_calls(num_steps, steps_per_call) == timed


def test_profile_of_one_step_is_refused(capsys):
    assert main([*WORDS, "--num-steps", "1"]) == 2
    assert "--num-steps 20" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "dtype", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", "bfloat16", 989e12),
        ("NVIDIA H100 PCIe", "bfloat16", 756e12),
        ("NVIDIA H100 NVL", "bfloat16", 835e12),
        ("NVIDIA A100-SXM4-40GB", "float32", 156e12),
        ("NVIDIA L40", "bfloat16", 181e12),
        ("TPU v5 lite", "bfloat16", 197e12),
        ("TPU v5p", "bfloat16", 459e12),
        ("TPU v6 lite", "bfloat16", 918e12),
        ("cpu", "float32", None),
        ("NVIDIA H100 80GB HBM3", "float64", None),
    ],
)
def test_published_peak_is_that_of_the_data_sheet(kind, dtype, peak):
    assert published_peak(kind, dtype) == peak
