"""The command ``aigc-jax info``: versions, devices, experiments."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

import jax

from aigc_jax.cli.arguments import Info
from aigc_jax.configs import config_names


def info(arguments: Info) -> int:
    """Print versions, devices and the shipped experiments."""
    del arguments
    print(f"python {platform.python_version()} on {platform.platform()}")
    for package in ("aigc-jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "tensorflow-datasets"):
        try:
            print(f"{package} {version(package)}")
        except PackageNotFoundError:
            print(f"{package} (no metadata: run from a source tree)")
    print("devices:", ", ".join(f"{device.platform}:{device.id} {device.device_kind}" for device in jax.devices()))
    print("configs:", ", ".join(config_names()))
    return 0
