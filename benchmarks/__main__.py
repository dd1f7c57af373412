"""Time of training steps, sampling and evaluation, alone or compared with the same computation in another library.

    python -m benchmarks gan --against torch           training step of gan_digits
    python -m benchmarks diffusion --against torch     the U-Net of flow_digits: training step and DDIM sampling
    python -m benchmarks dit --against torch           training step of DiT-B/2; PyTorch eager and compiled
    python -m benchmarks unet --against torch          training step of DDPM's U-Net, likewise
    python -m benchmarks text --against torch          gpt_shakespeare: training step, and sampling with a cache
    python -m benchmarks rules                         sampling of text under a rule, by the size of the vocabulary
    python -m benchmarks depth                         a transformer by its depth: compilation, blocks scanned or not
    python -m benchmarks memory                        a state on each of 8 devices, by the fsdp axis of the mesh
    python -m benchmarks metrics --against prdc        precision, recall, density and coverage of 10,000 examples
    python -m benchmarks guarantee                     calibrated filters: how often their guarantee is broken

Times are medians over rounds. Against another library the rounds alternate, so that whatever else the machine
does meets both; trust the wall clock on a quiet machine only. On a busy one, pin both to one core
(taskset -c 0 python ...) and read the CPU time. PyTorch and prdc are needed by ``--against`` alone. Both libraries
compute on the same device; where they cannot, that is an error.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

# Before jax opens a GPU: its memory is shared with the other library.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

from aigc_jax.types import UsageError
from benchmarks import denoisers, depth, diffusion, gan, guarantee, memory, metrics, rules, text
from benchmarks.common import positive


def main(argv: Sequence[str] | None = None) -> int:
    """Run one benchmark; returns the exit status."""
    args = _parser().parse_args(argv)
    try:
        return args.run(args)
    except UsageError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="benchmark", required=True)
    texts = {
        "gan": ("step time of gan_digits", gan.run),
        "diffusion": ("step and sampling time of flow_digits", diffusion.run),
        "dit": ("step time of a diffusion transformer", denoisers.run),
        "unet": ("step time of DDPM's U-Net", denoisers.run),
        "text": ("step and sampling time of gpt_shakespeare", text.run),
    }
    for name, (title, run) in texts.items():
        command = commands.add_parser(name, help=title)
        command.set_defaults(run=run)
        command.add_argument("--steps", type=positive, default=16, help="training steps in a round (default 16)")
        command.add_argument("--rounds", type=positive, default=9, help="rounds (default 9)")
        command.add_argument("--against", choices=["torch"], help="time the same in another library as well")
        if name == "diffusion":
            command.add_argument("--num-images", type=positive, default=64, help="images sampled at once (default 64)")
            command.add_argument("--sampling-steps", type=positive, default=50, help="DDIM steps (default 50)")
        if name == "text":
            command.add_argument("--length", type=positive, default=64, help="tokens of a text (default 64)")
            command.add_argument("--num-texts", type=positive, default=64, help="texts drawn at once (default 64)")
        if name in denoisers.SIZES:
            sizes = [*denoisers.SIZES[name]]
            command.add_argument("--size", choices=sizes, default=sizes[0], help=f"default {sizes[0]}; tiny for a try")
            command.add_argument("--dtype", choices=["bfloat16", "float32"], default="bfloat16", help="of the products")
            command.add_argument("--batch-size", type=positive, default=None, help="default: the size's own")
            command.add_argument("--eager", action="store_true", help="leave out torch.compile, which takes minutes")
    command = commands.add_parser("depth", help="compilation and step time of a transformer by its depth")
    command.set_defaults(run=depth.run)
    command.add_argument("--depths", type=positive, nargs="+", default=[4, 28], help="numbers of blocks (default 4 28)")
    command.add_argument("--width", type=positive, default=128, help="channels of a token (default 128)")
    command.add_argument("--batch-size", type=positive, default=64, help="examples of a step (default 64)")
    command.add_argument("--steps", type=positive, default=2, help="training steps in a round (default 2)")
    command.add_argument("--rounds", type=positive, default=6, help="rounds (default 6)")
    command = commands.add_parser("rules", help="sampling of text under a rule and without")
    command.set_defaults(run=rules.run)
    command.add_argument("--width", type=positive, default=384, help="channels of a token (default 384)")
    command.add_argument(
        "--vocab-sizes", type=positive, nargs="+", default=[257, 2048, 50257], help="default 257 2048 50257"
    )
    command.add_argument("--num-texts", type=positive, default=16, help="texts drawn at once (default 16)")
    command.add_argument("--steps", type=positive, default=32, help="tokens of a text (default 32)")
    command.add_argument("--rounds", type=positive, default=5, help="rounds (default 5)")
    command = commands.add_parser("memory", help="memory of a state on each device of a mesh")
    command.set_defaults(run=memory.run)
    shown = ["gan_digits", "vae_digits", "ddpm_mnist", "dit_mnist"]
    command.add_argument("--configs", nargs="+", default=shown, help=f"experiments (default {' '.join(shown)})")
    command.add_argument("--devices", type=positive, default=8, help="devices to fake (default 8)")
    command = commands.add_parser("metrics", help="precision, recall, density and coverage")
    command.set_defaults(run=metrics.run)
    command.add_argument("--num-examples", type=positive, default=10_000, help="examples of each set (default 10,000)")
    command.add_argument("--num-features", type=positive, default=128, help="features of an example (default 128)")
    command.add_argument("--rounds", type=positive, default=5, help="rounds (default 5)")
    command.add_argument("--against", choices=["prdc"], help="time the same in another library as well")
    guarantee.register(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
