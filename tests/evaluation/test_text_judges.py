"""The judges of labelled texts: two classifiers of its own tokens, trained on first use and cached."""

import functools
import json
import types

import numpy as np
import pytest

from aigc_jax.configs import gpt_reviews, text_classifier, text_transformer
from aigc_jax.data.tokenizer import PAD
from aigc_jax.evaluation import classifiers

pytestmark = [pytest.mark.slow, pytest.mark.standard_promotion]


@pytest.fixture
def quick(monkeypatch, tmp_path):
    """The folder of classifiers that are trained in no time."""
    load_config, sizes = classifiers.load_config, {"width": 8, "depth": 1, "head_width": 4, "num_features": 8}
    modules = {"text_classifier": text_classifier, "text_transformer": text_transformer}

    def make(module, **settings):
        return module.Config(**{**settings, **sizes, "steps": 2, "batch_size": 8})

    quick = {
        name: types.SimpleNamespace(Config=functools.partial(make, module), build=module.build)
        for name, module in modules.items()
    }
    monkeypatch.setattr(classifiers, "load_config", lambda name: quick.get(name) or load_config(name))
    monkeypatch.setenv("AIGC_JAX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "classifiers"


def test_texts_are_judged_by_two_classifiers_of_the_models_own_tokens(quick, tmp_path):
    file = tmp_path / "a.jsonl"
    rows = [{"text": f"{'ab' * (i % 4)} {i % 7}", "label": "xyz"[i % 3]} for i in range(60)]
    file.write_text("\n".join(map(json.dumps, rows)))
    config = gpt_reviews.resolve(gpt_reviews.Config(data=f"text:{file}", tokenizer="chars", length=12))
    experiment = gpt_reviews.build(config)
    data = experiment.open_data()
    judge = classifiers.load_judge(experiment, config, data, has_second_opinion=True).judge
    assert list(judge.class_names) == ["x", "y", "z"]
    assert judge.second_name == f"{data.name} classifier (transformer)"
    assert len(list(quick.glob("*/metrics.jsonl"))) == 2
    # A sample is shorter than a training text, and has padding where it has ended.
    tokens = data.held_out.take(np.arange(4))["tokens"][:, :9]
    assert (tokens == PAD).any()
    found = judge.predict(tokens)
    assert (found.features.shape, found.logits.shape) == ((4, 8), (4, 3))
    np.testing.assert_array_equal(found.predicted, np.argmax(found.logits, axis=1))
    assert found.second.shape == (4,)
    again = judge.predict(np.pad(tokens, ((0, 0), (0, 4)), constant_values=PAD))
    np.testing.assert_allclose(found.logits, again.logits, atol=1e-5)
    # The second run finds both in the cache.
    classifiers.load_judge(experiment, config, data, has_second_opinion=True)
    assert len(list(quick.glob("*/metrics.jsonl"))) == 2
