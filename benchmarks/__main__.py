"""How long a training step, sampling or an evaluation takes, alone or beside the same computation elsewhere.

    python -m benchmarks gan
    python -m benchmarks gan --against torch
    python -m benchmarks diffusion --against torch     the U-Net of flow_digits: training step and DDIM sampling
    python -m benchmarks metrics --against prdc        precision, recall, density and coverage of 10,000 examples

Times are medians over rounds. Against another library the rounds alternate, so that whatever else the machine
does meets both; trust the wall clock on a quiet machine only. On a busy one, pin both to one core
(taskset -c 0 python ...) and read the CPU time. PyTorch and prdc are needed by ``--against`` alone.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from aigc_jax.types import UsageError
from benchmarks import diffusion, gan, metrics


def main(argv: Sequence[str] | None = None) -> int:
    """Run one benchmark; returns the exit status."""
    args = _parser().parse_args(argv)
    try:
        runs = {"gan": gan.run, "diffusion": diffusion.run, "metrics": metrics.run}
        return runs[args.benchmark](args)
    except UsageError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="benchmark", required=True)
    for name, text in (("gan", "step time of gan_digits"), ("diffusion", "step and sampling time of flow_digits")):
        command = commands.add_parser(name, help=text)
        command.add_argument("--steps", type=_positive, default=16, help="training steps in a round (default 16)")
        command.add_argument("--rounds", type=_positive, default=9, help="rounds (default 9)")
        command.add_argument("--against", choices=["torch"], help="time the same in another library as well")
    command.add_argument("--num-images", type=_positive, default=64, help="images sampled at once (default 64)")
    command.add_argument("--sampling-steps", type=_positive, default=50, help="DDIM steps (default 50)")
    command = commands.add_parser("metrics", help="precision, recall, density and coverage")
    command.add_argument("--num-examples", type=_positive, default=10_000, help="examples of each set (default 10,000)")
    command.add_argument("--num-features", type=_positive, default=128, help="features of an example (default 128)")
    command.add_argument("--rounds", type=_positive, default=5, help="rounds (default 5)")
    command.add_argument("--against", choices=["prdc"], help="time the same in another library as well")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, got {number}")
    return number


if __name__ == "__main__":
    sys.exit(main())
