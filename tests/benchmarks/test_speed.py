"""Speed benchmarks: they run, and answer in one line where PyTorch is missing."""

import re
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aigc_jax.nets.dit import DiT
from aigc_jax.nets.unet import UNet
from aigc_jax.types import UsageError
from benchmarks import __main__ as benchmark
from benchmarks import denoisers
from benchmarks.common import torch_device

pytestmark = pytest.mark.standard_promotion

KEY = jax.random.key(0)


@pytest.mark.slow
def test_gan_alone_prints_its_step_time_and_its_number_of_parameters(capsys):
    assert benchmark.main(["gan", "--steps", "2", "--rounds", "1"]) == 0
    out = capsys.readouterr().out
    row = re.search(r"^aigc_jax +([\d,]+) +([\d.]+)", out, re.MULTILINE)
    assert row is not None
    # Generator: dense 96 -> 3136, convolutions 64 -> 128, 32 -> 64, 16 -> 1, norms, embedding; then the discriminator.
    generator = 97 * 3136 + 577 * 128 + 289 * 64 + 145 + 20 * (64 + 32 + 16) + 320
    discriminator = 17 * 32 + (16 * 32 + 1) * 64 + (49 * 64 + 1) * 128 + 129 + 1280
    assert int(row[1].replace(",", "")) == generator + discriminator
    assert float(row[2]) > 0
    assert "torch" not in out


@pytest.mark.slow
def test_diffusion_alone_prints_the_times_of_step_and_sampling(capsys):
    words = ["diffusion", "--steps", "1", "--rounds", "1", "--sampling-steps", "1", "--num-images", "2"]
    assert benchmark.main(words) == 0
    out = capsys.readouterr().out
    rows = re.findall(r"^aigc_jax +([\d,]+) +([\d.]+)", out, re.MULTILINE)
    assert len(rows) == 2
    assert rows[0][0] == rows[1][0]
    assert all(float(time) > 0 for _, time in rows)
    assert "2 images, 1 DDIM steps" in out
    assert "torch" not in out


@pytest.mark.slow
def test_metrics_alone_prints_its_time_and_the_figures(capsys):
    assert benchmark.main(["metrics", "--num-examples", "60", "--num-features", "3", "--rounds", "1"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^aigc_jax +[\d.]+ +[\d.]+", out, re.MULTILINE)
    assert re.search(r"precision 0\.\d+, recall 0\.\d+, density [\d.]+, coverage 0\.\d+", out)
    assert "/ prdc" not in out


@pytest.mark.slow
def test_rules_prints_the_ratio_of_sampling_with_and_without(capsys):
    words = [
        "rules",
        "--width",
        "64",
        "--vocab-sizes",
        "257",
        "300",
        "--num-texts",
        "2",
        "--steps",
        "4",
        "--rounds",
        "1",
    ]
    assert benchmark.main(words) == 0
    rows = re.findall(r"^ +(\d+) +(\d+) +[\d.]+ +[\d.]+ +[\d.]+ +([\d.]+)", capsys.readouterr().out, re.MULTILINE)
    assert [(int(size), float(ratio) > 0) for size, _, ratio in rows] == [(257, True), (300, True)]
    assert all(int(kinds) < int(size) for size, kinds, _ in rows)


def test_metrics_against_a_library_that_is_missing_says_so_in_one_line(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "prdc", None)
    assert benchmark.main(["metrics", "--against", "prdc"]) == 2
    assert "pip install prdc" in capsys.readouterr().err


def test_metrics_against_a_library_that_differs_says_so(capsys, monkeypatch):
    wrong = types.ModuleType("prdc")
    wrong.compute_prdc = lambda *_: {"precision": 0.5}  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, "prdc", wrong)
    words = ["metrics", "--against", "prdc", "--num-examples", "60", "--num-features", "3", "--rounds", "1"]
    assert benchmark.main(words) == 1
    assert "do not compute the same" in capsys.readouterr().err


CHEAP = UNet(8, (1, 2), 1, (), 0, num_classes=3, norm="rms", patch_size=2, resampling="patch", is_symmetric=True)
DDPM = UNet(8, (1, 2), 1, (4,), 0, num_classes=3, is_scale_shift=False, resampling="conv")
NETS = {
    "unet of flow_digits": (CHEAP, 3),
    "the same in groups": (CHEAP.clone(norm="group", patch_size=1), 1),
    "unet of ddpm": (DDPM, 3),
    "unet of ddpm with heads": (DDPM.clone(head_width=4, is_scale_shift=True), 3),
    "dit": (DiT(2, 8, 2, head_width=4, num_classes=3), 3),
}


@pytest.mark.parametrize("name", NETS)
def test_torch_network_is_the_same_function(name):
    pytest.importorskip("torch")
    from benchmarks import torch_flow

    net, num_channels = NETS[name]
    x, t, condition = jax.random.normal(KEY, (2, 8, 8, num_channels)), jnp.array([0.2, 0.9]), jnp.array([1, 3])
    params = jax.jit(net.init)(KEY, x, t, condition)["params"]
    leaves, tree = jax.tree.flatten(params)
    # No weight at 0, which would hide what comes before it.
    keys = jax.random.split(jax.random.key(2), len(leaves))
    params = tree.unflatten([x + 0.2 * jax.random.normal(key, x.shape) for x, key in zip(leaves, keys, strict=True)])
    ours = jax.jit(net.apply)({"params": params}, x, t, condition)
    theirs = torch_flow.TorchFlow(jax.device_get(params), net, 8, torch_flow.Step(1e-4))
    image, *others = torch_flow.images_to_tensor(np.asarray(x)), *map(torch_flow.to_tensor, (t, condition))
    output = theirs.output(image, others[0], others[1].long()).permute(0, 2, 3, 1).detach().numpy()
    assert np.abs(output).max() > 0.1
    np.testing.assert_allclose(ours, output, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dit", "unet"])
def test_denoiser_alone_prints_its_step_time_and_its_rate(name, capsys):
    words = [name, "--size", "tiny", "--dtype", "float32", "--batch-size", "4", "--steps", "1", "--rounds", "1"]
    assert benchmark.main(words) == 0
    out = capsys.readouterr().out
    assert f"{name} tiny, batch 4, float32" in out
    row = re.search(r"^aigc_jax +([\d,]+) +([\d.]+)", out, re.MULTILINE)
    assert row is not None
    net, shape, _ = denoisers.SIZES[name]["tiny"]
    inputs = jnp.zeros((1, *shape)), jnp.zeros(1), jnp.zeros(1, jnp.int32)
    params = jax.eval_shape(lambda: net.init(KEY, *inputs))
    assert int(row[1].replace(",", "")) == sum(leaf.size for leaf in jax.tree.leaves(params))
    assert "TFLOP/s" in out
    assert "of the peak" not in out  # which no one knows of a CPU


@pytest.mark.slow
def test_depth_prints_the_times_of_both_kinds(capsys):
    words = ["depth", "--depths", "2", "--width", "64", "--batch-size", "2", "--steps", "1", "--rounds", "1"]
    assert benchmark.main(words) == 0
    rows = re.findall(r"^(\d \w+) +([\d,]+) +[\d.]+ +[\d.]+ +\d+ +\d+$", capsys.readouterr().out, re.MULTILINE)
    assert [name for name, _ in rows] == ["2 scanned", "2 unrolled"]
    assert rows[0][1] == rows[1][1]


@pytest.mark.slow
def test_text_alone_prints_the_times_of_step_and_sampling(capsys):
    words = ["text", "--length", "4", "--num-texts", "2", "--steps", "1", "--rounds", "1"]
    assert benchmark.main(words) == 0
    out = capsys.readouterr().out
    rows = re.findall(r"^aigc_jax +([\d,]+) +([\d.]+)", out, re.MULTILINE)
    weights = 66 * 128 + 4 * (4 * 128 * 128 + 3 * 128 * 344 + 2 * 128 + 2 * 32) + 128
    assert rows[0][0] == f"{weights:,}"
    assert out.count("tokens/s") == 2
    assert "2 texts of 4 tokens at once" in out
    assert "torch" not in out


def torch_with(name):
    """Enough of PyTorch to tell its device; None for a build without CUDA."""
    cuda = types.SimpleNamespace(is_available=lambda: name is not None, get_device_name=lambda number: name)
    chosen = []
    return types.SimpleNamespace(
        cuda=cuda,
        device=lambda *words: words,
        get_float32_matmul_precision=lambda: "highest",
        set_float32_matmul_precision=chosen.append,
    )


@pytest.mark.parametrize(
    ("ours", "theirs", "message"),
    [
        (["NVIDIA H200"], None, "JAX computes on NVIDIA H200, PyTorch on the CPU"),
        (["NVIDIA H200"], "NVIDIA A100", "JAX computes on NVIDIA H200, PyTorch on NVIDIA A100"),
        (["NVIDIA H200", "NVIDIA H200"], "NVIDIA H200", "JAX computes on 2 devices"),
        (["TPU v5"], None, "JAX computes on TPU v5, PyTorch on the CPU"),
    ],
)
def test_unequal_devices_are_refused(ours, theirs, message, monkeypatch):
    devices = [types.SimpleNamespace(platform="gpu", device_kind=kind) for kind in ours]
    monkeypatch.setattr(jax, "devices", lambda: devices)
    with pytest.raises(UsageError, match=message):
        torch_device(torch_with(theirs))


@pytest.mark.parametrize(("platform", "kind", "device"), [("cpu", "cpu", ("cpu",)), ("gpu", "X", ("cuda", 0))])
def test_torch_computes_where_jax_does(platform, kind, device, monkeypatch):
    monkeypatch.setattr(jax, "devices", lambda: [types.SimpleNamespace(platform=platform, device_kind=kind)])
    assert torch_device(torch_with("X")) == device


@pytest.mark.parametrize("name", ["gan", "diffusion", "dit", "unet", "text"])
def test_without_torch_one_line_says_what_to_install(name, capsys, monkeypatch):
    for module in ("torch_gan", "torch_flow", "torch_unet", "torch_dit", "torch_layers", "torch_decoder"):
        monkeypatch.delitem(sys.modules, f"benchmarks.{module}", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)  # an import of it fails, installed or not
    assert benchmark.main([name, "--against", "torch"]) == 2
    err = capsys.readouterr().err
    assert "pip install torch" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("arguments", [["gan", "--steps", "0"], ["diffusion", "--against", "numpy"], []])
def test_wrong_arguments_exit_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        benchmark.main(arguments)
    assert caught.value.code == 2
    assert capsys.readouterr().err
