"""Metrics as pure functions of arrays, each checked against an independent implementation or a closed form.

``from aigc_jax.metrics import frechet_distance, prdc`` takes features [N, d] of any encoder. Arrays of another kind,
shape or range are a ValueError in every metric. The modules hold the rest.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aigc_jax.metrics.frechet import frechet_distance, frechet_infinity
    from aigc_jax.metrics.kernel_distance import cmmd, kid
    from aigc_jax.metrics.knn_manifold import overlap, prdc, precision_recall
    from aigc_jax.metrics.neighbors import manifold
    from aigc_jax.metrics.ranking import roc_auc
    from aigc_jax.metrics.scores import inception_score
    from aigc_jax.metrics.similarity import ms_ssim, mse, psnr, ssim
    from aigc_jax.metrics.vendi import vendi_score

_MODULES = {
    "frechet": ("frechet_distance", "frechet_infinity"),
    "kernel_distance": ("cmmd", "kid"),
    "neighbors": ("manifold",),
    "knn_manifold": ("overlap", "prdc", "precision_recall"),
    "ranking": ("roc_auc",),
    "scores": ("inception_score",),
    "similarity": ("ms_ssim", "mse", "psnr", "ssim"),
    "vendi": ("vendi_score",),
}

__all__ = ["cmmd", "frechet_distance", "frechet_infinity", "inception_score", "kid", "manifold", "ms_ssim"]
__all__ += ["mse", "overlap", "prdc", "precision_recall", "psnr", "roc_auc", "ssim", "vendi_score"]


def __getattr__(name: str) -> Any:
    """Import a metric's module at its first use: scipy.stats alone takes half a second."""
    for module, names in _MODULES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
