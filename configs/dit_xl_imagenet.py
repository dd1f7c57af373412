"""DiT-XL/2 on latents of ImageNet at 256 x 256, class-conditional, for a TPU or several GPUs.

Command: an autoencoder first, aigc-jax train vae_mnist --data folder:DIR --image-shape 256 256 3 --num-classes 1000
--latent-shape 32 32 4 --widths 128 256 512 --workdir runs/vae_imagenet, then
aigc-jax train dit_xl_imagenet --data folder:DIR --autoencoder runs/vae_imagenet
DIR is ImageNet's own folder of training images, with its 1,000 class folders. Each step encodes its images; the latents
are not kept. Without ``--autoencoder`` there is nothing to train on, but the model of given latents compiles, samples
latents, and takes published weights: aigc-jax import dit_xl_imagenet --weights FILE.safetensors (docs/exchange.md).
Measured: not trained here. Its step is compiled ahead of time for TPUs (docs/performance.md), a shortened run is part
of the tests. Published: FID 9.62, with guidance 1.5 FID 2.27, after 7 million steps on latents of Stable Diffusion's
autoencoder, which this library does not have (Peebles and Xie 2023, table 2).

As published: width 1152, depth 28, 16 heads, patches of two by two latents, 675 million parameters; AdamW at 1e-4
without decay or rise, batch 256, an average of decay 0.9999; a chain of 1,000 steps with the linear schedule, whose
variances are learned (Nichol and Dhariwal 2021), one class in ten dropped. Theirs also mirrors half of the images; this
does not. Their samples with guidance 1.5 guide three of the four channels of a latent; here all are guided. On eight
chips of 16 GiB: --mesh.fsdp 8 --net.remat full.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field

import optax

from aigc_jax.algorithms.denoiser import Denoiser
from aigc_jax.algorithms.diffusion import diffusion
from aigc_jax.algorithms.latent_diffusion import latent_diffusion
from aigc_jax.data.latents import LATENT
from aigc_jax.nets.dit import DiTSettings, make_dit
from aigc_jax.processes.prediction import numbered_from_zero, predict
from aigc_jax.processes.tables import discrete_linear
from aigc_jax.samplers.sampling import make_sampler
from aigc_jax.samplers.settings import Sampling
from aigc_jax.train.config import ImageConfig
from aigc_jax.train.experiment import image_experiment
from aigc_jax.train.parallel import ParallelMode, axis_name
from aigc_jax.train.pretrained import load_autoencoder
from aigc_jax.tree import ema_warmup_schedule
from aigc_jax.types import Algorithm, Data, Experiment, UsageError


@dataclass(frozen=True)
class Config(ImageConfig):
    """Settings of dit_xl_imagenet."""

    autoencoder: str | None = None
    """Run directory of a trained vae_mnist with the same data, image shape and classes; None for a model of given
    latents, which compiles and has no data."""
    latent_shape: tuple[int, int, int] = (32, 32, 4)
    """Height, width and channels of the latents; those of the autoencoder."""
    latent_scale: float = 1.0
    """Multiplies the latents, so that their standard deviation is about 1."""
    steps: int = 7_000_000
    """Number of training steps."""
    batch_size: int = 256
    """Examples per update, over all devices."""
    parallel: ParallelMode = "jit"
    """How a step runs on several devices; all ways are equal up to rounding."""
    data: str = "folder:imagenet"
    """The data: digits, tfds:NAME, folder:DIR or world:NAME."""
    image_shape: tuple[int, int, int] = (256, 256, 3)
    """Height, width and channels of an image."""
    num_classes: int | None = 1000
    """Number of classes to condition on; None for an unconditional model."""
    learning_rate: float = 1e-4
    """AdamW's step size."""
    weight_decay: float = 0.0
    """AdamW's decay of the weights."""
    ema_decay: float = 0.9999
    """Decay of the weight average."""
    num_train_steps: int = 1000
    """Length of the chain that the variational bound speaks of."""
    condition_dropout: float = 0.1
    """Share of the examples trained without their class."""
    sample_every: int = 50_000
    """Steps between sample grids; 0 for none."""
    checkpoint_every: int = 5000
    """Steps between checkpoints; 0 for one at the end only."""
    net: DiTSettings = field(default_factory=lambda: DiTSettings(2, 1152, 28, head_width=72, dtype="bfloat16"))
    sampling: Sampling = field(default_factory=lambda: Sampling("ancestral", 250, guidance=1.5))


def build(config: Config) -> Experiment:
    """Compose the experiment."""
    if config.autoencoder is None:
        latents = ImageConfig(
            batch_size=config.batch_size,
            data="folder:latents",
            image_shape=config.latent_shape,
            num_classes=config.num_classes,
        )
        return image_experiment(latents, _of_latents(config), modality=LATENT)._replace(open_data=_no_data)
    module = importlib.import_module("aigc_jax.configs.vae_mnist")
    latent_shape, autoencoder, variables = load_autoencoder(config.autoencoder, module, config)
    if latent_shape != config.latent_shape:
        raise UsageError(
            f"the autoencoder {config.autoencoder} has latents of shape {latent_shape}, this experiment "
            f"{config.latent_shape}: pass --latent-shape {' '.join(map(str, latent_shape))}"
        )
    algorithm = latent_diffusion(_of_latents(config), autoencoder, variables, scale=config.latent_scale)
    return image_experiment(config, algorithm)


def _of_latents(config: Config) -> Algorithm:
    classes, process = config.num_classes or 0, discrete_linear(config.num_train_steps)
    # Behind the prediction of the noise, the place of each log variance between its two limits.
    net = make_dit(config.net, num_classes=classes, out_channels=2 * config.latent_shape[-1])
    parameterization = numbered_from_zero(predict(process, "epsilon"), config.num_train_steps)
    return diffusion(
        Denoiser(net, process, parameterization, config.latent_shape, classes, bounds=None, num_levels=None),
        tx=optax.adamw(config.learning_rate, weight_decay=config.weight_decay),
        sampler=make_sampler(process, config.sampling, num_classes=classes, is_bounded=False),
        objective="hybrid",
        num_train_steps=config.num_train_steps,
        condition_dropout=config.condition_dropout,
        ema_decay=ema_warmup_schedule(config.ema_decay),
        num_microbatches=config.num_microbatches,
        axis_name=axis_name(config.parallel),
    )


def _no_data() -> Data:
    raise UsageError(
        "dit_xl_imagenet trains on the latents of an autoencoder: pass --autoencoder RUN, a vae_mnist of the same "
        "--data, --image-shape and --num-classes"
    )
