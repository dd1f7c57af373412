"""Texts: runs of tokens copied from the training text; repetition, distinct words and their frequencies."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from aigc_jax.data.text import token_stream
from aigc_jax.evaluation.blocks import BLOCK
from aigc_jax.evaluation.equivalence import Comparison
from aigc_jax.evaluation.examples import Examples
from aigc_jax.evaluation.section import Evidence, Section, proportion
from aigc_jax.metrics.differences import mean_difference, mean_ends, share_difference
from aigc_jax.metrics.matching import longest_matches
from aigc_jax.metrics.text import distinct, ngram_distance, repetition
from aigc_jax.report.figures import Figure, Histogram, Texts
from aigc_jax.report.measurements import Details, Measurement, measure

TAIL = 0.01
"""Share of held-out texts that count as copies: the longest of their matches are chance."""

NUM_SHOWN = 5
"""Texts that a figure shows."""

NAMES = ("repeated_ngrams", "distinct_ngrams", "word_distance")
NO_TEXT = "the examples are no text"


def copied_text(evidence: Evidence) -> Section:
    """The longest run of tokens of each sample that the training text holds, compared with held-out texts."""
    held_out, samples = evidence.held_out.values, evidence.distinct.values
    # A longer text has a longer match by chance.
    length = min(held_out.shape[1], samples.shape[1])
    stream = token_stream(evidence.data.train)
    ours, real = (longest_matches(stream, values[:, :length]) for values in (samples, held_out))
    threshold = np.sort(real)[::-1][int(TAIL * len(real))]
    counts = [int((side > threshold).sum()) for side in (ours, real)]
    low, _, high = mean_ends(ours.astype(np.float64), 0.025, len(ours))
    measurements = [
        proportion(
            "copied_samples",
            counts[0],
            len(ours),
            reference=counts[1] / len(real),
            reference_title="held-out texts",
            note=f"A copy has a run of more than {threshold} tokens of the training text.",
        ),
        measure(
            "longest_match",
            float(ours.mean()),
            len(ours),
            low=low,
            high=high,
            reference=float(real.mean()),
            reference_title="held-out texts",
        ),
    ]
    checks = [Comparison("copied_samples", share_difference(counts[0], len(ours), counts[1], len(real)))]
    figures = [_histogram(ours, real, int(threshold)), _longest(evidence, samples, ours)]
    left_out = {name: "texts have no distance" for name in ("authenticity", "copying_test", "copying_worst_cell")}
    return Section("not_copied", measurements, checks, figures, left_out, "copied_samples")


def diversity_of_text(evidence: Evidence) -> Section:
    """Repetition within texts; different words, and their frequencies, of blocks of texts."""
    texts = evidence.model.modality.texts
    if texts is None:
        return Section("diverse", left_out={name: NO_TEXT for name in NAMES})
    ours, real, train = (_words(evidence, each) for each in (evidence.distinct, evidence.held_out, evidence.train))
    sides = {"repeated_ngrams": tuple(repetition(side) for side in (ours, real))}
    measurements, checks, left_out = [], [], {}
    reference = train[:BLOCK]
    statistics: dict[str, Callable[[list[list[str]]], float]] = {
        "distinct_ngrams": lambda block: distinct(block, 2),
        "word_distance": lambda block: ngram_distance(block, reference),
    }
    for name, statistic in statistics.items():
        blocks = [
            [side[start : start + BLOCK] for start in range(0, len(side) - BLOCK + 1, BLOCK)] for side in (ours, real)
        ]
        if not all(blocks) or len(reference) < BLOCK:
            left_out[name] = f"blocks of {BLOCK} texts are compared, and there is not one"
            continue
        sides[name] = tuple(np.array([statistic(block) for block in side]) for side in blocks)
    for name, (mine, theirs) in sides.items():
        size = 1 if name == "repeated_ngrams" else BLOCK
        measurements.append(_mean(name, mine, theirs, size))
        if name == "distinct_ngrams":
            mine, theirs = 1.0 - mine, 1.0 - theirs
        checks.append(Comparison(name, mean_difference(mine, theirs, size, is_positive=True)))
    return Section("diverse", measurements, checks, [_repeating(evidence, ours)], left_out, "repeated_ngrams")


def _words(evidence: Evidence, examples: Examples) -> list[list[str]]:
    texts = evidence.model.modality.texts
    return [] if texts is None else [text.split() for text in texts(examples.values)]


def _mean(name: str, ours: np.ndarray, real: np.ndarray, size: int) -> Measurement:
    details: Details = {"reference": float(real.mean()), "reference_title": "held-out texts"}
    if len(ours) > 1 and name != "word_distance":
        low, _, high = mean_ends(ours, 0.025, len(ours))
        details |= {"low": max(low, 0.0), "high": min(high, 1.0)}
    return measure(name, float(ours.mean()), size * len(ours), **details)


def _histogram(ours: np.ndarray, real: np.ndarray, threshold: int) -> Figure:
    edges = np.linspace(0.0, max(float(max(ours.max(), real.max())), 1.0), 41)
    shares = {
        name: (np.histogram(side, edges)[0] / len(side)).tolist()
        for name, side in (("samples", ours), ("held-out texts", real))
    }
    caption = "Samples to the right of the mark count as copied: so long a match is chance in 1 % of held-out texts."
    marks = {"counts as copied": float(threshold)}
    title = "Longest match with the training text"
    return Histogram("longest_matches", title, caption, "tokens in a row", edges.tolist(), shares, marks)


def _longest(evidence: Evidence, samples: np.ndarray, matches: np.ndarray) -> Figure:
    texts, chosen = evidence.model.modality.texts, np.argsort(-matches, kind="stable")[:NUM_SHOWN]
    shown = [] if texts is None else texts(samples[chosen])
    items = [(f"{matches[i]} tokens", text) for i, text in zip(chosen, shown, strict=True)]
    return Texts("copied_texts", "Longest matches", "Samples with the longest runs of the training text.", items)


def _repeating(evidence: Evidence, words: list[list[str]]) -> Figure:
    shares = repetition(words)
    chosen = np.argsort(-shares, kind="stable")[:NUM_SHOWN]
    items = [(f"{shares[i]:.0%}", " ".join(words[i])) for i in chosen]
    return Texts("repeating_texts", "Most repetitive samples", "By the share of repeated runs of four words.", items)
