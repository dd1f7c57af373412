import numpy as np
import pytest

from aigc_jax.data.arrays import ArraySource, CachedSource
from aigc_jax.data.fingerprint import class_changes, fingerprint, size_changes, summary
from aigc_jax.types import Data


def images(num, first=0):
    return (np.arange(num * 4, dtype=np.uint8) + first).reshape(num, 2, 2, 1)


def pets(*, num=6, names=("apple", "pear"), labels=None, first=0, **options):
    labels = np.arange(num) % 2 if labels is None else np.array(labels)
    return Data("pets", ArraySource(images(num, first), labels), ArraySource(images(2), np.arange(2)), names, **options)


def test_fingerprint_counts_classes_and_examples():
    mark = fingerprint(pets(labels=[0, 0, 0, 0, 1, 1]))
    assert mark[:5] == ("pets", 6, 2, ("apple", "pear"), (4, 2))


def test_fingerprint_changes_with_any_value():
    others = [pets(first=1), pets(labels=[0, 1, 0, 1, 1, 0]), pets(num=8), pets(checksum="of its own")]
    assert len({fingerprint(data).checksum for data in (pets(), *others)}) == 5
    assert fingerprint(pets()) == fingerprint(pets())
    cached = pets()
    assert fingerprint(cached._replace(train=CachedSource(cached.train))) == fingerprint(pets())


@pytest.mark.parametrize("labels", [None, np.arange(6)])
def test_fingerprint_of_data_without_classes_or_examples(labels):
    data = Data("bare", ArraySource(images(6), labels), ArraySource(images(0), None), ())
    assert fingerprint(data).num_held_out == 0
    assert summary(data).startswith("bare: 6 train, 0 held out")
    assert fingerprint(Data("empty", [], [], ())).class_names == ()


class Unread:
    """Examples that tell their labels only when they are read."""

    def __len__(self):
        return 3

    def __getitem__(self, index):
        return {"image": images(3)[index], "label": np.asarray(0, np.int32)}


def test_fingerprint_reads_labels_without_examples():
    data = pets()._replace(train=Unread())
    assert fingerprint(data).class_counts == ()
    assert "0 apple, 1 pear" in summary(data)


def test_summary_has_numbered_classes_and_remarks():
    data = pets(labels=[0, 0, 0, 0, 1, 1], remarks=["54 .webp passed over"])
    assert summary(data) == "pets: 6 train, 2 held out, 2 classes (0 apple (4), 1 pear (2)); 54 .webp passed over"


def test_summary_of_many_classes_is_short():
    line = summary(pets(names=[f"class {number}" for number in range(1000)]))
    assert len(line) < 300
    assert "1000 classes" in line


def test_class_changes_name_the_first_three():
    old = fingerprint(pets())
    assert class_changes(old, fingerprint(pets(num=8))) == []
    assert class_changes(old, fingerprint(pets(names=("blue bird", "pear")))) == ["class 0 was 'apple', is 'blue bird'"]
    assert class_changes(old, fingerprint(pets(names=("apple", "pear", "zebra")))) == [
        "class 2 was no class, is 'zebra'"
    ]
    shifted = class_changes(old._replace(class_names=tuple("abcdef")), old._replace(class_names=tuple("bcdef")))
    assert shifted[-1] == "3 more"


def test_size_changes_count_examples():
    old = fingerprint(pets())
    assert size_changes(old, fingerprint(pets(first=1))) == []
    assert size_changes(old, fingerprint(pets(num=8))) == ["8 training examples were 6"]
    assert size_changes(old, fingerprint(pets(labels=[0, 0, 0, 0, 1, 1]))) == ["other numbers of examples per class"]
