"""The VAE family's rows, tiny: what each is built of. :mod:`tests.contracts.table` lists them."""

import optax

from aigc_jax.algorithms import hvae as ladder_vae
from aigc_jax.algorithms import vqvae as quantised
from aigc_jax.algorithms.autoencoder import Model
from aigc_jax.algorithms.iwae import iwae
from aigc_jax.algorithms.vae import vae
from aigc_jax.losses.bounds import kl_warmup
from aigc_jax.losses.likelihoods import bernoulli, discretized_logistic, gaussian
from aigc_jax.nets.ladder import Ladder
from aigc_jax.nets.vae import ConvDecoder, ConvEncoder, MLPDecoder, MLPEncoder

SHAPE, NUM_CLASSES, WIDTHS = (8, 8, 1), 3, (4, 4)
SGD = optax.sgd(1e-3)


def mlp_model(likelihood, num_classes=0, **options):
    decoder = MLPDecoder(SHAPE, (8, 8), likelihood.num_outputs, num_classes)
    return Model(MLPEncoder((3,), (8, 8), num_classes=num_classes), decoder, (3,), likelihood, num_classes, **options)


def gaussian_mlp(axis):
    """Conditional, learned variance, warm-up, samples with the likelihood's noise."""
    model = mlp_model(gaussian(), NUM_CLASSES, is_pixel_sampled=True)
    return vae(model, SGD, beta=kl_warmup(0.5, 3), ema_decay=0.5, axis_name=axis)


def logistic_conv(axis):
    """A map of latents, free bits, micro-batches."""
    likelihood = discretized_logistic()
    decoder = ConvDecoder(SHAPE, WIDTHS, num_outputs=likelihood.num_outputs)
    model = Model(
        ConvEncoder((2, 2, 2), WIDTHS), decoder, (2, 2, 2), likelihood, num_importance_samples=3, chunk_size=2
    )
    return vae(model, SGD, minimum_kl=0.1, ema_decay=0.5, num_microbatches=2, axis_name=axis)


def importance_weighted(axis):
    model = mlp_model(bernoulli(), is_binarized=True, num_importance_samples=4)
    return iwae(model, SGD, num_importance_samples=5, ema_decay=0.5, axis_name=axis)


def vector_quantised(axis):
    """Conditional; every code is drawn anew at step 0, the rarely used ones at step 1."""
    encoder = ConvEncoder((2, 2, 3), WIDTHS, num_outputs=1, num_classes=NUM_CLASSES)
    decoder = ConvDecoder(SHAPE, WIDTHS, num_outputs=1, num_classes=NUM_CLASSES)
    model = quantised.Model(encoder, decoder, (2, 2, 3), gaussian(0.5), 8, NUM_CLASSES)
    return quantised.vqvae(model, SGD, restart_below=0.7, codebook_decay=0.5, ema_decay=0.5, axis_name=axis)


def vector_quantised_logistic(axis):
    """Unconditional, discrete pixels, micro-batches."""
    encoder = ConvEncoder((2, 2, 3), WIDTHS, num_outputs=1)
    likelihood = discretized_logistic()
    decoder = ConvDecoder(SHAPE, WIDTHS, num_outputs=likelihood.num_outputs)
    model = quantised.Model(encoder, decoder, (2, 2, 3), likelihood, 8)
    return quantised.vqvae(model, SGD, ema_decay=0.5, num_microbatches=2, axis_name=axis)


def hierarchical(axis):
    """Three levels, conditional."""
    ladder = Ladder(SHAPE, WIDTHS, (1, 2, 3), num_classes=NUM_CLASSES)
    model = ladder_vae.Model(ladder, bernoulli(), is_binarized=True, num_importance_samples=3)
    return ladder_vae.hvae(model, SGD, beta=kl_warmup(1.0, 3), minimum_kl=0.1, ema_decay=0.5, axis_name=axis)
