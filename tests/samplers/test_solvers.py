"""Contract of every solver with every process: distribution, one key per sample, counted evaluations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aigc_jax.samplers import ddim as ddim_module
from aigc_jax.samplers import grids
from aigc_jax.samplers.likelihood import Likelihood, make_log_likelihood
from aigc_jax.samplers.ode import heun
from aigc_jax.samplers.sampling import Sampling, make_plan, make_sampler
from aigc_jax.samplers.sde import predictor_corrector
from aigc_jax.samplers.settings import SamplerName, num_evaluations
from aigc_jax.samplers.solver import Interval, Solver, renoise
from tests.oracles import orders
from tests.oracles.mixture import Mixture

SAMPLERS = SamplerName.__args__
TWICE = ("heun", "predictor_corrector", "restart")  # one evaluation less in a step to no noise
PROCESSES = {name: process for name, process in orders.PROCESSES.items() if name != orders.ENDS}
FLOW = PROCESSES["rectified_flow"]


def sampling_of(name, num_steps, grid="uniform"):
    """Each sampler with its options on."""
    options = {"heun": {"churn": 2.0}, "ddim": {"eta": 0.5}, "restart": {"restart_interval": (0.2, 1.0)}}
    return Sampling(name, num_steps, grid, **options.get(name, {}))


def num_steps_of(sampler):
    """Few for methods of order 2."""
    return 30 if sampler in ("midpoint", "heun", "dpm_solver", "restart") else 300


def keys_of(num, seed=0):
    return jax.random.split(jax.random.key(seed), num)


def every_pair():
    # Not multistep: with an exact denoiser in place of a consistency model it is a sampler of no distribution.
    for sampler in [name for name in SAMPLERS if name != "multistep"]:
        for process in PROCESSES:
            marks = [] if process == "rectified_flow" else [pytest.mark.slow]
            yield pytest.param(sampler, process, marks=marks, id=f"{sampler}-{process}")


@pytest.mark.one_case
@pytest.mark.parametrize(("sampler", "process"), list(every_pair()))
def test_solvers_sample_the_mixture(sampler, process):
    """From pure noise to data: the mean distance between equal ranks of samples and mixture (Wasserstein-1)."""
    mixture, process = Mixture(), PROCESSES[process]
    grid = "uniform" if process is FLOW else "karras"
    num = num_steps_of(sampler)
    sample = make_sampler(process, sampling_of(sampler, num, grid))
    x = jax.jit(lambda keys: sample(mixture.denoiser(process), (1,), keys))(keys_of(1500))
    ranks = (np.arange(0, 1500, 10) + 5) / 1500
    distance = np.abs(np.quantile(np.asarray(x[:, 0]), ranks) - mixture.quantiles(ranks)).mean()
    assert distance < 0.06  # of which 0.02 are the draw of 1,500


@pytest.mark.one_case
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_solver_sample_depends_only_on_its_own_key(sampler):
    sample = make_sampler(FLOW, sampling_of(sampler, 6), is_consistency=sampler == "multistep")
    draw = jax.jit(lambda keys: sample(lambda x, t, condition: 0.5 * x, (2,), keys))
    once, again = draw(keys_of(5)), draw(keys_of(5, seed=1).at[0].set(keys_of(5)[3]))
    assert (once[3] == again[0]).all()
    assert len(np.unique(np.stack([once, again]))) == 2 * once.size - 2


@pytest.mark.one_case
@pytest.mark.parametrize(
    ("process", "sampler"),
    [("rectified_flow", name) for name in SAMPLERS] + [("variance_exploding", name) for name in TWICE],
)
def test_solvers_make_the_counted_evaluations(sampler, process):
    calls, process, sampling = [], PROCESSES[process], sampling_of(sampler, 7)

    def denoise(x, t, condition):
        jax.debug.callback(lambda t: calls.append(t), t)
        return 0.5 * x

    jax.block_until_ready(
        make_sampler(process, sampling, is_consistency=sampling.sampler == "multistep")(denoise, (1,), keys_of(1))
    )
    jax.effects_barrier()
    assert len(calls) == num_evaluations(sampling, process=process).num_denoise


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_solvers_compile_in_time_independent_of_steps(sampler):
    def traced(num_steps):
        traces, sample = [], make_sampler(FLOW, sampling_of(sampler, num_steps), is_consistency=sampler == "multistep")

        def denoise(x, t, condition):
            traces.append(t)
            return 0.5 * x

        jax.make_jaxpr(lambda keys: sample(denoise, (1,), keys))(keys_of(2))
        return len(traces)

    assert traced(5) == traced(50) <= 8


@pytest.mark.one_case
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_solvers_find_the_only_example(sampler):
    """Data at one point: the denoiser is a constant, and the sample that constant."""

    sample = make_sampler(
        PROCESSES["variance_preserving"], sampling_of(sampler, 4, "karras"), is_consistency=sampler == "multistep"
    )
    x = jax.jit(lambda keys: sample(lambda x, t, condition: jnp.full_like(x, 0.7), (2,), keys))(keys_of(3))
    np.testing.assert_allclose(x, 0.7, atol=1e-5)


@pytest.mark.parametrize("sampler", ["heun", "ancestral", "dpm_solver", "restart"])
def test_solvers_keep_a_float32_state_with_a_bfloat16_network(sampler):
    plan = make_plan(FLOW, sampling_of(sampler, 3), is_consistency=sampler == "multistep")
    assert isinstance(plan.solver, Solver)
    seen = []

    def denoise(x, t, condition):
        seen.append((t.shape, t.dtype, condition.shape))
        return (0.5 * x).astype(jnp.bfloat16)

    x = plan.solver(denoise, jnp.ones((2, 4, 4, 1)), plan.times, keys_of(2), jnp.zeros(2, jnp.int32))
    assert x.dtype == jnp.float32
    assert set(seen) == {((2,), jnp.dtype("float32"), (2,))}


def test_ddim_with_eta_one_is_the_ancestral_sampler():
    """Step by step the same slope, offset and variance of the noise."""
    process, data = PROCESSES["variance_preserving"], Mixture((1.0,), (0.7,), (0.5,))
    with jax.enable_x64(True):
        times = jnp.linspace(0.9, 0.1, 6)
        ours = orders.affine(ddim_module.ddim(process, eta=1.0), data, process, times)
        theirs = orders.affine(ddim_module.ancestral(process), data, process, times)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9)


def test_ancestral_variance_is_posterior_forward_or_learned():
    process, data = PROCESSES["variance_preserving"], Mixture((1.0,), (0.7,), (0.5,))
    with jax.enable_x64(True):
        times = jnp.array([0.6, 0.55])
        alpha, sigma = np.asarray(process.alpha(times)), np.asarray(process.sigma(times))
        variance = {}
        for name, choice in {
            "posterior": "posterior",
            "forward": "forward",
            "learned": lambda x, t, condition: jnp.full_like(x, 0.25),
        }.items():
            variance[name] = orders.affine(ddim_module.ancestral(process, variance=choice), data, process, times)[2][0]
    # beta = 1 - alpha_t^2 / alpha_s^2 where the variance is preserved; beta tilde = beta sigma_s^2 / sigma_t^2.
    beta = 1 - (alpha[0] / alpha[1]) ** 2
    np.testing.assert_allclose(variance["forward"], beta, rtol=1e-9)
    np.testing.assert_allclose(variance["posterior"], beta * (sigma[1] / sigma[0]) ** 2, rtol=1e-9)
    between = np.exp(0.25 * np.log(variance["forward"]) + 0.75 * np.log(variance["posterior"]))
    np.testing.assert_allclose(variance["learned"], between, rtol=1e-9)


def test_ancestral_draws_no_noise_in_a_step_to_no_noise():
    for variance in ("posterior", "forward", lambda x, t, condition: jnp.ones_like(x)):
        solve = ddim_module.ancestral(FLOW, variance=variance)
        out = solve(lambda x, t, condition: 0 * x + 2.0, jnp.ones((1, 1)), jnp.array([0.5, 0.0]), keys_of(1))
        assert out[0, 0] == 2.0


def test_renoise_undoes_a_step_in_distribution():
    """q(x_t | x_0) from q(x_s | x_0) for every process: the variances add up."""
    for process in PROCESSES.values():
        s, t = process.time_at(jnp.float32(0.4)), process.time_at(jnp.float32(0.5))
        interval = Interval(t, s, jnp.int32(0))
        of_x = renoise(process, jnp.ones((1, 1)), interval, jnp.zeros((1, 1)))[0, 0]
        of_noise = renoise(process, jnp.zeros((1, 1)), interval, jnp.ones((1, 1)))[0, 0]
        np.testing.assert_allclose(of_x * process.alpha(s), process.alpha(t), rtol=1e-6)
        np.testing.assert_allclose(jnp.hypot(of_x * process.sigma(s), of_noise), process.sigma(t), rtol=1e-6)


def test_heun_churn_is_limited_to_its_noise_levels_and_the_process():
    process, seen = PROCESSES["edm"], []

    def denoise(x, t, condition):
        jax.debug.callback(lambda t: seen.append(float(t[0])), t)
        return 0.5 * x

    times = jnp.array([80.0, 10.0, 1.0, 0.1, 0.0])
    solve = heun(process, churn=1e9, churn_min=0.5, churn_max=50.0)
    jax.block_until_ready(solve(denoise, jnp.ones((1, 1)), times, keys_of(1)))
    jax.effects_barrier()
    root = 2**0.5  # the largest gain of algorithm 2
    np.testing.assert_allclose(seen, [80, 10, 10 * root, 1, root, 0.1, 0.1], rtol=1e-6)


def test_predictor_corrector_error_vanishes_with_the_noise():
    """The corrector's bias, 2.6 % of the variance where noise prevails, vanishes with the noise."""
    process, data = PROCESSES["variance_preserving"], Mixture((1.0,), (0.7,), (0.5,))
    with jax.enable_x64(True):
        ratios = grids.karras_spread(jnp.float64(5), jnp.float64(0.002), jnp.linspace(0, 1, 1000))
        times = process.time_at(ratios)
        slopes, _, variances = orders.affine(predictor_corrector(process, snr=0.16), data, process, times)
        begin, end = (data.at(float(process.alpha(t)), float(process.sigma(t))) for t in (times[0], times[-1]))
    variance = begin.stds[0] ** 2
    for slope, fresh in zip(slopes, variances, strict=True):
        variance = slope**2 * variance + fresh
    assert abs(np.sqrt(variance) - end.stds[0]) < 1e-3


@pytest.mark.checked
def test_solvers_and_likelihoods_run_under_shard_map():
    """Under shard_map with its checks: every state begins as its device's own. The samples are those of one device."""
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    rows = jax.sharding.PartitionSpec("data")
    log_prob = make_log_likelihood(FLOW, Likelihood(num_steps=2, num_probes=0))

    def run(keys):
        denoise = Mixture().denoiser(FLOW)
        names = ("heun", "dpm_solver", "predictor_corrector", "restart")  # with a memory, or with branches
        samples = [make_sampler(FLOW, sampling_of(name, 2))(denoise, (2,), keys) for name in names]
        return jnp.stack(samples, axis=1), log_prob(denoise, samples[0], keys, None)

    spread = jax.jit(jax.shard_map(run, mesh=mesh, in_specs=rows, out_specs=rows))(keys_of(4))
    for ours, alone in zip(spread, jax.jit(run)(keys_of(4)), strict=True):
        np.testing.assert_allclose(ours, alone, atol=1e-5)
