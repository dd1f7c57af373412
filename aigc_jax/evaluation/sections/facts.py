"""Facts: the exact hallucination rate of a model of a world that lists all its statements, and its lower bound."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from aigc_jax.evaluation.section import Evidence, Section
from aigc_jax.metrics.facts import HallucinationBound, by_training_count, hallucination_bound, is_ahead
from aigc_jax.progress import Progress
from aigc_jax.report.figures import Table
from aigc_jax.report.formatting import format_share
from aigc_jax.report.measurements import measure
from aigc_jax.types import UsageError, World

NUM_BINS = (20, 100)
"""Bins of the miscalibration; the bound is that of the last."""

MAX_STATEMENTS = 1_000_000
"""More would take hours on a CPU."""

NAMES = ("hallucination_rate", "monofact_rate", "missing_mass", *(f"miscalibration_{num}" for num in NUM_BINS))
BOUND = "hallucination_bound"

NO_STATEMENTS = "only a synthetic data set that lists all its statements, such as world:facts, has them"

SUPPORT = "support"
"""The attribute of a world that tells how a true statement is known."""

_BATCH = 20_000


class Statements(NamedTuple):
    """What a model, the world and the training set make of every possible statement, by question and answer."""

    g: Float[np.ndarray, "question answer"]
    """Its probability by the model."""
    p: Float[np.ndarray, "question answer"]
    """Its probability by the world."""
    is_true: Bool[np.ndarray, "question answer"]
    counts: Int[np.ndarray, "question answer"]
    """How often the training set holds it."""

    def bound(self, num_bins: int | None) -> HallucinationBound:
        """Hallucination rate and bound, see :func:`aigc_jax.metrics.facts.hallucination_bound`."""
        g, p, counts, is_true = (each.reshape(-1) for each in (self.g, self.p, self.counts, self.is_true))
        return hallucination_bound(g, p, counts, num_bins=num_bins, is_true=is_true)


def score_statements(
    world: World, token_nll: Callable[[np.ndarray], np.ndarray], training_set: Int[np.ndarray, "num length"]
) -> Statements:
    """The probability of every statement of a world, by teacher forcing.

    Args:
        world: it lists its statements, such as ``world:facts``.
        token_nll: nats of each token but the first, of :func:`aigc_jax.inference.diagnostics.make_token_nll_fn`.
        training_set: the training examples.

    Raises:
        UsageError: the world lists no statements, or more than :data:`MAX_STATEMENTS`.
    """
    log_prob = world.log_prob
    if world.statements is None or log_prob is None:
        raise UsageError(NO_STATEMENTS)
    statements = world.statements()
    shape = statements.shape[:2]
    if (num := math.prod(shape)) > MAX_STATEMENTS:
        raise UsageError(f"there are {num:,} statements, at most {MAX_STATEMENTS:,} are scored")
    rows = statements.reshape(num, -1)
    parts = []
    with Progress(num, "statements", "statement") as bar:
        for start in range(0, num, _BATCH):
            own = rows[start : start + _BATCH]
            nll = token_nll(own).sum(axis=1, dtype=np.float64)
            parts.append((nll, *(np.asarray(of(jnp.asarray(own))) for of in (log_prob, world.is_valid))))
            bar.update(len(own))
    nll, truth, is_true = (np.concatenate(values).reshape(shape) for values in zip(*parts, strict=True))
    _, number = np.unique(np.concatenate([rows, training_set]), axis=0, return_inverse=True)
    number = number.reshape(-1)
    counts = np.bincount(number[num:], minlength=number.max() + 1)[number[:num]]
    return Statements(np.exp(-nll), np.exp(truth.astype(np.float64)), is_true, counts.reshape(shape))


def facts(evidence: Evidence) -> Section:
    """Hallucination rate, monofact rate, miscalibration and their bound, from the probability of every statement."""
    try:
        if evidence.judge.world is None:
            raise UsageError(NO_STATEMENTS)
        if evidence.model.token_nll is None:
            raise UsageError("the model gives no probabilities of tokens")
        if not evidence.model.knows_training:
            raise UsageError("the training examples are not known")
        statements = score_statements(evidence.judge.world, evidence.model.token_nll, evidence.training_set)
        few, last = (statements.bound(num_bins) for num_bins in NUM_BINS)
    except UsageError as error:
        return Section("valid", left_out=dict.fromkeys((*NAMES, BOUND), str(error)))
    note = (
        f"Here {last.monofact_rate:.4f} - {last.miscalibration:.4f} - {last.error:.4f}, of {NUM_BINS[-1]} bins; of "
        f"{NUM_BINS[0]} bins {few.bound:.4f}."
    )
    values = (last.hallucination_rate, last.monofact_rate, last.missing_mass, few.miscalibration, last.miscalibration)
    rows = [measure(name, value, statements.g.size) for name, value in zip(NAMES, values, strict=True)]
    rows.insert(1, measure(BOUND, last.bound, statements.g.size, note=note))
    figures = [_by_count(statements), *_by_support(evidence.judge.world, statements)]
    return Section("valid", rows, figures=figures)


def _by_count(statements: Statements) -> Table:
    """Hallucination and closed-book answers by the number of training statements that answer a question."""
    rows = [
        [
            group.title,
            f"{group.num_questions:,}",
            format_share(group.share),
            format_share(group.hallucination_rate),
            format_share(group.accuracy),
        ]
        for group in by_training_count(statements.g, statements.is_true, statements.counts)
    ]
    rest = max(0.0, 1.0 - float(statements.g.sum()))
    rows.append(["no statement", "", format_share(rest), format_share(1.0), ""])
    caption = (
        "A question is a statement without its last word, such as where somebody was born. By the number of training "
        "statements that answer it: the number of questions, the share of the model's texts that are about them, the "
        "share of these that are false, and the share of the questions whose most probable answer is true (closed "
        "book). All by the model's own probabilities, at temperature 1; texts of no known question are false."
    )
    columns = ["in training", "questions", "share of texts", "false", "right answers"]
    return Table("facts_by_count", "Facts by how often training states them", caption, columns, rows)


def _by_support(world: World, statements: Statements) -> list[Table]:
    """True statements by how they are known, of a world that tells: stated, or following from what is stated."""
    if world.read is None or world.statements is None or SUPPORT not in world.attributes:
        return []
    rows = world.statements().reshape(statements.g.size, -1)
    parts = [rows[start : start + _BATCH] for start in range(0, len(rows), _BATCH)]
    kinds = np.concatenate([np.asarray(world.read(jnp.asarray(part))[SUPPORT]) for part in parts])
    kinds, ahead = kinds.reshape(statements.g.shape), is_ahead(statements.g, statements.is_true)
    table = []
    for kind, name in enumerate(world.attributes[SUPPORT]):
        chosen = kinds == kind
        if chosen.any():
            share, known = float(statements.g[chosen].sum()), float(ahead[chosen].mean())
            table.append([name, f"{chosen.sum():,}", format_share(share), format_share(known)])
    false = float(statements.g[~statements.is_true].sum())
    table.append(["false", f"{(~statements.is_true).sum():,}", format_share(false), ""])
    caption = (
        "By how a statement is known: the number of statements, the share of the model's texts that are one of them, "
        "and the share of them that the model finds more probable than every false answer to the same question."
    )
    columns = ["statements", "number", "share of texts", "ahead of every false answer"]
    return [Table("facts_by_support", "What is stated, and what follows", caption, columns, table)]
