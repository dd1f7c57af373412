"""The shipped experiments, importable by name: ``aigc_jax.configs.gan_digits``.

A wheel carries the config files in this folder; a checkout keeps them at its top level, in ``configs/``.
"""

import pkgutil
from pathlib import Path

_root = Path(__file__).parents[2]
# In an installation the root is site-packages, where a folder called configs would be somebody else's.
if (_root / "pyproject.toml").is_file():
    __path__.append(str(_root / "configs"))


def config_names() -> list[str]:
    """The shipped experiments, by name."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))
