"""Make the golden numbers of tests/metrics: what published implementations say of arrays that the tests build again.

Needs torch, torch-fidelity 0.4.0 and pytorch-msssim 1.0.0 (``pip install --no-deps pytorch-msssim``):

    python -m tests.oracles.golden_metrics
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytorch_msssim  # pyright: ignore[reportMissingImports]
import torch  # pyright: ignore[reportMissingImports]
from torch_fidelity.metric_isc import isc_features_to_metric  # pyright: ignore[reportMissingImports]

from tests.metrics.examples import example_images, example_logits

GOLDEN = Path(__file__).parents[1] / "metrics" / "golden.json"


def main() -> None:
    """Write the numbers."""
    logits = torch.from_numpy(example_logits())
    golden: dict[str, object] = {
        f"inception_score_{splits}": list(isc_features_to_metric(logits, splits=splits, shuffle=False).values())
        for splits in (1, 7, 10)
    }
    for height, width in ((176, 192), (256, 256)):
        a, b = (torch.from_numpy(x.transpose(0, 3, 1, 2).astype(np.float64)) for x in example_images(height, width))
        given = {"data_range": 1.0, "size_average": False}
        golden[f"ssim_{height}"] = pytorch_msssim.ssim(a, b, **given).tolist()
        golden[f"ms_ssim_{height}"] = pytorch_msssim.ms_ssim(a, b, **given).tolist()
    GOLDEN.write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
