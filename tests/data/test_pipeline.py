import itertools

import numpy as np
import pytest

from aigc_jax.data.arrays import ArraySource, take
from aigc_jax.data.images import IMAGE
from aigc_jax.data.pipeline import batches, epoch
from aigc_jax.types import UsageError


def numbered(num, *, is_labelled=True):
    """Example i is recognisable by its pixel and by its label."""
    images = np.broadcast_to(np.arange(num, dtype=np.uint8)[:, None, None, None], (num, 2, 2, 1))
    return ArraySource(images, np.arange(num) if is_labelled else None)


def labels(iterator, num_steps):
    return [batch["condition"].tolist() for batch in itertools.islice(iterator, num_steps)]


def joined(lists):
    return list(itertools.chain.from_iterable(lists))


def test_batches_hold_every_example_once_an_epoch_in_a_new_order():
    # 10 does not divide by 4: a batch may hold the end of one epoch and the start of the next.
    stream = joined(labels(batches(numbered(10), batch_size=4, seed=0), 5))
    assert sorted(stream[:10]) == sorted(stream[10:]) == list(range(10))
    assert stream[:10] != stream[10:] != list(range(10))


def test_batches_keep_pixels_with_labels_and_normalise():
    batch = next(batches(numbered(200), batch_size=64, seed=1))
    assert batch["example"].dtype == np.float32
    assert batch["example"].shape == (64, 2, 2, 1)
    assert batch["condition"].dtype == np.int32
    np.testing.assert_allclose(batch["example"][:, 0, 0, 0], batch["condition"] / 255 * 2 - 1, atol=1e-6)


@pytest.mark.parametrize("start_step", [1, 7, 100_003])
def test_batches_start_at_start_step_without_replay(start_step):
    source = numbered(10)
    whole = batches(source, batch_size=4, seed=3, num_threads=0)
    if start_step < 100:
        expected = labels(whole, start_step + 3)[start_step:]
    else:
        earlier = batches(source, batch_size=4, seed=3, start_step=start_step - 2)
        expected = labels(earlier, 5)[2:]
    assert labels(batches(source, batch_size=4, seed=3, start_step=start_step), 3) == expected


def test_batches_of_processes_are_slices_of_the_global_batch():
    source = numbered(30)
    expected = labels(batches(source, batch_size=12, seed=5, start_step=2), 4)
    for count in (2, 3, 4):
        parts = [
            labels(batches(source, batch_size=12, seed=5, start_step=2, process_index=index, process_count=count), 4)
            for index in range(count)
        ]
        assert [joined(step) for step in zip(*parts, strict=True)] == expected


def test_batches_order_depends_only_on_the_seed():
    source = numbered(50)
    first, again = (labels(batches(source, batch_size=10, seed=0, num_threads=n), 12) for n in (0, 3))
    assert first == again
    for seed in (1, -1, 2**40):
        other = labels(batches(source, batch_size=10, seed=seed), 5)
        # Neither the same epoch nor, as grain alone would have it, the next one.
        assert other not in (first[:5], first[5:10])


def test_batches_state_restores_the_position():
    iterator = batches(numbered(10), batch_size=4, seed=0, start_step=3)
    next(iterator)
    state = iterator.get_state()
    expected = labels(iterator, 3)
    fresh = batches(numbered(10), batch_size=4, seed=0, start_step=3)
    fresh.set_state(state)
    assert labels(fresh, 3) == expected


def test_batches_without_labels_have_no_condition():
    assert set(next(batches(numbered(10, is_labelled=False), batch_size=4, seed=0))) == {"example"}


def test_batches_take_any_random_access_source():
    class Plain:
        def __len__(self):
            return 5

        def __getitem__(self, index):
            return {"tokens": np.full(3, index, np.int32)}

    np.testing.assert_array_equal(take(Plain(), np.array([4, 1]))["tokens"], [[4] * 3, [1] * 3])
    modality = IMAGE._replace(name="tokens", load=lambda stored: stored)
    stream = batches(Plain(), batch_size=1, seed=0, modality=modality)
    stream = [batch["example"][0, 0] for batch in itertools.islice(stream, 5)]
    assert sorted(stream) == list(range(5))


def test_epoch_is_in_order_and_complete():
    assert labels(epoch(numbered(10), 4), 9) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


@pytest.mark.parametrize(("batch_size", "process_count"), [(0, 1), (11, 1), (9, 2)])
def test_batches_refuse_impossible_batch_sizes(batch_size, process_count):
    with pytest.raises(UsageError, match=r"--batch-size \d+"):
        batches(numbered(10), batch_size=batch_size, seed=0, process_count=process_count)


def test_batches_take_arrays():
    images, given = numbered(40).examples, {"batch_size": 8, "seed": 3}
    expected = next(batches(numbered(40), **given))
    for source in (
        (images, np.arange(40)),
        {"image": images, "label": np.arange(40)},
        [images / np.float32(127.5) - np.float32(1), np.arange(40, dtype=np.uint8)],
    ):
        batch = next(batches(source, **given))
        np.testing.assert_array_equal(batch["condition"], expected["condition"])
        np.testing.assert_allclose(batch["example"], expected["example"], atol=1e-6)
    for source in (images, (images,), {"image": images}):
        batch = next(batches(source, **given))
        assert list(batch) == ["example"]
        np.testing.assert_array_equal(batch["example"], expected["example"])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda x, y: (x.astype(np.float32), y), "floats in [-1, 1], got float32 from 0 to 39"),
        (lambda x, y: (x, y.astype(np.float32)), "labels as integers [40], got float32"),
        (lambda x, y: (x, y[:-1]), "a label for each of 40 examples"),
        (lambda x, y: (x, y, y), "(images, labels)"),
        (lambda x, y: {"picture": x}, "got arrays of picture: rename them"),
        (lambda x, y: iter([x]), "got a list_iterator: give its data set, or arrays"),
        (lambda x, y: _Pairs(x, y), "got examples of type tuple: give arrays"),
    ],
)
def test_batches_refuse_other_arrays_in_one_line(change, says):
    with pytest.raises(UsageError) as error:
        batches(change(numbered(40).examples, np.arange(40)), batch_size=8, seed=0)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


class _Pairs:
    """A data set as of PyTorch: tuples by index."""

    def __init__(self, *arrays):
        self.arrays = arrays

    def __len__(self):
        return len(self.arrays[0])

    def __getitem__(self, index):
        return tuple(array[index] for array in self.arrays)
