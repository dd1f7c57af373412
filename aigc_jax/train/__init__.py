"""Loop, parallelism, checkpoints, logs and settings: the trainer knows the contracts, never an algorithm.

The package is also the function of that name, :func:`aigc_jax.api.train`:

    aigc_jax.train(config, *, workdir=None, **overrides) -> TrainedRun

``config`` is the name of a shipped config, the path of a .py file like it, or an instance of its ``Config``;
``workdir`` the run directory, ``runs/NAME`` by default; ``overrides`` are settings by name, those of a group as a
dictionary: ``generator={"width": 64}``. A package and a function of one name in one module would hide each other, by
the order of imports.
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
