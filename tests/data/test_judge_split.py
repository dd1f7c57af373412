"""Examples that are reserved for judges are seen by no generator, and by no evaluation."""

import numpy as np
import pytest

from aigc_jax.data.arrays import MIN_TO_RESERVE, ArraySource, reserve_for_judges, take
from aigc_jax.data.fingerprint import fingerprint, summary
from aigc_jax.types import Data, UsageError

IMAGES = np.arange(20, dtype=np.uint8)[:, None, None, None]
DATA = Data("twenty", ArraySource(IMAGES, np.arange(20) % 2), ArraySource(IMAGES[:4], np.arange(4) % 2), ("a", "b"))


def content(source):
    return take(source, np.arange(len(source)))["image"].ravel().tolist()


def test_reserve_for_judges_parts_the_training_examples():
    data = reserve_for_judges(DATA, 0.25)
    assert (len(data.train), len(data.for_judges)) == (15, 5)
    assert sorted(content(data.train) + content(data.for_judges)) == list(range(20))
    assert content(data.held_out) == [0, 1, 2, 3]
    assert content(reserve_for_judges(DATA, 0.25).train) == content(data.train)  # the same at every start
    assert data.train[0]["label"] == content(data.train)[0] % 2
    assert "5 training examples are reserved for judges" in summary(data)
    assert fingerprint(data) != fingerprint(DATA)


@pytest.mark.parametrize("share", [0.0, None])
def test_reserve_for_judges_leaves_small_data_whole(share):
    assert reserve_for_judges(DATA, share) is DATA


def test_reserve_for_judges_keeps_a_tenth_of_large_data():
    num = MIN_TO_RESERVE
    large = DATA._replace(train=ArraySource(np.zeros((num, 1, 1, 1), np.uint8), np.zeros(num, int)))
    assert len(reserve_for_judges(large, None).for_judges) == num // 10
    assert reserve_for_judges(large, 0.0) is large


@pytest.mark.parametrize("share", [0.001, 0.999])
def test_reserve_for_judges_refuses_an_empty_side(share):
    with pytest.raises(UsageError, match="leaves one side empty"):
        reserve_for_judges(DATA, share)
