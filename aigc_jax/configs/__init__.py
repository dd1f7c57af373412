"""The shipped experiments, importable by name: ``aigc_jax.configs.gan_digits``.

A wheel carries the config files in this folder; a checkout keeps them at its top level, in ``configs/``.
"""

from pathlib import Path

_checkout = Path(__file__).parents[2] / "configs"
if _checkout.is_dir():
    __path__.append(str(_checkout))
