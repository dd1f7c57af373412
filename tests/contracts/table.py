"""The one table of all algorithms: how to build each, tiny, and its batches; one file per property tests it."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from aigc_jax.algorithms.attributes import attribute_reader
from aigc_jax.algorithms.autoregressive import TokenModel, autoregressive
from aigc_jax.algorithms.classifier import classifier
from aigc_jax.algorithms.consistency import consistency
from aigc_jax.algorithms.diffusion import diffusion
from aigc_jax.algorithms.discrete_diffusion import TokenDenoiser, discrete_diffusion
from aigc_jax.algorithms.flow_matching import flow_matching
from aigc_jax.algorithms.gan import GANNetworks, clip_weights, gan
from aigc_jax.algorithms.hvae import hvae
from aigc_jax.algorithms.iwae import iwae
from aigc_jax.algorithms.latent_diffusion import latent_diffusion
from aigc_jax.algorithms.preference import preference
from aigc_jax.algorithms.vae import vae
from aigc_jax.algorithms.vqvae import vqvae
from aigc_jax.data.images import IMAGE, grey_tokens
from aigc_jax.data.preferences import pair_modality
from aigc_jax.data.text import text_modality
from aigc_jax.data.tokenizer import make_tokenizer
from aigc_jax.losses import adversarial, regularizers
from aigc_jax.losses.augmentation import augmented, random_affine
from aigc_jax.losses.discriminator_augmentation import (
    Adaptive,
    adaptive_augmentation,
    differentiable_augmentation,
)
from aigc_jax.nets.adapters import LoraSettings, lora, with_head
from aigc_jax.nets.classifier import ConvClassifier
from aigc_jax.nets.conv import ConvDiscriminator, ConvGenerator
from aigc_jax.nets.decoder import DecoderSettings, make_decoder
from aigc_jax.nets.mlp import MLPDiscriminator, MLPGenerator
from aigc_jax.nets.resnet import ResNetDiscriminator, ResNetGenerator
from aigc_jax.nets.sequence import HEAD, DecoderClassifier
from aigc_jax.processes import discrete
from aigc_jax.samplers.decoding import Decoding
from aigc_jax.samplers.discrete import TokenSampling
from aigc_jax.types import Algorithm, Modality, Readings

from . import denoising_family, vae_family

SHAPE = (8, 8, 1)
NUM_CLASSES = 3


class Row(NamedTuple):
    """One way to build an algorithm.

    ``build`` takes the device axis and optimises with SGD: Adam would amplify the rounding noise between devices.
    """

    factory: Callable[..., Algorithm]
    build: Callable[[str | None], Algorithm]
    num_classes: int = 0
    batch_size: int = 8
    modality: Modality = IMAGE
    shape: tuple[int, ...] = SHAPE
    sample_shape: tuple[int, ...] = SHAPE


def pair(kind, axis=None, num_classes=0, *, norm="layer", minibatch_kernels=0, use_spectral_norm=False, **generator):
    """The two networks of a GAN of one kind, as small as they go."""
    head = {
        "num_classes": num_classes,
        "minibatch_kernels": minibatch_kernels,
        "use_spectral_norm": use_spectral_norm,
        "axis_name": axis,
    }
    shared = {"num_classes": num_classes, "axis_name": axis, **generator}
    if kind == "mlp":
        nets = MLPGenerator(SHAPE, (8, 8), norm=norm, **shared), MLPDiscriminator((8, 8), **head)
    elif kind == "conv":
        nets = (
            ConvGenerator(SHAPE, 8, norm=norm, **shared),
            ConvDiscriminator((4, 4), num_features=8, **head),
        )
    else:
        nets = ResNetGenerator(SHAPE, 4, **shared), ResNetDiscriminator(4, **head)
    return GANNetworks(*nets, latent_dim=4, num_classes=num_classes)


def make_gan(networks, objective, *, discriminator_tx=None, **options):
    """A GAN trained with SGD."""
    tx = optax.sgd(0.02)
    return gan(networks, objective, generator_tx=tx, discriminator_tx=discriminator_tx or tx, ema_decay=0.5, **options)


def minimax(axis):
    return make_gan(pair("mlp", axis, norm="batch"), adversarial.minimax(), axis_name=axis)


def non_saturating(axis):
    """Conditional, one-sided smoothing, batch statistics over all devices, lazy R1 (step 0 alone), DiffAugment."""
    networks = pair("conv", axis, NUM_CLASSES, norm="batch")
    regularizer = regularizers.r1(networks.logits, gamma=1.0, every=2)
    objective = adversarial.non_saturating(smoothing=0.1)
    augment = differentiable_augmentation
    return make_gan(networks, objective, regularizer=regularizer, augment=augment, axis_name=axis)


def least_squares(axis):
    networks = pair("mlp", axis, NUM_CLASSES)
    regularizer = regularizers.r2(networks.logits, networks.fakes, gamma=1.0)
    return make_gan(networks, adversarial.least_squares(), regularizer=regularizer, axis_name=axis)


def hinge(axis):
    networks = pair("resnet", axis, NUM_CLASSES, use_spectral_norm=True)
    return make_gan(networks, adversarial.hinge(), axis_name=axis)


def hinge_spectral(axis):
    networks = pair("mlp", axis, NUM_CLASSES, norm="batch", use_spectral_norm=True)
    change = functools.partial(adaptive_augmentation, kinds=("flip", "colour"))
    augment = Adaptive(change, target=-0.99, num_to_one=64)
    return make_gan(networks, adversarial.hinge(), augment=augment, num_microbatches=2, axis_name=axis)


def wasserstein_clipped(axis):
    tx = optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(0.02), clip_weights(0.1))
    return make_gan(pair("mlp", axis), adversarial.wasserstein(), discriminator_tx=tx, n_critic=2, axis_name=axis)


def wasserstein_penalised(axis):
    networks = pair("mlp", axis)
    regularizer = regularizers.gradient_penalty(networks.logits, networks.between)
    return make_gan(networks, adversarial.wasserstein(), regularizer=regularizer, axis_name=axis)


def relativistic_average(axis):
    """Every part that looks at the whole batch: the objective, minibatch discrimination, feature matching."""
    networks = pair("mlp", axis, minibatch_kernels=3)
    objective = adversarial.relativistic_average(axis_name=axis)
    return make_gan(networks, objective, feature_matching_weight=1.0, axis_name=axis)


def augmented_classifier(axis):
    net = ConvClassifier(NUM_CLASSES, (4,), 8)
    return classifier(net, optax.sgd(0.02), transform=augmented(random_affine), ema_decay=0.5, axis_name=axis)


def reader(axis):
    """Two attributes of the images, one of which is not read in all of them."""

    def read(images):
        mean = images.mean(axis=(1, 2, 3))
        sign = (mean > 0).astype(jnp.int32)
        return {"sign": sign, "size": jnp.where(jnp.abs(mean) < 0.01, -1, jnp.int32(2) - sign)}

    readings = Readings({"sign": ("-", "+"), "size": ("1", "2", "3")}, read)
    options = {"transform": augmented(random_affine), "augment": lambda images, keys: 0.9 * images, "ema_decay": 0.5}
    return attribute_reader(ConvClassifier(5, (4,), 8), readings, optax.sgd(0.02), axis_name=axis, **options)


class PixelNet(nn.Module):
    """A denoiser that sees each pixel by itself: compiles in no time, and its output does not begin at 0."""

    out_channels: int
    num_classes: int = 0

    @nn.compact
    def __call__(self, x, noise_label, condition, *, keys=None):
        condition = jnp.zeros(x.shape[0], jnp.int32) if condition is None else condition
        h = nn.Embed(self.num_classes + 1, 8)(condition) + nn.Dense(8)(noise_label[:, None])
        return nn.Dense(self.out_channels)(jnp.tanh(nn.Dense(8)(x) + h[:, None, None, :]))


def tokens(axis, process, num_classes=0, **options):
    """Grey levels of the images as tokens."""
    net = PixelNet(process.vocab_size, num_classes)
    denoiser = TokenDenoiser(net, process, SHAPE, num_classes)
    return discrete_diffusion(denoiser, tx=optax.sgd(2e-3), num_times=2, ema_decay=0.5, axis_name=axis, **options)


def discrete_absorbing(axis):
    sampling = TokenSampling(num_steps=3, guidance=2.0)
    return tokens(axis, discrete.absorbing(8), NUM_CLASSES, sampling=sampling, condition_dropout=0.5)


def discrete_uniform(axis):
    return tokens(axis, discrete.uniform(2, discrete.cosine), sampling=TokenSampling(num_steps=3), num_microbatches=2)


TOKENIZER = make_tokenizer("chars", ["abcd "])
WORDS = TOKENIZER.word_starts()


def text(axis):
    """With dropout, all processors and micro-batches."""
    settings = DecoderSettings(width=8, depth=2, head_width=4, num_kv_heads=1, dropout=0.1)
    model = TokenModel(make_decoder(settings, vocab_size=6, max_length=6), 6, 5, 5, TOKENIZER.num_bytes(), WORDS)
    sampling = Decoding(4, 0.8, top_k=5, top_p=0.95, min_p=0.01, typical=0.99, repetition=1.1, no_repeat_ngram=3)
    options = {"label_smoothing": 0.1, "z_weight": 1e-3, "ema_decay": 0.5, "num_microbatches": 2}
    return autoregressive(model, tx=optax.sgd(1.0), sampling=sampling, axis_name=axis, **options)


def labelled_text(axis):
    """With classes, guidance and the network's own tokens for them."""
    settings = DecoderSettings(width=8, depth=1, head_width=4)
    net = make_decoder(settings, vocab_size=6, max_length=6).clone(num_classes=NUM_CLASSES)
    options = {"sampling": Decoding(4, guidance=2.0), "condition_dropout": 0.5, "ema_decay": 0.5, "axis_name": axis}
    return autoregressive(TokenModel(net, 6, 5, 5, TOKENIZER.num_bytes(), WORDS), tx=optax.sgd(1.0), **options)


def text_lora(axis):
    """With an average, dropout and micro-batches."""
    settings = DecoderSettings(width=8, depth=2, head_width=4, dropout=0.1)
    model = TokenModel(make_decoder(settings, vocab_size=6, max_length=6), 6, 5, 5, TOKENIZER.num_bytes())
    adapter = lora(LoraSettings(rank=2, pattern="(kernel|embedding)$"))
    options = {"adapter": adapter, "ema_decay": 0.5, "num_microbatches": 2}
    return autoregressive(model, tx=optax.sgd(0.2), sampling=Decoding(4), axis_name=axis, **options)


def text_classifier_lora(axis):
    """A language model with a head, which is trained as a whole, and low-rank changes of the rest."""
    settings = DecoderSettings(width=8, depth=1, head_width=4, dropout=0.1)
    net = DecoderClassifier(make_decoder(settings, vocab_size=6, max_length=6), NUM_CLASSES)
    adapter = with_head(lora(LoraSettings(rank=2, alpha=2.0, pattern="(kernel|embedding)$")), HEAD)
    options = {"has_dropout": True, "adapter": adapter, "ema_decay": 0.5, "num_microbatches": 2}
    return classifier(net, optax.sgd(0.5), axis_name=axis, **options)


def text_preference(axis):
    settings = DecoderSettings(width=8, depth=1, head_width=4, dropout=0.1)
    model = TokenModel(make_decoder(settings, vocab_size=6, max_length=6), 6, 5, 5, TOKENIZER.num_bytes())
    options = {"sampling": Decoding(4), "ema_decay": 0.5, "num_microbatches": 2, "axis_name": axis}
    return preference(model, tx=optax.sgd(1.0), beta=0.5, **options)


ROWS = {
    "gan-non_saturating-conv-r1": Row(gan, non_saturating, NUM_CLASSES),
    "gan-hinge-spectral-microbatches": Row(gan, hinge_spectral, NUM_CLASSES),
    "gan-wasserstein-clipped-n_critic": Row(gan, wasserstein_clipped, batch_size=16),
    "gan-relativistic_average-minibatch": Row(gan, relativistic_average),
    "discrete-absorbing": Row(discrete_diffusion, discrete_absorbing, NUM_CLASSES, modality=grey_tokens(8)),
    "discrete-uniform-microbatches": Row(discrete_diffusion, discrete_uniform, modality=grey_tokens(2)),
    "autoregressive": Row(autoregressive, text, modality=text_modality(TOKENIZER), shape=(7,), sample_shape=(5,)),
    "autoregressive-classes-guidance": Row(
        autoregressive, labelled_text, NUM_CLASSES, modality=text_modality(TOKENIZER), shape=(7,), sample_shape=(5,)
    ),
    "autoregressive-lora": Row(
        autoregressive, text_lora, modality=text_modality(TOKENIZER), shape=(7,), sample_shape=(5,)
    ),
    "preference": Row(
        preference, text_preference, modality=pair_modality(TOKENIZER), shape=(2, 2, 6), sample_shape=(5,)
    ),
    "flow": Row(flow_matching, denoising_family.flow, NUM_CLASSES),
    "diffusion-simple-min_snr": Row(diffusion, denoising_family.ddpm_simple),
    "diffusion-elbo-v": Row(diffusion, denoising_family.ddpm_elbo),
    "diffusion-hybrid": Row(diffusion, denoising_family.ddpm_hybrid, NUM_CLASSES),
    "diffusion-vlb": Row(diffusion, denoising_family.ddpm_bound),
    "diffusion-edm": Row(diffusion, denoising_family.preconditioned, NUM_CLASSES),
    "consistency-training": Row(consistency, denoising_family.consistent),
    "consistency-distillation": Row(consistency, denoising_family.distilled, NUM_CLASSES),
    "latent_diffusion": Row(latent_diffusion, denoising_family.in_latents, NUM_CLASSES),
    "classifier": Row(classifier, augmented_classifier, NUM_CLASSES),
    "classifier-attributes": Row(attribute_reader, reader),
    "classifier-text-lora": Row(
        classifier, text_classifier_lora, NUM_CLASSES, modality=text_modality(TOKENIZER), shape=(7,)
    ),
    "vae-gaussian-mlp": Row(vae, vae_family.gaussian_mlp, NUM_CLASSES),
    "vae-logistic-conv-map": Row(vae, vae_family.logistic_conv),
    "iwae-vae": Row(iwae, vae_family.importance_weighted),
    "vqvae": Row(vqvae, vae_family.vector_quantised, NUM_CLASSES),
    "vqvae-logistic": Row(vqvae, vae_family.vector_quantised_logistic),
    "hvae": Row(hvae, vae_family.hierarchical, NUM_CLASSES),
}
VARIANTS = {
    "gan-minimax": Row(gan, minimax),
    "gan-least_squares-r2": Row(gan, least_squares, NUM_CLASSES),
    "gan-hinge-resnet": Row(gan, hinge, NUM_CLASSES),
    "gan-wasserstein-penalised": Row(gan, wasserstein_penalised),
}
"""Rows that are traced only: they are made of parts that have tests of their own, and of what other rows run."""


GENERATIVE = [name for name in ROWS if not name.startswith("classifier")]
"""Rows that draw samples: written down, so that nothing is built before the tests begin."""


def batch_at(row, t):
    """The batch of step t."""
    generator = np.random.default_rng(t)
    size = (row.batch_size, *row.shape)
    if row.modality.prompts is None:
        stored = row.modality.store(generator.uniform(-1, 1, size).astype(np.float32))
    else:
        stored = generator.integers(row.modality.num_levels, size=size)
    return {"example": jnp.asarray(row.modality.load(stored)), "condition": jnp.arange(row.batch_size) % NUM_CLASSES}


@functools.cache
def built(name):
    """The algorithm of a row on one device, built once for all properties."""
    return ROWS[name].build(None)


class Run(NamedTuple):
    """A method under plain jit with its first states; shared by all properties, so that each compiles once."""

    algorithm: Algorithm
    init: Callable
    step: Callable
    states: list
    metrics: list
    traces: list


@functools.cache
def plain_run(name):
    """Two steps of a row under plain jit on one device, the key of step t being fold_in(root, t)."""
    row, traces, algorithm = ROWS[name], [], built(name)

    def counted(state, batch, key):
        traces.append(1)
        return algorithm.step(state, batch, key)

    init, step = jax.jit(algorithm.init), jax.jit(counted)
    states, metrics = [init(jax.random.key(1), batch_at(row, 0))], []
    for t in range(2):
        state, report = step(states[-1], batch_at(row, t), jax.random.fold_in(jax.random.key(0), t))
        states.append(state)
        metrics.append(report)
    return Run(algorithm, init, step, states, metrics, traces)


def leaves(tree):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


def differ(tree, other, atol=0.0):
    """Whether any leaf of one tree differs from that of the other."""
    return any(np.any(abs(a - b) > atol) for a, b in zip(leaves(tree), leaves(other), strict=True))
