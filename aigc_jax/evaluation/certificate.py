"""The reproducibility certificate of a run, ``certificate.json``: its first samples in short, and how they were drawn.

Drawn again, here or on another machine, they are equal bit for bit, or the certificate names the size of the difference
and all that was different: weights, settings, device, versions, precision.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import math
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from aigc_jax.data.arrays import evenly_spaced
from aigc_jax.data.files import read_json, read_text, visible, write_text
from aigc_jax.inference.sampling import check_seed, make_sample_fn
from aigc_jax.train.config import TrainConfig
from aigc_jax.train.data_record import read_record
from aigc_jax.train.initial import read_initial
from aigc_jax.train.run_dir import FREE_ON_RESUME
from aigc_jax.types import Experiment, UsageError, Variables

FILE = "certificate.json"
FORMAT = 1

MAX_SAMPLES = 4096
"""A certificate is of so many samples at most."""

MAX_VALUES = 2**14
"""Numbers of the samples, evenly spaced, that a certificate keeps to measure differences by."""

OTHER_BLOCK = 16
"""Samples at once in the check that no sample depends on how many are drawn with it."""

MAX_SHARE = 0.1
"""Of the distance between two samples: by less than this share rounding may change one."""

MAX_CAUSES = 20
"""Settings, and facts of the environment, that are named as causes."""

_DTYPES = ("float32", "float64", "float16", "bfloat16", "int32", "int8", "uint8", "bool")
_UNRELATED = (FREE_ON_RESUME - {"sampling"}) | {"data", "initial"}  # these by their digests
_PACKAGES = ("aigc-jax", "jax", "jaxlib", "flax", "numpy")


class Certificate(NamedTuple):
    """Content of ``certificate.json``."""

    step: int  # of the checkpoint
    weights: str  # SHA-256 of its weights
    seed: int
    settings: dict[str, Any]  # by their full name, those that could change a sample
    data: str  # checksum of the data that it was trained on; "" for unknown
    environment: dict[str, str]  # device, versions and precision
    shape: tuple[int, ...]  # of all samples together
    dtype: str  # of the model's output
    digests: tuple[str, ...]  # SHA-256 of the model's output, of each sample
    stored: tuple[str, ...]  # likewise of the sample as files hold it
    values: np.ndarray  # evenly spaced numbers of the model's output


class Match(NamedTuple):
    """How far the samples of two certificates are the same."""

    num: int  # number of samples compared
    num_equal: int  # bit for bit, as the model gives them
    num_stored_equal: int  # as files hold them
    largest: float | None  # difference of any of the kept numbers; None for samples of another shape
    share_changed: float | None  # of the kept numbers
    causes: list[str]  # everything that was different, most important first


def certify(
    run: Path,
    config: TrainConfig,
    experiment: Experiment,
    variables: Variables,
    samples: np.ndarray,
    *,
    step: int,
    seed: int,
) -> Certificate:
    """The certificate of the first samples of a run, as drawn on this machine."""
    record, initial, stored = read_record(run), read_initial(run), experiment.modality.store(samples)
    return Certificate(
        step=step,
        weights=weights_digest(variables),
        seed=seed,
        settings=_settings(config) | ({} if initial is None else {"initial": initial.sha256}),
        data="" if record is None else record.fingerprint.checksum,
        environment=environment(),
        shape=samples.shape,
        dtype=str(samples.dtype),
        digests=tuple(map(_digest, samples)),
        stored=tuple(map(_digest, stored)),
        values=_kept(samples),
    )


def environment() -> dict[str, str]:
    """All of this machine that rounding depends on."""
    device = jax.devices()[0]
    flags = [flag for flag in os.environ.get("XLA_FLAGS", "").split() if "/" not in flag]  # no paths of this machine
    names = ("jax_default_matmul_precision", "jax_enable_x64", "jax_disable_most_optimizations")
    precision = {name.removeprefix("jax_"): getattr(jax.config, name, None) for name in names}
    return {
        "device": device.device_kind,
        "processor": f"{platform.machine()} {_processor()}".strip(),
        "driver": str(device.client.platform_version).split("\n")[0],
        **{f"version of {package}": _version(package) for package in _PACKAGES},
        "precision": ", ".join(f"{name} {value}" for name, value in precision.items()),
        "XLA_FLAGS": " ".join(sorted(flags)),
    }


def compare(old: Certificate, new: Certificate) -> Match:
    """Compare the samples of a certificate with those drawn now; of both, as many as the shorter one has."""
    num = min(len(old.digests), len(new.digests))
    equal, stored = (
        sum(x == y for x, y in zip(a[:num], b[:num], strict=True))
        for a, b in ((old.digests, new.digests), (old.stored, new.stored))
    )
    difference = None
    if (old.shape, old.dtype) == (new.shape, new.dtype):
        difference = _difference(old.values, new.values)
    return Match(
        num,
        equal,
        stored,
        None if difference is None else float(difference.max(initial=0)),
        None if difference is None else float(np.mean(difference > 0)),
        _causes(old, new),
    )


class Redraw(NamedTuple):
    """The same samples drawn in another way, which changes them by rounding at most."""

    how: str
    num_equal: int  # bit for bit
    largest: float  # difference of any two numbers
    share: float  # the largest distance of a sample from itself, in units of that between two samples
    is_same: bool  # whether rounding explains all of it


def redraw(
    experiment: Experiment, variables: Variables, seed: int, ids: np.ndarray | None, samples: np.ndarray
) -> list[Redraw]:
    """Draw samples in blocks of another size, and on all devices: sample i depends on neither."""
    ways: dict[str, dict[str, int]] = {f"in blocks of {OTHER_BLOCK}": {"block_size": OTHER_BLOCK}}
    num_devices = math.gcd(jax.local_device_count(), 64)
    if num_devices > 1:
        ways[f"on {num_devices} devices"] = {"num_devices": num_devices}
    found = []
    for how, options in ways.items():
        other = make_sample_fn(experiment, variables, seed, **options)(0, ids, len(samples))
        own, between = (_distance(samples, each) for each in (other, np.roll(samples, 1, axis=0)))
        # Samples that are all alike are no measure.
        unit = max(float(np.median(between)), 1e-2 * float(np.max(np.abs(samples), initial=0))) or 1.0
        share = float(own.max()) / unit if own.max() > 0 else 0.0
        num_equal = sum(_digest(a) == _digest(b) for a, b in zip(samples, other, strict=True))
        largest = float(_difference(samples, other).max())
        found.append(Redraw(how, num_equal, largest, share, share <= MAX_SHARE))
    return found


def write_certificate(file: Path, certificate: Certificate) -> None:
    """Write a certificate, whole or not at all."""
    values = base64.b64encode(certificate.values.astype(certificate.values.dtype.newbyteorder("<")).tobytes())
    content = {"format": FORMAT, **certificate._asdict(), "values": values.decode()}
    write_text(file, json.dumps(content, indent=2) + "\n")


def read_certificate(file: Path) -> Certificate:
    """Read a certificate of unknown origin; UsageError where anything in it is not of its kind."""
    content = read_json(file, advice=_ADVICE)
    number = content.pop("format", None)
    if type(number) is not int or number < 1:
        raise UsageError(f"{visible(str(file))} is broken (no valid format): {_ADVICE}")
    if number > FORMAT:
        raise UsageError(
            f"{visible(str(file))} has format {number}, this library reads up to {FORMAT}: install a newer aigc-jax"
        )
    try:
        values = content.pop("values")
        certificate = Certificate(**content, values=np.zeros(0))
        shape = tuple(certificate.shape)
        _check(certificate, shape)
        kind = _kept_dtype(np.dtype(certificate.dtype)).newbyteorder("<")
        kept = np.frombuffer(base64.b64decode(values, validate=True), kind)
        if kept.size != min(math.prod(shape), MAX_VALUES):
            raise ValueError(f"{kept.size} values of samples of shape {shape}")
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise UsageError(f"{visible(str(file))} is broken ({visible(str(error))[:200]}): {_ADVICE}") from error
    return certificate._replace(
        shape=shape,
        settings={visible(name): value for name, value in certificate.settings.items()},
        environment={visible(name): visible(text) for name, text in certificate.environment.items()},
        digests=tuple(certificate.digests),
        stored=tuple(certificate.stored),
        values=kept.astype(kind.newbyteorder("=")),
    )


_ADVICE = "restore it from a copy, or remove it to certify the run anew"


def _check(certificate: Certificate, shape: tuple[Any, ...]) -> None:
    """Raise ValueError for values of the wrong type or range."""
    num = len(certificate.digests)
    checks = {
        "step": type(certificate.step) is int and 0 <= certificate.step < 10**18,
        "seed": type(certificate.seed) is int,
        "weights": is_digest(certificate.weights),
        "data": isinstance(certificate.data, str),
        "settings": isinstance(certificate.settings, dict),
        "environment": isinstance(certificate.environment, dict)
        and all(isinstance(text, str) for text in certificate.environment.values()),
        "digests": isinstance(certificate.digests, list) and all(map(is_digest, certificate.digests)),
        "stored": isinstance(certificate.stored, list) and all(map(is_digest, certificate.stored)),
        "number of samples": 0 < num <= MAX_SAMPLES and shape[:1] == (num,) and len(certificate.stored) == num,
        "dtype": certificate.dtype in _DTYPES,
        "shape": all(type(size) is int and 0 < size < 2**31 for size in shape),
    }
    if wrong := [name for name, is_right in checks.items() if not is_right]:
        raise ValueError(f"no valid {wrong[0]}")
    check_seed(certificate.seed)


def is_digest(text: Any) -> bool:
    """Whether a value of a file is a SHA-256 in hexadecimal digits."""
    return isinstance(text, str) and len(text) == 64 and set(text) <= set("0123456789abcdef")


def _causes(old: Certificate, new: Certificate) -> list[str]:
    """All that was different, as ``name: then -> now``, what changes samples most first."""
    causes = []
    if old.weights != new.weights:
        causes.append(f"the weights of step {new.step} are others than those that were certified")
    for before, now in ((old.settings, new.settings), (old.environment, new.environment)):
        # One that was added since has the value that it had without a name.
        changed = [name for name in before if before[name] != now.get(name, "unset")]
        for name in changed[:MAX_CAUSES]:
            then, here = (visible(str(each.get(name, "unset")))[:100] for each in (before, now))
            causes.append(f"{name[:100]}: {then or 'none'} -> {here or 'none'}")
        if len(changed) > MAX_CAUSES:
            causes.append(f"{len(changed) - MAX_CAUSES} more that differ")
    if old.data != new.data:
        causes.append("the record of the data (data.json) names others")
    return causes


def _settings(config: TrainConfig) -> dict[str, Any]:
    """The settings by their full name, as JSON has them, without those that no sample depends on."""
    values = json.loads(json.dumps(dataclasses.asdict(config)))
    leaves = jax.tree.leaves_with_path(values, is_leaf=lambda value: not isinstance(value, dict))
    flat = {jax.tree_util.keystr(path, simple=True, separator="."): value for path, value in leaves}
    return {name: value for name, value in flat.items() if name.partition(".")[0] not in _UNRELATED}


def weights_digest(variables: Variables) -> str:
    """The SHA-256 of all weights, with their names, types and shapes."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree.leaves_with_path(variables):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        digest.update(f"{name} {leaf.dtype} {leaf.shape}".encode())
        digest.update(np.ascontiguousarray(leaf).data.cast("B") if leaf.size else b"")
    return digest.hexdigest()


def _digest(sample: np.ndarray) -> str:
    content = np.ascontiguousarray(sample).tobytes()
    return hashlib.sha256(f"{sample.dtype} {sample.shape} ".encode() + content).hexdigest()


def _kept(samples: np.ndarray) -> np.ndarray:
    flat = samples.reshape(-1)
    return flat[evenly_spaced(flat.size, MAX_VALUES)].astype(_kept_dtype(samples.dtype))


def _kept_dtype(dtype: np.dtype) -> np.dtype:
    return np.dtype(np.int32 if dtype.kind in "iub" else np.float32)


def _difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Absolute differences; infinite where one alone is NaN."""
    a, b = (np.asarray(each, np.float64) for each in (a, b))
    with np.errstate(invalid="ignore"):
        difference = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
    return np.where(np.isnan(difference), np.inf, difference)


def _distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Distances of samples: root mean square of numbers, share of tokens that differ."""
    difference = _difference(a, b).reshape(len(a), -1)
    if np.issubdtype(a.dtype, np.floating):
        return np.sqrt(np.mean(np.square(difference), axis=1))
    return np.mean(difference > 0, axis=1)


def _processor() -> str:
    try:
        lines = read_text(Path("/proc/cpuinfo"), advice="").splitlines()
    except UsageError:  # not on Linux
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # run from a source tree
        return "unknown"
