"""Make the golden numbers of tests/inference/test_published.py: outputs of diffusers' networks on known weights.

No published weights are needed: the networks are filled with random ones that the test makes again. The weights of the
DiT go by the names of its authors, and reach ``DiTTransformer2DModel`` by the map of diffusers' own converter
(scripts/convert_dit_to_diffusers.py). Needs torch 2.13 and diffusers 0.42:

    python -m tests.oracles.golden_published
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch  # pyright: ignore[reportMissingImports]
from diffusers import DiTTransformer2DModel, UNet2DModel  # pyright: ignore[reportMissingImports]
from diffusers.models.embeddings import Timesteps  # pyright: ignore[reportMissingImports]

from tests.inference.published_example import (
    CLASSES,
    DIT,
    NUM_CLASSES,
    STEPS,
    UNET,
    example_inputs,
    example_weights,
)

GOLDEN = Path(__file__).parents[1] / "inference" / "published_golden.json"


def to_tensor(images: np.ndarray) -> torch.Tensor:
    """BHWC as BCHW."""
    return torch.from_numpy(images.transpose(0, 3, 1, 2).copy())


def shapes_of(module: torch.nn.Module) -> dict[str, list[int]]:
    """The arrays of a module by name."""
    return {name: list(tensor.shape) for name, tensor in module.state_dict().items()}


def unet() -> dict[str, object]:
    """Output of DDPM's U-Net."""
    module = UNet2DModel(**UNET).eval()
    weights = example_weights(shapes_of(module))
    module.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    with torch.no_grad():
        output = module(to_tensor(example_inputs(8, 3)), torch.from_numpy(STEPS)).sample
    return {
        "shapes": shapes_of(module),
        "output": output.permute(0, 2, 3, 1).numpy().astype(float).ravel().round(6).tolist(),
    }


def dit_shapes() -> dict[str, list[int]]:
    """The arrays of the authors' DiT (facebookresearch/DiT, models.py) by name."""
    width, channels, size = DIT["hidden_size"], DIT["in_channels"], DIT["patch_size"]
    layers = {
        "t_embedder.mlp.0": [width, 256],
        "t_embedder.mlp.2": [width, width],
        "final_layer.linear": [2 * channels * size**2, width],
        "final_layer.adaLN_modulation.1": [2 * width, width],
        "x_embedder.proj": [width, channels, size, size],
    }
    for number in range(DIT["depth"]):
        layers |= {
            f"blocks.{number}.attn.qkv": [3 * width, width],
            f"blocks.{number}.attn.proj": [width, width],
            f"blocks.{number}.mlp.fc1": [4 * width, width],
            f"blocks.{number}.mlp.fc2": [width, 4 * width],
            f"blocks.{number}.adaLN_modulation.1": [6 * width, width],
        }
    arrays = {f"{name}.weight": shape for name, shape in layers.items()}
    arrays |= {f"{name}.bias": shape[:1] for name, shape in layers.items()}
    return {**arrays, "y_embedder.embedding_table.weight": [NUM_CLASSES + 1, width]}


def to_diffusers(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The map of diffusers' converter."""
    found = {}
    for part in ("weight", "bias"):
        found[f"pos_embed.proj.{part}"] = state[f"x_embedder.proj.{part}"]
        found[f"proj_out_1.{part}"] = state[f"final_layer.adaLN_modulation.1.{part}"]
        found[f"proj_out_2.{part}"] = state[f"final_layer.linear.{part}"]
        for number in range(DIT["depth"]):
            there, block = f"blocks.{number}", f"transformer_blocks.{number}"
            embedder = f"{block}.norm1.emb.timestep_embedder"
            found[f"{embedder}.linear_1.{part}"] = state[f"t_embedder.mlp.0.{part}"]
            found[f"{embedder}.linear_2.{part}"] = state[f"t_embedder.mlp.2.{part}"]
            table = state["y_embedder.embedding_table.weight"]
            found[f"{block}.norm1.emb.class_embedder.embedding_table.weight"] = table
            found[f"{block}.norm1.linear.{part}"] = state[f"{there}.adaLN_modulation.1.{part}"]
            for name, tensor in zip("qkv", state[f"{there}.attn.qkv.{part}"].chunk(3), strict=True):
                found[f"{block}.attn1.to_{name}.{part}"] = tensor
            found[f"{block}.attn1.to_out.0.{part}"] = state[f"{there}.attn.proj.{part}"]
            found[f"{block}.ff.net.0.proj.{part}"] = state[f"{there}.mlp.fc1.{part}"]
            found[f"{block}.ff.net.2.{part}"] = state[f"{there}.mlp.fc2.{part}"]
    return found


def dit() -> dict[str, object]:
    """Output of the DiT, and the positions of its authors' layout."""
    module = DiTTransformer2DModel(
        num_attention_heads=DIT["num_heads"],
        attention_head_dim=DIT["hidden_size"] // DIT["num_heads"],
        in_channels=DIT["in_channels"],
        out_channels=2 * DIT["in_channels"],
        num_layers=DIT["depth"],
        sample_size=DIT["input_size"],
        patch_size=DIT["patch_size"],
        num_embeds_ada_norm=NUM_CLASSES,
    ).eval()
    for block in module.transformer_blocks:
        # diffusers divides the exponents by 127; its authors, with whose weights it works, by 128.
        block.norm1.emb.time_proj = Timesteps(256, flip_sin_to_cos=True, downscale_freq_shift=0)
    weights = {name: torch.from_numpy(array) for name, array in example_weights(dit_shapes()).items()}
    missing, unexpected = module.load_state_dict(to_diffusers(weights), strict=False)
    assert not unexpected, unexpected
    assert set(missing) <= {"pos_embed.pos_embed"}, missing
    with torch.no_grad():
        output = module(
            to_tensor(example_inputs(DIT["input_size"], DIT["in_channels"])),
            timestep=torch.from_numpy(STEPS),
            class_labels=torch.from_numpy(CLASSES),
        ).sample
    return {
        "shapes": dit_shapes(),
        "diffusers_shapes": {name: list(tensor.shape) for name, tensor in to_diffusers(weights).items()},
        "positions": module.pos_embed.pos_embed.numpy().astype(float).ravel().round(6).tolist(),
        "output": output.permute(0, 2, 3, 1).numpy().astype(float).ravel().round(6).tolist(),
    }


def main() -> None:
    """Write the numbers."""
    golden = {"unet": unet(), "dit": dit()}
    GOLDEN.write_text(json.dumps(golden) + "\n")
    print(f"wrote {GOLDEN.stat().st_size} bytes to {GOLDEN}")


if __name__ == "__main__":
    main()
