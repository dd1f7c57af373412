"""Worlds as data: the same examples every time, of which all are the world's own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aigc_jax import cli
from aigc_jax.configs import gpt_facts
from aigc_jax.data.images import to_float
from aigc_jax.train import worlds as world_data
from aigc_jax.train.worlds import example_shape
from aigc_jax.worlds.catalog import open_world


@pytest.mark.slow
def test_images_are_the_worlds_own_and_labels_their_modes(monkeypatch):
    monkeypatch.setattr(world_data, "NUM_IMAGES", (2000, 1000))
    world = open_world("world:sums")
    open_data = world_data.world_data(world, is_labelled=True)
    data = open_data()
    assert open_data() is data
    assert (data.name, len(data.train), len(data.held_out), len(data.class_names)) == ("world:sums", 2000, 1000, 19)
    batch = data.train.take(np.arange(995, 1005))
    assert (batch["image"].shape, batch["image"].dtype) == ((10, 28, 28, 1), np.uint8)
    images = jnp.asarray(to_float(batch["image"]))
    assert bool(world.is_valid(images).all())
    np.testing.assert_array_equal(world.mode(images), batch["label"])
    same = world_data.world_data(open_world("world:sums"), is_labelled=False)()
    assert set(same.train[0]) == {"image"}
    np.testing.assert_array_equal(same.train[1003]["image"], data.train[1003]["image"])
    firsts = {image.tobytes() for image in data.train.examples}
    assert len(firsts) > 1990
    assert np.mean([image.tobytes() in firsts for image in data.held_out.examples]) < 0.01


def test_points_are_labelled_by_their_modes(monkeypatch):
    monkeypatch.setattr(world_data, "NUM_POINTS", (2000, 1000))
    world = open_world("world:line3")
    data = world_data.world_data(world, is_labelled=True)()
    batch = data.held_out.take(np.arange(1000))
    assert batch["point"].shape == (1000, *example_shape(world))
    np.testing.assert_array_equal(np.rint(batch["point"][:, 0]) - 1, batch["label"])


def test_training_texts_are_as_many_as_are_asked_for_and_the_first_of_more():
    world = open_world("world:facts")
    data, more = (world_data.world_data(world, is_labelled=False, num_train=num)() for num in (1500, 2000))
    assert (len(data.train), len(more.train), len(data.held_out)) == (1500, 2000, 2000)
    np.testing.assert_array_equal(data.train.examples, more.train.examples[:1500])
    assert data.checksum != more.checksum
    # Draws: some are made once, and popular ones many times.
    counts = np.unique(data.train.examples, axis=0, return_counts=True)[1]
    assert (counts == 1).sum() > 200
    assert counts.max() > 30


@pytest.mark.slow
@pytest.mark.parametrize(("data", "length"), [("world:families", 5), ("world:grammar", 32), ("world:facts", 5)])
def test_facts_of_another_world_have_its_tokens_and_length(data, length):
    config = gpt_facts.resolve(gpt_facts.Config(data=data))
    assert (config.length, config.sampling.length) == (length, length)
    experiment = gpt_facts.build(config)
    (row,) = experiment.modality.texts(np.asarray(experiment.world.sample(jax.random.key(0), 1, None)))
    tokens = experiment.modality.prompts([row])
    assert tokens.shape == (1, 8 if length == 5 else 1 << max(3, len(row).bit_length()))
    assert experiment.modality.num_levels == len(experiment.world.vocabulary) + 1


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--data", "world:shapes"], "world:shapes holds images, and this model makes text"),
        (["--data", "text:a.txt"], "expected data of a world"),
        (["--length", "9"], "texts of world:facts have 5 tokens, the model expects 9: pass --length 5"),
        (["--tokenizer", "bytes"], "texts of world:facts are words, got --tokenizer bytes: leave the option out"),
        (["--num-train", "0"], "expected num_train >= 1, got 0: set --num-train"),
    ],
)
def test_facts_of_wrong_settings_are_refused_in_one_line(words, problem, tmp_path, capsys):
    assert cli.main(["train", "gpt_facts", "--workdir", str(tmp_path / "run"), *words]) == 2
    error = capsys.readouterr().err.strip()
    assert problem in error
    assert "\n" not in error
