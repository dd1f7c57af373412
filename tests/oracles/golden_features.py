"""Make the golden numbers of the metrics of feature sets: what published implementations say of the tests' examples.

Needs torch, torch-fidelity 0.4.0, prdc 0.2 and vendi-score 0.0.3 (``pip install --no-deps vendi-score``):

    python -m tests.oracles.golden_features
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch  # pyright: ignore[reportMissingImports]
from prdc import compute_prdc  # pyright: ignore[reportMissingImports]
from torch_fidelity.metric_fid import fid_statistics_to_metric  # pyright: ignore[reportMissingImports]
from torch_fidelity.metric_kid import kid_features_to_metric  # pyright: ignore[reportMissingImports]
from torch_fidelity.metric_prc import prc_features_to_metric  # pyright: ignore[reportMissingImports]
from vendi_score import vendi  # pyright: ignore[reportMissingImports]

from tests.metrics.feature_examples import discrete_features, example_features

GOLDEN = Path(__file__).parents[1] / "metrics" / "golden_features.json"


def main() -> None:
    """Write the numbers."""
    real, fake = example_features()
    golden: dict[str, object] = {f"prdc_{k}": _plain(compute_prdc(real, fake, k)) for k in (1, 3, 5)}
    for name, pair in (("continuous", (real, fake)), ("discrete", discrete_features())):
        for k in (1, 3, 5):
            golden[f"prc_{name}_{k}"] = _precision_recall(*pair, k)
    for name, features in (("tall", fake), ("wide", fake[:5])):
        golden[f"vendi_{name}"] = float(vendi.score_dual(features, normalize=True))
        directions = features / np.linalg.norm(features, axis=1, keepdims=True)
        golden[f"vendi_{name}_kernel"] = float(vendi.score_K(directions @ directions.T))
    num = len(fake)
    given = {"kid_subsets": 1, "kid_subset_size": num, "rng_seed": 0, "verbose": False}
    # One subset of everything: no draw of theirs to repeat.
    kid = kid_features_to_metric(torch.from_numpy(fake), torch.from_numpy(real[:num]), **given)
    golden["kid"] = kid["kernel_inception_distance_mean"]
    moments = [{"mu": x.mean(axis=0), "sigma": np.cov(x, rowvar=False)} for x in (real, fake)]
    golden["fid"] = fid_statistics_to_metric(*moments, verbose=False)["frechet_inception_distance"]
    GOLDEN.write_text(json.dumps(golden, indent=1) + "\n")


def _precision_recall(real: np.ndarray, fake: np.ndarray, k: int) -> dict[str, float]:
    given = {"prc_neighborhood": k, "prc_batch_size": 10_000, "save_cpu_ram": False, "verbose": False}
    return _plain(prc_features_to_metric(torch.from_numpy(fake), torch.from_numpy(real), **given))


def _plain(values: dict[str, float]) -> dict[str, float]:
    return {name: float(value) for name, value in values.items()}


if __name__ == "__main__":
    main()
