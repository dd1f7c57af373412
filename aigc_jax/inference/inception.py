"""The published Inception weights as an encoder: images -> logits and the 2,048 features of Fréchet distances."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from aigc_jax.types import PyTree, UsageError

ENCODER_NAME = "Inception-2048"
FILE_NAME = "pt_inception-2015-12-05-6726825d.pth"
URL = f"https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/{FILE_NAME}"
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
"""Of that file, and of torch-fidelity's, which is the same under another name."""

BATCH_NORM_EPSILON = 1e-3

EncodeImagesFn = Callable[[Float[np.ndarray, "num height width channel"]], dict[str, np.ndarray]]
"""``images [num, H, W, 1 or 3] in [-1, 1] -> {"logits", "logits_unbiased": [num, 1008], "features": [num, 2048]}``."""


def make_inception_encoder(
    path: str | Path, network: nn.Module, *, batch_size: int = 32, sha256: str = SHA256
) -> EncodeImagesFn:
    """A compiled encoder with the published weights; name it ``ENCODER_NAME``.

    Images are rounded to 256 levels first, as every published figure is of 8-bit images; grey ones are repeated to
    three channels. Published Inception scores take ``logits_unbiased``, without the last layer's bias.
    """
    params = load_inception(path, network, sha256=sha256)
    # An argument of what is compiled, not a constant in it: 95 MB would be folded into the program.
    compiled = jax.jit(network.apply)

    def encode(images: Float[np.ndarray, "num height width channel"]) -> dict[str, np.ndarray]:
        if images.shape[-1] not in (1, 3):
            raise UsageError(f"Inception needs images of 1 or 3 channels, got {images.shape[-1]}: use another encoder")
        levels = np.clip(np.round(127.5 * (np.asarray(images, np.float32) + 1)), 0, 255)
        rounded = np.broadcast_to(levels / np.float32(127.5) - 1, (*images.shape[:-1], 3))
        parts = [_padded(rounded[i : i + batch_size], batch_size) for i in range(0, len(rounded), batch_size)]
        outputs = [compiled({"params": params}, jnp.asarray(part)) for part in parts]
        logits, features = (
            np.concatenate([np.asarray(output[i]) for output in outputs])[: len(images)] for i in range(2)
        )
        bias = np.asarray(params["fc"]["bias"])
        return {"logits": logits, "logits_unbiased": logits - bias, "features": features}

    return encode


def load_inception(path: str | Path, network: nn.Module, *, sha256: str = SHA256) -> PyTree:
    """Read the published PyTorch weights as parameters of the network, after a check of the file's SHA-256."""
    file = Path(path)
    if not file.is_file():
        raise UsageError(f"expected the Inception weights {FILE_NAME} at {file}, got no file: download {URL}")
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != sha256:
        raise UsageError(f"expected {FILE_NAME} with SHA-256 {sha256[:8]}..., got {digest[:8]}... in {file}: get {URL}")
    try:
        import torch  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise UsageError(f"reading {file.name} needs PyTorch, which is not installed: pip install torch") from None
    # weights_only: a pickle that names anything but tensors is refused, not executed.
    state = torch.load(file, map_location="cpu", weights_only=True)
    params = convert_inception({name: tensor.detach().numpy() for name, tensor in state.items()})
    _check(params, network)
    return params


def convert_inception(state: Mapping[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """PyTorch's arrays as those of the network, batch norm folded into the convolution before it.

    ``scale * (k * x - mean) / sqrt(var + epsilon) + bias`` is a convolution with the kernel
    ``k * scale / sqrt(var + epsilon)``, computed in float64.
    """
    suffix = ".conv.weight"
    try:
        params = {"fc": {"kernel": state["fc.weight"].T, "bias": state["fc.bias"]}}
        for name in (key.removesuffix(suffix) for key in state if key.endswith(suffix)):
            scale, bias, mean, var = (
                state[f"{name}.bn.{part}"].astype(np.float64)
                for part in ("weight", "bias", "running_mean", "running_var")
            )
            gain = scale / np.sqrt(var + BATCH_NORM_EPSILON)
            kernel = state[f"{name}{suffix}"].transpose(2, 3, 1, 0) * gain
            params[name] = {"kernel": kernel.astype(np.float32), "bias": (bias - mean * gain).astype(np.float32)}
    except KeyError as error:
        raise UsageError(f"expected the arrays of {FILE_NAME}, got none named {error}: get {URL}") from None
    return params


def _check(params: PyTree, network: nn.Module) -> None:
    shapes = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))["params"]
    wanted, got = (
        {(layer, name): tuple(array.shape) for layer, arrays in tree.items() for name, array in arrays.items()}
        for tree in (shapes, params)
    )
    if different := sorted(set(wanted.items()) ^ set(got.items())):
        layer, name = different[0][0]
        found = got.get((layer, name), "none")
        raise UsageError(
            f"expected {wanted.get((layer, name), 'no')} numbers for {layer}.{name}, got {found}: get {URL}"
        )


def _padded(images: np.ndarray, size: int) -> np.ndarray:
    """Images repeated up to the size that was compiled."""
    return images if len(images) == size else np.resize(images, (size, *images.shape[1:]))
