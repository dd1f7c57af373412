"""The command ``aigc-jax likelihood``: nats, bits per dimension, perplexity."""

from __future__ import annotations

import dataclasses

from aigc_jax.cli.arguments import Likelihood
from aigc_jax.cli.common import load
from aigc_jax.evaluation.likelihood import likelihood_lines, mean_rows, write_likelihood
from aigc_jax.inference.likelihood import likelihood_rows
from aigc_jax.runs import settings_of


def likelihood(arguments: Likelihood) -> int:
    """Measure the likelihood of examples, print it, and write it to the folder of the report."""
    experiment, values, variables = load(arguments)
    data = experiment.open_data()
    rows = likelihood_rows(
        experiment,
        variables,
        {"held_out": data.held_out, "train": data.train}[arguments.split],
        num_examples=arguments.num_examples,
        seed=arguments.seed,
        batch_size=arguments.batch_size,
    )
    own = settings_of(values, "likelihood")
    means, settings = mean_rows(rows), {} if own is None else dataclasses.asdict(own)
    file = write_likelihood(
        arguments.run, means, data=data.name, split=arguments.split, seed=arguments.seed, settings=settings
    )
    print("\n".join(likelihood_lines(means)))
    how = ", ".join(f"{name} {value}" for name, value in settings.items())
    print(f"{arguments.split} examples of {data.name}{f'; {how}' if how else ''}    {file}")
    return 0
