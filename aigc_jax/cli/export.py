"""The command ``aigc-jax export``: the weights of a run, or its sampler, in formats that other programs read."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import jax
import jax.export

from aigc_jax.algorithms.finetuning import ADAPTER
from aigc_jax.cli.arguments import Export
from aigc_jax.cli.common import load
from aigc_jax.data.files import visible, whole_file, write_text
from aigc_jax.evaluation.card import make_card
from aigc_jax.inference.export import export_sampler
from aigc_jax.train.run_dir import checkpoint_steps, read_run
from aigc_jax.train.weights import SUFFIX, write_weights
from aigc_jax.tree import named_arrays
from aigc_jax.types import UsageError

NAMES = {"safetensors": f"weights{SUFFIX}", "stablehlo": "sampler.stablehlo"}
"""Of the files of each format in the folder ``export`` of a run."""

MAX_NUM = 2**20


def export(arguments: Export) -> int:
    """Write weights and card, and for StableHLO the sampler too."""
    if not 1 <= arguments.num <= MAX_NUM:
        raise UsageError(f"expected 1 to {MAX_NUM} samples at once, got {arguments.num}: pass --num 64")
    out = arguments.out or arguments.run / "export" / NAMES[arguments.format]
    suffix = Path(NAMES[arguments.format]).suffix
    if out.suffix != suffix:
        raise UsageError(f"expected an --out that ends in {suffix}, got {visible(str(out))}: change it, or --format")
    steps = checkpoint_steps(arguments.run)
    if arguments.checkpoint == "latest" and steps:
        arguments = dataclasses.replace(arguments, checkpoint=str(steps[-1]))
    experiment, config, variables = load(arguments)
    merged, files = experiment.algorithm.merged, []
    if merged is None or arguments.format != "safetensors":  # an exported sampler merges by itself
        arrays = named_arrays(variables)
    else:
        arrays = named_arrays(merged(variables))
    card = make_card(read_run(arguments.run), experiment, config, checkpoint=arguments.checkpoint)
    exported = export_sampler(experiment, variables, arguments.num) if arguments.format == "stablehlo" else None
    weights = out.with_suffix(SUFFIX)
    metadata = {"format": "aigc_jax", "card": json.dumps(card)}
    write_weights(weights, arrays, metadata)
    if merged is not None:
        files = [weights.with_name(f"adapter{SUFFIX}")]
        write_weights(files[0], named_arrays({"params": {ADAPTER: variables["params"][ADAPTER]}}), metadata)
    if exported is not None:
        with whole_file(out) as file:
            file.write(exported.serialize())
        card["sampler"] = _description(exported, has_conditions=experiment.conditions is not None)
    files = list(dict.fromkeys([weights, out, *files]))
    card["sha256"] = {path.name: _sha256(path) for path in files}
    write_text(out.with_suffix(".json"), json.dumps(card, indent=2) + "\n")
    for path in [*files, out.with_suffix(".json")]:
        print(f"wrote {visible(str(path))}")
    if exported is not None:
        print(f"the sampler runs on {', '.join(exported.platforms)}; how to load it: docs/guide.md")
    return 0


def _description(exported: jax.export.Exported, *, has_conditions: bool) -> dict[str, Any]:
    """The arguments and the result of an exported sampler, and where it runs."""
    (samples,) = exported.out_avals
    condition = [f"condition: int32 [{samples.shape[0]}], each the number of one of class_names"]
    return {
        "inputs": [
            "weights: dictionary of the arrays of the .safetensors file",
            "seed: uint32 []",
            "start: int32 [], the number of the first sample",
            *(condition if has_conditions else []),
        ],
        "output": [str(samples.dtype), list(samples.shape)],
        "platforms": list(exported.platforms),
        "calling_convention_version": exported.calling_convention_version,
        "jax": jax.__version__,
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
