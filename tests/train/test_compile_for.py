"""Verdicts of ahead-of-time compilation: parsed reports without libtpu, real compilations with it (-m tpu_aot)."""

import importlib.util
import types
from collections import Counter

import jax
import jax.numpy as jnp
import pytest

from aigc_jax import cli
from aigc_jax.cli import compile as compile_command
from aigc_jax.train import compile_for
from aigc_jax.train.compile_for import GIB, Compiled, compile_lowered, count_collectives
from aigc_jax.types import UsageError
from tests.runs import TINY

pytestmark = pytest.mark.standard_promotion

REPORTS = {
    "temporaries": "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO temporaries "
    "(2.00T) exceeds available HBM (15.75G).",
    "used": "RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Ran out of memory in memory space hbm. Used 39.50G "
    "of 15.75G hbm. Exceeded hbm capacity by 23.75G.",
}


@pytest.fixture(autouse=True)
def settings():
    """The settings of jax that the command changes for its process."""
    names = ("jax_platforms", "jax_enable_compilation_cache")
    kept = {name: getattr(jax.config, name) for name in names}
    yield
    for name, value in kept.items():
        jax.config.update(name, value)


class TooLarge:
    """A lowered program whose compilation ends with a report of libtpu."""

    def __init__(self, report):
        self.report = report

    def compile(self):
        raise jax.errors.JaxRuntimeError(self.report)


@pytest.mark.parametrize(("report", "gigabytes"), [("temporaries", 2048), ("used", 39.5)])
def test_compile_lowered_reports_the_memory_that_a_program_needs(report, gigabytes, monkeypatch):
    monkeypatch.setattr(compile_for, "available_memory", lambda device: 15.75 * GIB)
    program = compile_lowered(TooLarge(REPORTS[report]), None)
    assert (program.fits, program.memory / GIB, program.available / GIB) == (False, gigabytes, 15.75)


def test_compile_lowered_raises_other_errors():
    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"):
        compile_lowered(TooLarge("INTERNAL: Mosaic failed"), None)


def test_compile_lowered_counts_collectives_and_memory(monkeypatch):
    """Of a program for this machine's four devices, against sizes known from its shapes."""
    monkeypatch.setattr(compile_for, "available_memory", lambda device: 2.0 * GIB)
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    split, whole = (jax.NamedSharding(mesh, jax.P(*axes)) for axes in (("data",), ()))
    total = jax.jit(lambda x: x.sum(axis=0), in_shardings=split, out_shardings=whole)
    program = compile_lowered(total.lower(jax.ShapeDtypeStruct((64, 1024), jnp.float32)), None)
    assert program.fits
    assert program.collectives == Counter({"all-reduce": 1})
    size = 4 * 1024
    assert 16 * size + size <= program.memory <= 16 * size + 4 * size + 2**16


def test_count_collectives_counts_each_channel_once_and_finds_scattered_sums():
    program = """
%all-reduce-scatter.1 (input: f32[8]) -> f32[1] {
  %all-reduce.4 = f32[8]{0} all-reduce(%input), channel_id=6, to_apply=%add
  ROOT %slice = f32[1]{0} dynamic-slice(%all-reduce.4, %start)
}
%begin (x: bf16[1]) -> bf16[8] {
  %all-gather.1 = bf16[8]{0} all-gather(%x), channel_id=7, dimensions={0}
}
ENTRY %main (x: f32[8]) -> f32[8] {
  %gather = (bf16[1], bf16[8]) all-gather-start(%x), channel_id=7, dimensions={0}
  %done = bf16[8]{0} all-gather-done(%gather)
  %sum = f32[] all-reduce(%all-gather.1), channel_id=8, to_apply=%add
}
"""
    assert count_collectives(program) == Counter({"reduce-scatter": 1, "all-gather": 1, "all-reduce": 1})


@pytest.mark.skipif(importlib.util.find_spec("libtpu") is not None, reason="libtpu is there")
def test_compile_without_libtpu_says_what_to_install(capsys):
    assert cli.main(["compile", "gan_digits", "--topology", "v5e:2x4"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "pip install 'aigc-jax[tpu]'" in error


def run_with(monkeypatch, capsys, words, *programs):
    """The command with verdicts of a compiler that is not there."""
    results = list(programs)
    devices = [types.SimpleNamespace(process_index=number // 4, device_kind="TPU v5e") for number in range(8)]
    monkeypatch.setattr(compile_command, "find_topology", lambda name: devices)
    monkeypatch.setattr(compile_command, "lower_step", lambda *_: None)
    monkeypatch.setattr(compile_command, "lower_sampler", lambda *_: None)
    monkeypatch.setattr(compile_command, "compile_lowered", lambda *_: results.pop(0))
    status = cli.main(["compile", *words, "--topology", "v5e:2x4"])
    captured = capsys.readouterr()
    assert captured.err == ""
    return status, captured.out.splitlines()


FITS = Compiled(True, 3 * GIB, GIB, 15.75 * GIB, 7.4, Counter({"all-reduce": 2, "all-gather": 5}))
DIT = ["dit_mnist", *TINY["dit_mnist"].split(), "--batch-size", "8"]


@pytest.mark.slow
def test_compile_prints_a_program_that_fits(monkeypatch, capsys):
    status, lines = run_with(monkeypatch, capsys, [*DIT, "--sampler"], FITS, FITS)
    assert status == 0
    assert lines[0].startswith("dit_mnist for v5e:2x4: 8 devices of 2 hosts (data 8 x fsdp 1 x tensor 1), ")
    verdict = "fits: 3.00 GiB of 15.75 GiB on each device, 1.00 GiB of them temporary; 5 all-gather, 2 all-reduce; "
    verdict += "compiled in 7 s"
    assert lines[2:] == [f"training step: {verdict}", f"sampler of a block: {verdict}"]


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        ("--net.remat none", "--parallel jit --mesh.fsdp 8 --net.remat full"),
        ("--parallel jit --mesh.fsdp 4 --net.remat full", "--num-microbatches 2"),
    ],
)
def test_compile_of_a_program_that_does_not_fit_says_what_to_try(words, advice, monkeypatch, capsys):
    over = Compiled(False, 39.5 * GIB, float("nan"), 15.75 * GIB, 3.0, Counter())
    status, lines = run_with(monkeypatch, capsys, [*DIT, *words.split()], over)
    assert status == 1
    assert lines[-1] == f"training step: does not fit: needs 39.50 GiB, a TPU v5e has 15.75 GiB: try {advice}"
    assert ("more with what is computed again" in lines[1]) == ("full" in words)
    assert ("(data 2 x fsdp 4 x tensor 1)" in lines[0]) == ("fsdp" in words)


@pytest.mark.tpu_aot
def test_find_topology_refuses_an_unknown_name_in_one_line():
    with pytest.raises(UsageError, match=r"such as v5e:2x4.*got 'v9z:1x1'") as caught:
        compile_for.find_topology("v9z:1x1")
    assert "\n" not in str(caught.value)


@pytest.mark.tpu_aot
def test_available_memory_is_that_of_the_chip():
    (device, *others) = compile_for.find_topology("v5e:2x4")
    assert len(others) == 7
    assert compile_for.available_memory(device) / GIB == 15.75
