"""Texts: runs of tokens copied from the training text; repetition, distinct words and their frequencies."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from aigc_jax.data.text import token_stream
from aigc_jax.evaluation.blocks import BLOCK
from aigc_jax.evaluation.equivalence import Comparison
from aigc_jax.evaluation.examples import Examples
from aigc_jax.evaluation.section import Evidence, Section, proportion
from aigc_jax.metrics.differences import mean_difference, mean_ends, share_difference
from aigc_jax.metrics.matching import longest_matches
from aigc_jax.metrics.text import distinct, ngram_distance, ngram_overlap, repetition, self_bleu
from aigc_jax.report.figures import Figure, Histogram, Texts
from aigc_jax.report.measurements import Details, Measurement, measure

TAIL = 0.01
"""Share of held-out texts that count as copies: the longest of their matches are chance."""

NUM_SHOWN = 5
"""Texts that a figure shows."""

NUM_SCORED = 1000
"""Samples among which the least likely are sought."""

MAX_BITS = 8.0
"""Bits of a token that has the darkest shade."""

MAX_TRAINING = 10_000_000
"""Training tokens whose 8-grams are known."""

NAMES = ("repeated_ngrams", "distinct_ngrams", "self_bleu", "word_distance")
NO_TEXT = "the examples are no text"


def copied_text(evidence: Evidence) -> Section:
    """The longest run of tokens of each sample that the training text holds, compared with held-out texts."""
    held_out, samples = evidence.held_out.values, evidence.distinct.values
    # A longer text has a longer match by chance.
    length = min(held_out.shape[1], samples.shape[1])
    held_out, samples = held_out[:, :length], samples[:, :length]
    stream = token_stream(evidence.data.train)
    ours, real = (longest_matches(stream, values) for values in (samples, held_out))
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
        _mean("shared_ngrams", *_overlaps(evidence, samples, held_out, stream)),
    ]
    checks = [Comparison("copied_samples", share_difference(counts[0], len(ours), counts[1], len(real)))]
    figures = [_histogram(ours, real, int(threshold)), _longest(evidence, samples, ours, stream)]
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
        "self_bleu": lambda block: self_bleu(block, 4),
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
        if name == "self_bleu":
            continue  # reported only: distinct pairs of words decide
        if name == "distinct_ngrams":
            mine, theirs = 1.0 - mine, 1.0 - theirs
        checks.append(Comparison(name, mean_difference(mine, theirs, size, is_positive=True)))
    figures = [_repeating(evidence, ours), *_unlikely(evidence)]
    return Section("diverse", measurements, checks, figures, left_out, "repeated_ngrams")


def _words(evidence: Evidence, examples: Examples) -> list[list[str]]:
    texts = evidence.model.modality.texts
    return [] if texts is None else [text.split() for text in texts(examples.values)]


def _overlaps(
    evidence: Evidence, samples: np.ndarray, held_out: np.ndarray, stream: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The share of 8-grams of words of each sample and held-out text that the training text holds."""
    texts = evidence.model.modality.texts
    if texts is None:
        return np.zeros(0), np.zeros(0)
    training = texts(stream[None, :MAX_TRAINING].astype(np.int32))[0].split()
    ours, real = (ngram_overlap([text.split() for text in texts(values)], training) for values in (samples, held_out))
    return ours, real


def _mean(name: str, ours: np.ndarray, real: np.ndarray, size: int = 1) -> Measurement:
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


def _longest(evidence: Evidence, samples: np.ndarray, matches: np.ndarray, stream: np.ndarray) -> Figure:
    """The samples of the longest matches, these shaded."""
    chosen = np.argsort(-matches, kind="stable")[:NUM_SHOWN]
    depths = np.zeros((len(chosen), samples.shape[1]))
    for row, i in enumerate(chosen):
        windows = np.lib.stride_tricks.sliding_window_view(samples[i], max(matches[i], 1))
        start = next((at for at, window in enumerate(windows) if _occurs(window, stream)), 0)
        depths[row, start : start + matches[i]] = 1.0
    caption = "Samples with the longest runs of the training text, which are shaded."
    labels = [f"{matches[i]} tokens" for i in chosen]
    return _shaded("copied_texts", "Longest matches", caption, labels, _spans(evidence, samples[chosen], depths))


def _occurs(run: np.ndarray, stream: np.ndarray) -> bool:
    """Whether a run of tokens stands somewhere in a stream."""
    held, sought = stream.tobytes(), run.astype(stream.dtype).tobytes()
    at = held.find(sought)
    while at >= 0 and at % stream.itemsize:
        at = held.find(sought, at + 1)
    return at >= 0


def _unlikely(evidence: Evidence) -> list[Figure]:
    """The samples that the model itself finds the least likely, each token shaded by its bits."""
    token_nll, samples = evidence.model.token_nll, evidence.distinct.values[:NUM_SCORED]
    if token_nll is None:
        return []
    bits = token_nll(samples) / math.log(2)
    means = bits.sum(axis=1) / np.maximum((samples[:, 1:] >= 0).sum(axis=1), 1)
    chosen = np.argsort(-means, kind="stable")[:NUM_SHOWN]
    depths = np.pad(np.clip(bits[chosen] / MAX_BITS, 0.0, 1.0), ((0, 0), (1, 0)))
    caption = f"Tokens are shaded by their bits given those before, {MAX_BITS:g} and more the darkest."
    labels = [f"{means[i]:.2f} bits per token" for i in chosen]
    title = "Samples that the model itself finds the least likely"
    return [_shaded("unlikely_texts", title, caption, labels, _spans(evidence, samples[chosen], depths))]


def _spans(evidence: Evidence, samples: np.ndarray, depths: np.ndarray) -> list[list[tuple[str, float]]]:
    """The text of each token, with its depth of shade; neighbours of one depth together."""
    texts = evidence.model.modality.texts
    if texts is None:
        return []
    found = []
    for tokens, own in zip(samples, depths.round(1), strict=True):
        # A character of several tokens belongs to its first one.
        ends = [len(text) for text in texts(np.tril(tokens + 1) - 1)]
        whole = texts(tokens[None])[0]
        spans: list[tuple[str, float]] = []
        for start, end, depth in zip([0, *ends], ends, own.tolist(), strict=False):
            part = whole[start:end]
            if spans and spans[-1][1] == depth:
                spans[-1] = (spans[-1][0] + part, depth)
            elif part:
                spans.append((part, depth))
        found.append(spans)
    return found


def _shaded(
    name: str, title: str, caption: str, labels: Sequence[str], spans: Sequence[Sequence[tuple[str, float]]]
) -> Figure:
    items = [(label, "".join(part for part, _ in each)) for label, each in zip(labels, spans, strict=True)]
    return Texts(name, title, caption, items, spans)


def _repeating(evidence: Evidence, words: list[list[str]]) -> Figure:
    shares = repetition(words)
    chosen = np.argsort(-shares, kind="stable")[:NUM_SHOWN]
    items = [(f"{shares[i]:.0%}", " ".join(words[i])) for i in chosen]
    return Texts("repeating_texts", "Most repetitive samples", "By the share of repeated runs of four words.", items)
