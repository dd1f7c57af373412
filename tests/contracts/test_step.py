"""A step keeps the structure of the state, reports finite scalars, moves every player, and compiles once."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aigc_jax.types import Algorithm, SampleFn, StepFn, UsageError

from .table import ROWS, VARIANTS, batch_at, built, differ, leaves, plain_run


def parameters(function):
    return tuple(inspect.signature(function).parameters)


@pytest.mark.parametrize("name", ROWS)
def test_algorithm_functions_have_the_contracts_arguments(name):
    algorithm = built(name)
    assert isinstance(algorithm, Algorithm)
    assert parameters(algorithm.init) == ("key", "batch")
    assert parameters(algorithm.step) == parameters(StepFn.__call__)[1:]
    if algorithm.sample is not None:
        assert parameters(algorithm.sample) == parameters(SampleFn.__call__)[1:]
    if algorithm.evaluate is not None:
        assert parameters(algorithm.evaluate) == ("variables", "batch", "key")


@pytest.mark.one_case
@pytest.mark.parametrize("row", VARIANTS.values(), ids=list(VARIANTS))
def test_step_of_every_variant_traces(row):
    algorithm, batch, key = row.build(None), batch_at(row, 0), jax.random.key(0)
    state = jax.eval_shape(algorithm.init, key, batch)
    after, metrics = jax.eval_shape(algorithm.step, state, batch, key)
    assert after == state
    assert all(value.shape == () for value in metrics.values())
    condition = batch["condition"] if row.num_classes else None
    samples = jax.eval_shape(
        lambda variables, key: algorithm.sample(variables, key, 8, condition), state.variables, key
    )
    assert samples.shape == (8, *row.sample_shape)


@pytest.mark.parametrize("name", ROWS)
def test_step_keeps_the_structure_of_the_state(name):
    first, *later = plain_run(name).states
    assert set() < set(first.opt_state) <= set(first.params)
    assert set(first.model_state) <= set(first.params)
    assert set(first.ema_params) <= set(first.params)
    for state in later:
        assert jax.tree.structure(state) == jax.tree.structure(first)
        for before, after in zip(jax.tree.leaves(first), jax.tree.leaves(state), strict=True):
            assert (after.shape, after.dtype, after.weak_type) == (before.shape, before.dtype, before.weak_type)
    assert [int(state.step) for state in (first, *later)] == [0, 1, 2]
    keys = [leaf for leaf in jax.tree.leaves(first) if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)]
    assert keys == []


@pytest.mark.parametrize("name", ROWS)
def test_init_holds_no_buffer_twice(name):
    # A state is donated: a buffer that it held twice would be given away twice.
    state = plain_run(name).init(jax.random.key(1), batch_at(ROWS[name], 0))
    pointers = [leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(state) if leaf.size > 1]
    assert len(pointers) == len(set(pointers))


@pytest.mark.parametrize("name", ROWS)
def test_step_metrics_are_finite_scalars_named_after_their_player(name):
    run = plain_run(name)
    for metrics in run.metrics:
        for key, value in metrics.items():
            assert key.split("/")[0] in run.states[0].params
            assert value.shape == ()
            assert np.isfinite(value), key
        for player in run.states[0].opt_state:
            assert {f"{player}/loss", f"{player}/grad_norm"} <= set(metrics)
            assert metrics[f"{player}/grad_norm"] > 0


@pytest.mark.parametrize("name", ROWS)
def test_step_moves_every_player_and_averages(name):
    first, second, third = plain_run(name).states
    for frozen in set(first.params) - set(first.opt_state):
        assert not differ(first.params[frozen], third.params[frozen])
    for player in first.opt_state:
        assert all(np.all(np.isfinite(leaf)) for leaf in leaves(third.params[player]))
        assert differ(first.params[player], second.params[player])
        assert differ(second.params[player], third.params[player])
    for player, average in third.ema_params.items():
        pairs = zip(leaves(average), leaves(first.params[player]), leaves(third.params[player]), strict=True)
        assert any(np.any(a != old) and np.any(a != new) for a, old, new in pairs)


@pytest.mark.parametrize("name", ROWS)
def test_step_moves_batch_statistics_and_spectral_vectors(name):
    first, second, _ = plain_run(name).states
    for before, after in zip(leaves(first.model_state), leaves(second.model_state), strict=True):
        assert np.all(np.isfinite(after))
        # A singular vector of length one has nowhere to go.
        assert np.any(before != after) or (before.size == 1 and abs(before.item()) == 1)


@pytest.mark.parametrize("name", ROWS)
def test_step_is_a_function_that_compiles_once(name):
    run, row = plain_run(name), ROWS[name]
    again, metrics = run.step(run.states[1], batch_at(row, 1), jax.random.fold_in(jax.random.key(0), 1))
    assert len(run.traces) == 1
    for ours, theirs in zip(leaves((again, metrics)), leaves((run.states[2], run.metrics[1])), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("name", ROWS)
def test_step_depends_on_the_key_of_random_methods(name):
    run, row = plain_run(name), ROWS[name]
    other, _ = run.step(run.states[0], batch_at(row, 0), jax.random.key(5))
    assert differ(other.params, run.states[1].params)


@pytest.mark.parametrize("name", ROWS)
def test_init_depends_only_on_shapes(name):
    run, row = plain_run(name), ROWS[name]
    other = run.init(jax.random.key(1), jax.tree.map(jnp.zeros_like, batch_at(row, 0)))
    for ours, theirs in zip(leaves(other.params), leaves(run.states[0].params), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("name", [name for name in ROWS if name != "latent_diffusion"])  # its autoencoder refuses them
def test_algorithm_refuses_examples_of_another_dtype_while_it_is_traced(name):
    # Bytes given straight to a step would be trained on in 0 ... 255, without a word.
    algorithm, row, key = built(name), ROWS[name], jax.random.key(0)
    batch = batch_at(row, 0)
    state = jax.eval_shape(algorithm.init, key, batch)
    wrong = {**batch, "example": batch["example"].astype(np.float32 if row.modality.dtype == np.int32 else np.uint8)}
    calls = [lambda state, wrong: algorithm.init(key, wrong), lambda state, wrong: algorithm.step(state, wrong, key)]
    if algorithm.evaluate is not None:
        calls.append(lambda state, wrong: algorithm.evaluate(state.variables, wrong, key))
    for call in calls:
        with pytest.raises(UsageError, match=f"of dtype .*, got {wrong['example'].dtype}: load them"):
            jax.eval_shape(call, state, wrong)
