"""Make the golden numbers of tests/nets/test_inception.py: torch-fidelity's Inception with weights that the test knows.

No published weights are needed: torch-fidelity's network is filled with random ones that the test makes again. Needs
torch and torch-fidelity 0.4.0:

    python -m tests.oracles.golden_inception
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch  # pyright: ignore[reportMissingImports]
from torch_fidelity.feature_extractor_inceptionv3 import (  # pyright: ignore[reportMissingImports]
    FeatureExtractorInceptionV3,
)
from torch_fidelity.interpolate_compat_tensorflow import (  # pyright: ignore[reportMissingImports]
    interpolate_bilinear_2d_like_tensorflow1x,
)

from aigc_jax.inference.inception import make_inception_encoder
from aigc_jax.nets.inception import InceptionV3
from tests.nets.inception_example import example_images, example_weights

GOLDEN = Path(__file__).parents[1] / "nets" / "inception_golden.json"
EVERY = 85
"""Numbers that are kept: spread over all branches of the last block."""
OUTPUTS = ("2048", "logits", "logits_unbiased")


def conv_shapes() -> dict[str, list[int]]:
    """The convolutions of the published network, by the name of each in the published file."""
    with mock.patch.object(FeatureExtractorInceptionV3, "load_state_dict"), tempfile.NamedTemporaryFile() as file:
        torch.save({}, file.name)
        network = FeatureExtractorInceptionV3("any", ["2048"], feature_extractor_weights_path=file.name)
    suffix = ".conv.weight"
    return {name.removesuffix(suffix): list(x.shape) for name, x in network.state_dict().items() if suffix in name}


def to_tensor(images: np.ndarray) -> torch.Tensor:
    """BHWC as BCHW."""
    return torch.from_numpy(images.transpose(0, 3, 1, 2).copy())


def main() -> None:
    """Write the numbers, and compare the loader's with them on the way."""
    shapes = conv_shapes()
    golden: dict[str, Any] = {"conv_shapes": shapes}
    small = to_tensor(example_images(1, 5, 7).astype(np.float32))
    for side in (4, 12):
        sized = interpolate_bilinear_2d_like_tensorflow1x(small, size=(side, side), align_corners=False)
        golden[f"enlarged_{side}"] = sized.numpy().transpose(0, 2, 3, 1).ravel().tolist()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.pth"
        torch.save({name: torch.from_numpy(x.copy()) for name, x in example_weights(shapes).items()}, path)
        oracle = FeatureExtractorInceptionV3("any", list(OUTPUTS), feature_extractor_weights_path=str(path))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        encode = make_inception_encoder(path, InceptionV3(), batch_size=2, sha256=digest)
    for num, height, width in ((2, 40, 32), (1, 310, 320)):
        images = example_images(num, height, width)
        given = dict(zip(OUTPUTS, (x.numpy() for x in oracle(to_tensor(images))), strict=True))
        ours = encode(images.astype(np.float32) / 127.5 - 1)
        for name, theirs in given.items():
            difference = np.abs(ours["features" if name == "2048" else name] - theirs).max() / np.abs(theirs).max()
            print(f"{num} x {height} x {width} {name}: largest difference {difference:.1e} of the largest number")
            golden[f"{name} of {num} x {height} x {width}"] = {
                "every": theirs[:, ::EVERY].tolist(),
                "norm": np.linalg.norm(theirs, axis=1).tolist(),
            }
    GOLDEN.write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    main()
