"""Kills and stops of a training at random, and whether anything was lost.

    python -m benchmarks.soak --kills 50 --stops 50 --folder /tmp/soak

Each round starts ``flow_2d`` on several processes of this machine, and ends one of them: by SIGKILL at a random time
or, every second time, while a checkpoint is being written; or by SIGTERM. The next round goes on from what is left.
At the end an uninterrupted run of as many processes trains as long: its weights must be equal bit for bit.
"""

from __future__ import annotations

import argparse
import os
import random
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from aigc_jax.runs import load_run
from aigc_jax.train.run_dir import checkpoint_steps

SETTINGS = shlex.split("--batch-size 24 --widths 32 --log-every 20 --sample-every 0 --schedule-steps 1000000")
CHECKPOINT_EVERY = 20


class Round(NamedTuple):
    """What a round has shown."""

    kind: str  # kill, kill while saving, or stop
    status: int  # of the launch
    seconds: float  # from the signal to the end of all processes
    lost: int  # steps of complete checkpoints that are no longer there
    newest: int  # the newest checkpoint after it


def main(argv: Sequence[str] | None = None) -> int:
    """Run all rounds; 1 where something was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--stops", type=int, default=50)
    parser.add_argument("--num-processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="start no further round after this time")
    parser.add_argument("--folder", type=Path, required=True)
    args = parser.parse_args(argv)
    rng, begin = random.Random(args.seed), time.monotonic()
    kinds = ["kill" if i % 2 else "kill while saving" for i in range(args.kills)] + ["stop"] * args.stops
    rng.shuffle(kinds)
    rounds = []
    for kind in kinds:
        if time.monotonic() - begin > 60 * args.minutes:
            break
        rounds.append(_round(kind, args.folder / "interrupted", args.num_processes, rng))
        print(f"round {len(rounds)}/{len(kinds)}: {rounds[-1]}", flush=True)
    steps = (checkpoint_steps(args.folder / "interrupted") or [0])[-1] + CHECKPOINT_EVERY
    for name in ("interrupted", "whole"):
        with _launch(args.folder / name, args.num_processes, steps) as launcher:
            if launcher.wait():
                print(f"{name} ended with status {launcher.returncode}")
                return 1
    same = _equal(args.folder / "interrupted", args.folder / "whole")
    for kind in sorted(set(kinds)):
        of_kind = [each for each in rounds if each.kind == kind]
        slowest = max((each.seconds for each in of_kind), default=0.0)
        statuses = sorted({each.status for each in of_kind})
        print(f"{kind}: {len(of_kind)} rounds, statuses {statuses}, ended within {slowest:.1f} s")
    lost = sum(each.lost for each in rounds)
    print(f"{lost} checkpoints lost; after {steps} steps {'equal bit for bit' if same else 'NOT EQUAL'} to a whole run")
    return 0 if same and not lost else 1


def _round(kind: str, run: Path, num_processes: int, rng: random.Random) -> Round:
    start = (checkpoint_steps(run) or [0])[-1]
    with _launch(run, num_processes, 10**6) as launcher:
        # Once it has saved, all processes are under way.
        _wait(lambda: (checkpoint_steps(run) or [0])[-1] > start, launcher)
        time.sleep(rng.uniform(0, 2))
        if kind == "kill while saving":
            _wait(lambda: any("tmp" in path.name for path in (run / "checkpoints").iterdir()), launcher, pause=0.001)
        before = checkpoint_steps(run)[-1]
        number = signal.SIGTERM if kind == "stop" else signal.SIGKILL
        os.kill(_pid(run, rng.randrange(num_processes)), number)
        begin = time.monotonic()
        status = launcher.wait()
        newest = checkpoint_steps(run)[-1]
        return Round(kind, status, time.monotonic() - begin, int(newest < before), newest)


def _launch(run: Path, num_processes: int, steps: int) -> subprocess.Popen[bytes]:
    run.mkdir(parents=True, exist_ok=True)
    words = ["train", "flow_2d", "--workdir", str(run), "--steps", str(steps), *SETTINGS]
    words += ["--checkpoint-every", str(CHECKPOINT_EVERY)]
    command = [sys.executable, "-m", "aigc_jax", "launch", "local", "--num-processes", str(num_processes), "--", *words]
    with (run / "output.txt").open("ab") as output:
        return subprocess.Popen(command, stdout=output, stderr=output)


def _wait(found: Callable[[], bool], launcher: subprocess.Popen[bytes], pause: float = 0.1) -> None:
    while not found():
        if launcher.poll() is not None:
            raise SystemExit(f"the training ended by itself with status {launcher.returncode}: see output.txt")
        time.sleep(pause)


def _pid(run: Path, process_id: int) -> int:
    lines = (run / "logs" / f"process_{process_id}.txt").read_text().splitlines()
    return int(next(line for line in reversed(lines) if ", pid " in line).partition(", pid ")[2].split()[0])


def _equal(one: Path, other: Path) -> bool:
    first, second = (jax.tree.leaves(load_run(run)[2]) for run in (one, other))
    return all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in zip(first, second, strict=True))


if __name__ == "__main__":
    sys.exit(main())
