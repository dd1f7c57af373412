"""Step and sampler of every method compile for TPUs that are not there, and their devices communicate."""

import jax
import pytest

from aigc_jax.train.compile_for import compile_lowered, find_topology, lower_sampler, lower_step
from aigc_jax.train.config import TrainConfig
from aigc_jax.types import Conditions, Experiment

from .table import NUM_CLASSES, ROWS, batch_at

pytestmark = [pytest.mark.tpu_aot, pytest.mark.optimized]


@pytest.mark.parametrize("name", ROWS)
def test_step_and_sampler_compile_for_a_tpu(name):
    row, devices = ROWS[name], find_topology("v5e:2x2")
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), batch_at(row, 0))
    experiment = Experiment(
        algorithm=row.build("data"),
        open_data=None,
        batch_spec=shapes,
        modality=row.modality,
        conditions=Conditions([str(number) for number in range(NUM_CLASSES)]) if row.num_classes else None,
    )
    step = compile_lowered(lower_step(experiment, TrainConfig(parallel="shard_map"), devices), devices[0])
    assert step.fits
    assert step.collectives["all-reduce"] >= 1
    if experiment.algorithm.sample is not None:
        sampler = compile_lowered(lower_sampler(experiment, devices[0], 8), devices[0])
        assert sampler.fits
        assert not sampler.collectives
