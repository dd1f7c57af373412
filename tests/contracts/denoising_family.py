"""The rows of methods that learn to denoise, tiny. :mod:`tests.contracts.table` lists them."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from aigc_jax.algorithms.consistency import Curriculum, consistency
from aigc_jax.algorithms.denoiser import Denoiser
from aigc_jax.algorithms.diffusion import diffusion
from aigc_jax.algorithms.flow_matching import flow_matching, rectified_flow_denoiser
from aigc_jax.algorithms.latent_diffusion import latent_diffusion
from aigc_jax.nets.dropout import Dropout
from aigc_jax.nets.unet import UNet
from aigc_jax.processes.boundary import with_boundary
from aigc_jax.processes.gaussian import cosine, edm, variance_preserving
from aigc_jax.processes.prediction import precondition, predict
from aigc_jax.processes.times import lognormal_times
from aigc_jax.processes.weights import elbo_weight, min_snr_weight
from aigc_jax.samplers.likelihood import Likelihood, make_log_likelihood
from aigc_jax.samplers.sampling import make_sampler
from aigc_jax.samplers.settings import Sampling
from aigc_jax.types import Algorithm, Autoencoder

SHAPE, NUM_CLASSES = (8, 8, 1), 3
SGD = optax.sgd(1e-2)


class Perceptron(nn.Module):
    """Two layers on pixels, noise label and class; its output is not zero at the beginning."""

    num_classes: int = 0
    num_outputs: int = 1

    @nn.compact
    def __call__(self, x, noise_label, condition, *, keys=None):
        inputs = [x.reshape(x.shape[0], -1), noise_label[:, None]]
        if self.num_classes:
            condition = jnp.full(x.shape[0], self.num_classes) if condition is None else condition
            inputs.append(jax.nn.one_hot(condition, self.num_classes + 1))
        h = Dropout(0.2)(nn.tanh(nn.Dense(16)(jnp.concatenate(inputs, axis=-1))), keys)
        shape = (*x.shape[:-1], x.shape[-1] * self.num_outputs)
        return nn.Dense(shape[1] * shape[2] * shape[3])(h).reshape(shape)


def sampler_of(process, name, num_classes=0, **options):
    is_consistency = name == "multistep"
    sampling = Sampling(name, num_steps=3, **options)
    return make_sampler(process, sampling, num_classes=num_classes, is_consistency=is_consistency)


def flow(axis):
    """Conditional, with dropout of everything, guided, micro-batches, exact likelihoods."""
    net = UNet(8, (1,), 1, (), dropout=0.2, num_classes=NUM_CLASSES, norm="rms", head_width=0)
    denoiser = rectified_flow_denoiser(net, SHAPE, num_classes=NUM_CLASSES)
    return flow_matching(
        denoiser,
        tx=optax.sgd(0.5),
        sampler=sampler_of(denoiser.process, "dpm_solver", NUM_CLASSES, guidance=2.0),
        log_likelihood=make_log_likelihood(denoiser.process, Likelihood(num_steps=2)),
        condition_dropout=0.5,
        ema_decay=0.5,
        num_microbatches=2,
        axis_name=axis,
    )


def ddpm(process, axis, num_classes=0, *, kind="epsilon", num_outputs=1, solver="ddim", **options):
    net = Perceptron(num_classes, num_outputs)
    return diffusion(
        Denoiser(net, process, predict(process, kind), SHAPE, num_classes),
        tx=SGD,
        sampler=make_sampler(process, Sampling(solver, 3), num_classes=num_classes),
        ema_decay=0.5,
        axis_name=axis,
        **options,
    )


def ddpm_simple(axis):
    process = variance_preserving()
    return ddpm(process, axis, weight=min_snr_weight(process, predict(process, "epsilon")))


def ddpm_elbo(axis):
    process = variance_preserving()
    return ddpm(process, axis, kind="v", weight=elbo_weight(process, predict(process, "v")))


def ddpm_hybrid(axis):
    options = {"objective": "hybrid", "num_train_steps": 10, "num_outputs": 2, "kind": "v"}
    return ddpm(cosine(), axis, NUM_CLASSES, solver="ancestral", **options)


def ddpm_bound(axis):
    options = {"objective": "vlb", "num_train_steps": 4, "num_outputs": 2}
    return ddpm(variance_preserving(), axis, solver="ancestral", **options)


def preconditioned(axis):
    process = edm()
    return diffusion(
        Denoiser(Perceptron(NUM_CLASSES), process, precondition(process), SHAPE, NUM_CLASSES),
        tx=SGD,
        sampler=make_sampler(process, Sampling("heun", 3, grid="karras"), num_classes=NUM_CLASSES),
        time_sampler=lognormal_times(),
        log_likelihood=make_log_likelihood(process, Likelihood(num_steps=2)),
        ema_decay=0.5,
        axis_name=axis,
    )


def consistent(axis, teacher=None, num_classes=0):
    process = edm()
    return consistency(
        Denoiser(Perceptron(num_classes), process, with_boundary(process), SHAPE, num_classes),
        Curriculum(8, 2, 4),
        tx=optax.chain(optax.clip_by_global_norm(1.0), SGD),
        sampler=sampler_of(process, "multistep", num_classes),
        teacher=teacher,
        ema_decay=0.5,
        axis_name=axis,
    )


def distilled(axis):
    return consistent(axis, lambda x, t, condition: x / (1.0 + t[:, None, None, None] ** 2), NUM_CLASSES)


def in_latents(axis):
    """Latents are the sums and differences of two rows of pixels."""

    def encode(variables, batch, key):
        image = batch["example"]
        return jnp.concatenate([image[:, ::2] + image[:, 1::2], image[:, ::2] - image[:, 1::2]], -1) @ variables["turn"]

    def decode(variables, latents, condition):
        total, difference = jnp.split(latents @ variables["turn"].T, 2, axis=-1)
        image = 0.5 * jnp.stack([total + difference, total - difference], axis=2)
        return jnp.clip(image.reshape(-1, *SHAPE), -1.0, 1.0)

    def unused(*_):
        raise AssertionError("an autoencoder is neither trained nor sampled")

    autoencoder = Algorithm(unused, unused, autoencoder=Autoencoder(encode, decode))
    denoiser = rectified_flow_denoiser(
        Perceptron(NUM_CLASSES), (4, 8, 2), num_classes=NUM_CLASSES, bounds=None, num_levels=None
    )
    sampler = sampler_of(denoiser.process, "euler", NUM_CLASSES)
    inner = flow_matching(denoiser, tx=SGD, sampler=sampler, ema_decay=0.5, axis_name=axis)
    turn = jnp.array([[0.6, -0.8], [0.8, 0.6]])
    return latent_diffusion(inner, autoencoder, {"turn": turn}, scale=0.5)
