"""Measurements during training: of samples where a judge is known, else means over held-out examples."""

from __future__ import annotations

import numpy as np

from aigc_jax.data.pipeline import epoch
from aigc_jax.evaluation.classifiers import load_judge
from aigc_jax.evaluation.evaluate import evaluate
from aigc_jax.evaluation.model import EvaluatedModel
from aigc_jax.evaluation.section import Settings
from aigc_jax.inference.sampling import compile_encoder, compile_sampler
from aigc_jax.train.config import TrainConfig
from aigc_jax.train.loop import EvaluateFn
from aigc_jax.types import Data, Experiment, Variables


def make_evaluate_fn(experiment: Experiment, config: TrainConfig, data: Data) -> EvaluateFn:
    """The function that measures a model every ``eval_every`` steps: ``(variables, step) -> {"eval/NAME": value}``.

    A report's measurements of 1,000 samples; without samples or a judge, the means of the model's own ``evaluate``.
    """
    algorithm = experiment.algorithm
    if algorithm.sample is None:
        return _held_out_means_fn(experiment, data)
    judge = load_judge(experiment, config, data).judge
    if judge.why_none and algorithm.evaluate is not None:
        return _held_out_means_fn(experiment, data)
    sampler, settings = compile_sampler(experiment), Settings(1000, num_detected=0, num_swept=0)

    def evaluate_samples(variables: Variables, step: int) -> dict[str, float]:
        del step
        model = EvaluatedModel(sampler(variables, config.seed), experiment.num_conditions, experiment.modality)
        report = evaluate(model=model, judge=judge, data=data, settings=settings).report
        return {f"eval/{row.name}": row.value for row in report.measurements}

    return evaluate_samples


def _held_out_means_fn(experiment: Experiment, data: Data) -> EvaluateFn:
    """Means over the held-out examples of everything that is one number per example."""
    encoder = compile_encoder(experiment)

    def evaluate_held_out(variables: Variables, step: int) -> dict[str, float]:
        del step
        encode, batches = encoder(variables), epoch(data.held_out, 256, experiment.modality)
        outputs = [encode(batch["example"], batch.get("condition")) for batch in batches]
        names = [name for name, values in outputs[0].items() if values.ndim == 1]
        return {f"eval/{name}": float(np.concatenate([each[name] for each in outputs]).mean()) for name in names}

    return evaluate_held_out
