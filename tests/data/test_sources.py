import subprocess
import sys

import numpy as np
import pytest

from aigc_jax.data.arrays import ArraySource, CachedSource, take
from aigc_jax.data.sources import open_data
from aigc_jax.types import DataSource, UsageError


@pytest.mark.parametrize("name", ["", "digit", "tfds", "tfds:", "folder:", "mnist", "TFDS:mnist"])
def test_open_data_lists_the_forms_for_unknown_names(name):
    with pytest.raises(UsageError) as error:
        open_data(name)
    for form in ("digits", "tfds:NAME", "folder:DIR"):
        assert form in str(error.value)


@pytest.mark.parametrize("shape", [(28, 28, 2), (0, 28, 1)])
def test_open_data_refuses_impossible_shapes(shape):
    with pytest.raises(UsageError, match="--image-shape 32 32 3"):
        open_data("digits", image_shape=shape)


def test_open_data_refuses_digits_that_do_not_fit_the_model():
    with pytest.raises(UsageError, match=r"28 28 1.* 32 32 3.*--image-shape 28 28 1"):
        open_data("digits", image_shape=(32, 32, 3))
    with pytest.raises(UsageError, match="--num-classes 10"):
        open_data("digits", num_classes=5)
    assert isinstance(open_data("digits", num_classes=None).train, DataSource)


def test_open_data_of_digits_does_not_import_tfds():
    code = (
        "import sys; from aigc_jax.data.sources import open_data; open_data('digits');"
        "sys.exit('tensorflow_datasets' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


class Counted:
    """Counts how often each example is read."""

    def __init__(self, num):
        self.reads = np.zeros(num, int)

    def __len__(self):
        return len(self.reads)

    def __getitem__(self, index):
        self.reads[index] += 1
        return {"image": np.full((2, 2, 1), index, np.uint8)}


def test_cached_source_reads_each_example_once():
    source = Counted(6)
    cached = CachedSource(source)
    source.reads[:] = 0
    for indices in ([0, 5, 5], [5, 1], [0, 1, 2, 3, 4, 5]):
        assert cached.take(np.array(indices))["image"][:, 0, 0, 0].tolist() == indices
    assert source.reads.tolist() == [1] * 6
    assert cached[3]["image"].shape == (2, 2, 1)


def test_cached_source_keeps_nothing_beyond_its_limit():
    source = Counted(6)
    cached = CachedSource(source, max_bytes=6 * 4 - 1)
    source.reads[:] = 0
    for _ in range(3):
        cached.take(np.array([2]))
    assert source.reads[2] == 3


def test_array_source_is_a_sequence():
    source = ArraySource(np.zeros((3, 2, 2, 1), np.uint8), np.array([7, 8, 9]))
    assert [int(example["label"]) for example in source] == [7, 8, 9]
    assert take(source, np.array([1]))["label"].tolist() == [8]
