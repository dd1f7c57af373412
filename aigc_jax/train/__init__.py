"""Loop, parallelism, checkpoints, logs and settings: the trainer knows the contracts, never an algorithm.

The package is also the function of that name: ``aigc_jax.train("gan_digits")`` is :func:`aigc_jax.api.train`. A package
and a function of one name in one module would hide each other, by the order of imports.
"""

import importlib
import sys
from types import ModuleType
from typing import Any


class _CallablePackage(ModuleType):
    def __call__(self, *args: Any, **options: Any) -> Any:
        """Train a shipped experiment, see :func:`aigc_jax.api.train`."""
        return importlib.import_module("aigc_jax.api").train(*args, **options)


sys.modules[__name__].__class__ = _CallablePackage
