"""The command ``aigc-jax verify``: whether the samples of a run are the same here as where they were certified."""

from __future__ import annotations

import dataclasses
import os
import sys

import numpy as np

from aigc_jax.cli.arguments import Verify
from aigc_jax.cli.common import ids_of, load
from aigc_jax.data.files import visible
from aigc_jax.evaluation.certificate import (
    FILE,
    MAX_SAMPLES,
    Certificate,
    Match,
    Redraw,
    certify,
    compare,
    read_certificate,
    redraw,
    write_certificate,
)
from aigc_jax.inference.sampling import check_seed, make_sample_fn
from aigc_jax.train.run_dir import checkpoint_steps, read_run
from aigc_jax.types import UsageError


def verify(arguments: Verify) -> int:
    """Draw the certified samples of a run again and compare them; without a certificate, write one."""
    if not 1 <= arguments.num <= MAX_SAMPLES:
        raise UsageError(f"expected 1 to {MAX_SAMPLES} samples, got {arguments.num}: pass --num 64")
    check_seed(arguments.seed)
    file = arguments.certificate or arguments.run / FILE
    is_new = not os.path.lexists(file)
    known = None if is_new else read_certificate(file)
    seed = arguments.seed if known is None else known.seed
    num = arguments.num if known is None else len(known.digests)
    step = _step(arguments, known)
    experiment, config, variables = load(dataclasses.replace(arguments, checkpoint=str(step)))
    ids, draw = ids_of(experiment, None, num), make_sample_fn(experiment, variables, seed)
    print(f"drawing {num} samples, three times or more", file=sys.stderr, flush=True)
    samples = draw(0, ids, num)
    now = certify(arguments.run, config, experiment, variables, samples, step=step, seed=seed)
    is_repeatable = np.array_equal(samples.view(np.uint8), draw(0, ids, num).view(np.uint8))
    print(f"samples 0 to {num - 1} of {visible(str(arguments.run))}, step {step}, seed {seed}")
    if known is None:
        write_certificate(file, now)
        print(f"there was no certificate: wrote {visible(str(file))}; the next verify compares with it")
        is_equal = True
    else:
        compared = compare(known, now)
        is_equal = compared.num_equal == compared.num
        print("\n".join(_verdict(compared, is_repeatable=is_repeatable)))
    if not is_repeatable:
        print(f"two draws on this machine differ: {_DETERMINISTIC}")
    redrawn = redraw(experiment, variables, seed, ids, samples)
    print("\n".join(_line(each, num) for each in redrawn))
    return 0 if is_equal and is_repeatable and all(each.is_same for each in redrawn) else 1


_DETERMINISTIC = "on a GPU, set XLA_FLAGS=--xla_gpu_deterministic_ops=true"


def _step(arguments: Verify, known: Certificate | None) -> int:
    """The step to draw from: the certified one, else the one that is named, else the newest."""
    read_run(arguments.run)
    steps, run = checkpoint_steps(arguments.run), visible(str(arguments.run))
    if not steps:
        raise UsageError(f"{run} has no checkpoint yet: train it until the first one is saved")
    named = arguments.checkpoint
    if named != "latest" and not (named.isascii() and named.isdigit() and len(named) < 19):
        raise UsageError(f"expected --checkpoint latest or a step, got {named!r}: a certificate is of one step")
    if known is None:
        step = steps[-1] if named == "latest" else int(named)
        advice = f"use one of {', '.join(map(str, steps))}"
    else:
        step = known.step
        advice = "restore that checkpoint, or remove the certificate to certify the newest one"
        if named not in ("latest", str(step)):
            raise UsageError(
                f"the certificate is of step {step}, got --checkpoint {named}: name another --certificate to write"
            )
    if step not in steps:
        raise UsageError(f"{run} has no checkpoint at step {step}: {advice}")
    return step


def _verdict(compared: Match, *, is_repeatable: bool) -> list[str]:
    """The comparison with the certificate, in lines."""
    if compared.num_equal == compared.num:
        lines = [f"EQUAL: {compared.num} of {compared.num} are those of the certificate, bit for bit"]
        return lines + [f"  although {cause}" for cause in compared.causes]
    lines = [
        f"DIFFERENT: {compared.num_equal} of {compared.num} are those of the certificate bit for bit, "
        f"{compared.num_stored_equal} as files hold them"
    ]
    if compared.largest is None or compared.share_changed is None:
        lines.append("  samples of another shape or type")
    else:
        lines.append(f"  by {compared.largest:.3g} at most; {100 * compared.share_changed:.3g} % of the numbers differ")
    lines += [f"  because of {cause}" for cause in compared.causes]
    if not compared.causes and is_repeatable:
        lines.append("  nothing that was recorded differs: the certificate was drawn in another way, or changed")
    return lines


def _line(redrawn: Redraw, num: int) -> str:
    if redrawn.num_equal == num:
        return f"drawn {redrawn.how}: equal bit for bit"
    verdict = "equal up to rounding" if redrawn.is_same else "DIFFERENT SAMPLES"
    return (
        f"drawn {redrawn.how}: {verdict} ({redrawn.num_equal} of {num} bit for bit; by {redrawn.largest:.3g} at most, "
        f"{100 * redrawn.share:.2g} % of the distance between two samples)"
    )
