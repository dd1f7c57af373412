"""Small data sets on disk: a tfds builder of our own, prepared without network or TensorFlow."""

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from aigc_jax.data.prepare import prepare

SHAPE = (6, 4, 3)
SPLITS = {
    "plain": {"train": 30, "validation": 5, "test": 10},
    "validated": {"train": 30, "validation": 5},
    "train_only": {"train": 30},
    "no_train": {"test": 10},
    "jpeg": {"train": 10, "test": 5},
    "unlabelled": {"train": 10, "test": 5},
    "various_sizes": {"train": 10, "test": 5},
    "bad_label": {"train": 10, "test": 5},
}


def pixels(split, number):
    """Example ``number`` of a split: noise that no two examples share."""
    rng = np.random.default_rng([number, *split.encode()])
    return rng.integers(0, 256, SHAPE, np.uint8)


class TinyPictures(tfds.core.GeneratorBasedBuilder):
    """Arrays as images: what tfds by itself writes only with TensorFlow."""

    VERSION = tfds.core.Version("1.2.0")
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=name) for name in SPLITS]  # noqa: RUF012

    def _info(self):
        form = self.builder_config.name
        image = tfds.features.Image(
            shape=(None, None, 3) if form == "various_sizes" else SHAPE,
            encoding_format="jpeg" if form == "jpeg" else None,
        )
        label = tfds.features.ClassLabel(names=["cat", "dog"])
        features = {"image": image} if form == "unlabelled" else {"image": image, "label": label}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(split, num) for split, num in SPLITS[self.builder_config.name].items()}

    def _generate_examples(self, split, num):
        form = self.builder_config.name
        for number in range(num):
            label = -1 if form == "bad_label" and number == 7 else number % 2
            example = {"image": pixels(split, number), "label": label}
            yield number, {name: example[name] for name in self.info.features}


@pytest.fixture(scope="session")
def tfds_dir(tmp_path_factory):
    """A folder where every form of ``tiny_pictures`` is prepared."""
    root = tmp_path_factory.mktemp("tfds")
    tfds.disable_progress_bar()
    for form in SPLITS:
        prepare(f"tfds:tiny_pictures/{form}", str(root))
    return root


@pytest.fixture
def picture_dir(tmp_path):
    """Two classes, 20 and 12 images of 8 x 8."""
    for name, num in {"dog": 12, "cat": 20}.items():
        (tmp_path / name).mkdir()
        for number in range(num):
            image = Image.fromarray(np.full((8, 8), 100 * (name == "dog") + number, np.uint8))
            image.save(tmp_path / name / f"{number}.png")
    return tmp_path
