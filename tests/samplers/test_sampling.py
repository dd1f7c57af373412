"""Sampler settings: resulting samplers, costs, and refusals before anything compiles."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aigc_jax.samplers.sampling import Sampling, check, make_plan, make_sampler
from aigc_jax.samplers.settings import num_evaluations
from aigc_jax.types import UsageError
from tests.oracles import orders

FLOW = orders.PROCESSES["rectified_flow"]


def with_name(field, name):
    """Settings as from a configuration file, which no type checker saw."""
    sampling = Sampling()
    object.__setattr__(sampling, field, name)
    return sampling


@pytest.mark.unchecked_types
@pytest.mark.parametrize(
    ("sampling", "num_classes", "word"),
    [
        (with_name("sampler", "plms"), 0, "plms"),
        (with_name("grid", "linear"), 0, "linear"),
        (with_name("threshold", "soft"), 0, "soft"),
        (with_name("variance", "large"), 0, "large"),
        (Sampling(num_steps=0), 0, "num_steps"),
        (Sampling(guidance=-1.0), 3, "guidance"),
        (Sampling(guidance=2.0), 0, "conditional"),
        (Sampling(guidance=2.0, guidance_rescale=2.0), 3, "rescaling"),
        (Sampling(guidance=2.0, guidance_interval=(2.0, 1.0)), 3, "interval"),
        (Sampling(guidance=1.0, guidance_interval=(2.0, 1.0)), 3, "interval"),
        (Sampling("ddim", eta=-0.5), 0, "eta"),
        (Sampling("ddim", eta=1.5), 0, "eta"),
        (Sampling("heun", churn=-1.0), 0, "churn"),
        (Sampling("predictor_corrector", snr=-1.0), 0, "snr"),
        (Sampling("restart", restart_interval=(1.0, 0.5)), 0, "restart"),
        (Sampling("restart", num_restarts=0), 0, "restart"),
        (Sampling(grid="karras", sigma_min=0.0), 0, "sigma_min"),
    ],
)
def test_make_sampler_refuses_impossible_settings_in_one_line(sampling, num_classes, word):
    if sampling.variance == "large":
        object.__setattr__(sampling, "sampler", "ancestral")
    with pytest.raises(UsageError, match=word) as error:
        check(sampling, num_classes)
    if sampling.variance != "large":  # the type checker of the tests is faster there
        assert isinstance(error.value, UsageError)
        assert "\n" not in str(error.value)


def test_sampling_ignores_settings_of_other_samplers():
    check(Sampling("euler", eta=-1.0, churn=-1.0))


def test_make_plan_applies_guidance_then_threshold():
    sampling = Sampling("euler", 1, guidance=3.0, threshold="static")

    def denoise(x, t, condition):
        return 0 * x + condition[:, None].astype(x.dtype)

    sample = make_sampler(FLOW, sampling, num_classes=4).guided(lambda d: lambda *inputs: d(*inputs) + 10.0)
    out = sample(denoise, (1,), jax.random.split(jax.random.key(0), 2), jnp.array([3, 0]))
    # Without a condition it is 4: 4 + 3 (3 - 4) = 1 and 4 + 3 (0 - 4) = -8, clipped to -1; then 10 more.
    np.testing.assert_allclose(out[:, 0], [11.0, 9.0], rtol=1e-6)


def test_make_plan_interval_is_in_noise_levels():
    plan = make_plan(FLOW, Sampling(guidance=3.0, guidance_interval=(0.5, 2.0)), num_classes=2)
    condition = jnp.zeros(3, jnp.int32)
    out = plan.guidance(lambda x, t, condition: x + condition[:, None].astype(x.dtype))(
        jnp.zeros((3, 1)), FLOW.time_at(jnp.array([0.4, 1.0, 3.0])), condition
    )
    np.testing.assert_allclose(out[:, 0], [0, -4, 0])


@pytest.mark.unchecked_types
def test_make_sampler_takes_a_traced_weight_within_an_interval():
    """As the sweep over guidance weights of a report does, with one program for all weights."""

    def denoise(x, t, condition):
        return 0.5 * x + condition[:, None].astype(x.dtype)

    def draw(guidance):
        sampling = Sampling("euler", 4, guidance=guidance, guidance_interval=(0.3, 5.0))
        sample = make_sampler(FLOW, sampling, num_classes=2)
        return sample(denoise, (1,), jax.random.split(jax.random.key(0), 2), jnp.array([0, 1]))

    traced = jax.jit(lambda weight: draw(lambda t: jnp.full_like(t, weight)))
    for weight in (1.0, 3.0):
        np.testing.assert_allclose(traced(jnp.float32(weight)), draw(weight), rtol=1e-6)


@pytest.mark.parametrize(
    ("sampling", "counts"),
    [
        (Sampling("ddim", 50), (50, 50)),
        (Sampling("midpoint", 10, guidance=2.0), (20, 40)),
        (Sampling("heun", 18), (35, 35)),
        (Sampling("heun", 18, guidance=0.0), (35, 35)),
        # Of Restart's tables: 2 * 18 - 1 and 2 ways of 3 Heun steps.
        (Sampling("restart", 18), (47, 47)),
    ],
)
def test_num_evaluations_counts_denoiser_and_network(sampling, counts):
    assert num_evaluations(sampling) == counts
    assert num_evaluations(sampling, True).num_network == 2 * counts[0]


def test_sampler_draws_the_first_noise_under_its_own_name():
    """Changing the solver does not change the noise that a sample begins with: one step returns what is denoised."""
    keys = jax.random.split(jax.random.key(0), 2)
    begin = [make_sampler(FLOW, Sampling(name, 1))(lambda x, t, _: x, (3,), keys) for name in ("euler", "ancestral")]
    np.testing.assert_allclose(begin[0], begin[1], atol=1e-6)
