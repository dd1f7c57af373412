"""Texts: runs of tokens copied from the training text; repetition, distinct words and their frequencies."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from aigc_jax.data.text import example_texts, token_stream
from aigc_jax.data.tokenizer import PAD
from aigc_jax.evaluation.blocks import BLOCK
from aigc_jax.evaluation.equivalence import Comparison
from aigc_jax.evaluation.section import Evidence, Section, proportion
from aigc_jax.metrics.differences import mean_difference, mean_ends, share_difference
from aigc_jax.metrics.divergence_frontier import mauve
from aigc_jax.metrics.matching import longest_matches
from aigc_jax.metrics.text import distinct, ngram_distance, ngram_overlap, repetition, self_bleu
from aigc_jax.report.criteria import COMPARISONS
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

MAX_TRAINING = 4_000_000
"""Training tokens that are searched: more would not fit into memory."""

MAX_REFERENCES = 10_000
"""Held-out texts that samples are compared with."""

REPEATING = 0.2
"""Share of repeated 4-grams above which a text counts as repeating itself."""

NO_HELD_OUT = "no held-out text is as long as a sample: name a longer text, or draw fewer tokens"
NAMES = ("repeating_texts", "repeated_ngrams", "distinct_ngrams", "self_bleu", "word_distance", "mauve")
NO_TEXT = "the examples are no text"

NUM_ENCODED = 2000
"""Texts of each side whose distributions are compared."""

NUM_COMPONENTS = 50
"""Components of the encoder of texts."""

PER_CLUSTER = 10
"""Texts of each side for one cluster of the divergence frontier."""


TextsFn = Callable[[np.ndarray], list[str]]
"""``tokens [num, L] -> texts``."""


def copied_text(evidence: Evidence, texts: TextsFn) -> Section:
    """The longest run of tokens of each sample that the training text holds, compared with held-out texts."""
    left_out = {name: "texts have no distance" for name in ("authenticity", "copying_test", "copying_worst_cell")}
    held_out = _held_out(evidence)
    if not len(held_out):
        left_out |= dict.fromkeys(("copied_samples", "longest_match", "shared_ngrams"), NO_HELD_OUT)
        return Section("not_copied", left_out=left_out)
    samples = evidence.distinct.values[:, : held_out.shape[1]]
    whole = token_stream(evidence.data.train)
    stream = whole[:MAX_TRAINING]
    note = f"Of {len(whole):,} training tokens {len(stream):,} are searched. " if len(whole) > len(stream) else ""
    ours, real = (longest_matches(stream, values) for values in (samples, held_out))
    threshold = int(np.sort(real)[::-1][int(TAIL * len(real))])
    low, _, high = mean_ends(ours.astype(np.float64), 0.025, len(ours))
    details: Details = {"reference": float(real.mean()), "reference_title": "held-out texts"}
    measurements = [
        measure("longest_match", float(ours.mean()), len(ours), **{**details, "low": low, "high": high}),
        _mean("shared_ngrams", *_overlaps(texts, samples, held_out, stream)),
    ]
    checks: list[Comparison] = []
    if threshold >= samples.shape[1] - 1:
        why = "whole held-out texts occur in the training text: no run could be longer"
        left_out = {"copied_samples": why, **left_out}
    else:
        counts = [int((side > threshold).sum()) for side in (ours, real)]
        note += f"A copy has a run of more than {threshold} tokens of the training text."
        details["reference"] = counts[1] / len(real)
        measurements.insert(0, proportion("copied_samples", counts[0], len(ours), note=note, **details))
        checks.append(Comparison("copied_samples", share_difference(counts[0], len(ours), counts[1], len(real))))
    figures = [_histogram(ours, real, threshold), _longest(texts, samples, ours, stream)]
    return Section("not_copied", measurements, checks, figures, left_out, measurements[0].name)


def diversity_of_text(evidence: Evidence) -> Section:
    """Repetition within texts; different words, and their frequencies, of blocks of texts."""
    texts = evidence.model.modality.texts
    if texts is None:
        return Section("diverse", left_out=dict.fromkeys(NAMES, NO_TEXT))
    held_out = _held_out(evidence)
    samples = evidence.distinct.values[:, : held_out.shape[1]]
    figures = [_repeating(texts, samples), *_unlikely(evidence, texts)]
    if not len(held_out):
        return Section("diverse", figures=figures, left_out=dict.fromkeys(NAMES, NO_HELD_OUT))
    ours, real = (whole_words(texts, values) for values in (samples, held_out))
    repeated, real_repeated = (repetition(side) for side in (ours, real))
    counts = [int((side > REPEATING).sum()) for side in (repeated, real_repeated)]
    details: Details = {"reference": counts[1] / len(real), "reference_title": "held-out texts"}
    measurements = [
        proportion("repeating_texts", counts[0], len(ours), **details),
        _mean("repeated_ngrams", repeated, real_repeated),
    ]
    checks = [Comparison("repeating_texts", share_difference(counts[0], len(ours), counts[1], len(real)))]
    left_out = {}
    for name, sides in _of_blocks(evidence, texts, ours, real).items():
        if any(len(side) == 0 for side in sides):
            left_out[name] = f"blocks of {BLOCK} texts are compared, and there is not one"
            continue
        measurements.append(_mean(name, *sides, BLOCK))
        if name in COMPARISONS:
            first, second = (1.0 - side if name == "distinct_ngrams" else side for side in sides)
            checks.append(Comparison(name, mean_difference(first, second, BLOCK, is_positive=True)))
    found = _frontier(evidence, texts, samples, held_out)
    if found is None:
        left_out["mauve"] = f"it takes {10 * PER_CLUSTER} samples, training and held-out texts each"
    else:
        measurements.append(found)
    return Section("diverse", measurements, checks, figures, left_out, "repeating_texts")


def _of_blocks(
    evidence: Evidence, texts: TextsFn, ours: list[list[str]], real: list[list[str]]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """``{name: (of samples, of held-out texts)}``, a value for each block: they depend on the number of texts."""
    length = evidence.samples.values.shape[1]
    reference = whole_words(texts, example_texts(evidence.data.train, length, BLOCK, evidence.model.modality))
    statistics: dict[str, Callable[[list[list[str]]], float]] = {
        "distinct_ngrams": lambda block: distinct(block, 2),
        "self_bleu": lambda block: self_bleu(block, 4),
        "word_distance": lambda block: ngram_distance(block, reference),
    }
    has_reference = len(reference) == BLOCK
    blocks = [
        [side[start : start + BLOCK] for start in range(0, len(side) - BLOCK + 1, BLOCK)] for side in (ours, real)
    ]
    found = {}
    for name, statistic in statistics.items():
        used = blocks if has_reference or name != "word_distance" else ([], [])
        first, second = (np.array([statistic(block) for block in side]) for side in used)
        found[name] = (first, second)
    return found


def _frontier(evidence: Evidence, texts: TextsFn, samples: np.ndarray, held_out: np.ndarray) -> Measurement | None:
    """MAUVE of samples and of held-out texts, each compared with as many training texts."""
    training = example_texts(evidence.data.train, samples.shape[1], NUM_ENCODED, evidence.model.modality)
    num = min(len(samples), len(held_out), len(training), NUM_ENCODED)
    if num < 10 * PER_CLUSTER:
        return None
    reference, ours, real = (texts(side[:num]) for side in (training, samples, held_out))
    encode = latent_semantics(reference)
    ours, real = (mauve(encode(reference), encode(side), num_clusters=num // PER_CLUSTER) for side in (ours, real))
    details: Details = {"reference": real, "reference_title": "held-out texts", "detail": "trigrams", "is_proxy": True}
    return measure("mauve", ours, num, **details)


def latent_semantics(training: Sequence[str]) -> Callable[[Sequence[str]], np.ndarray]:
    """An encoder of texts that is fitted to training texts: weighted trigrams of characters, their main components.

    Reference:
        Deerwester et al., "Indexing by Latent Semantic Analysis", 1990, with tf-idf weights.
    """
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    trigrams = TfidfVectorizer(analyzer="char", ngram_range=(3, 3), max_features=20_000, sublinear_tf=True)
    counts = trigrams.fit_transform(training)
    components = TruncatedSVD(min(NUM_COMPONENTS, counts.shape[1] - 1), random_state=0).fit(counts)
    return lambda found: components.transform(trigrams.transform(found))


def _held_out(evidence: Evidence) -> np.ndarray:
    """Held-out texts as the samples are: from their start on, and of their length."""
    length, modality = evidence.samples.values.shape[1], evidence.model.modality
    return example_texts(evidence.data.held_out, length, MAX_REFERENCES, modality)


def whole_words(texts: TextsFn, tokens: np.ndarray) -> list[list[str]]:
    """The words of texts, without the last one of a text that is cut where its tokens end."""
    found = [text.split() for text in texts(tokens)]
    return [words[:-1] if row[-1] >= 0 else words for words, row in zip(found, tokens, strict=True)]


def _overlaps(
    texts: TextsFn, samples: np.ndarray, held_out: np.ndarray, stream: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The share of 8-grams of words of each sample and held-out text that the training text holds."""
    training = texts(stream[None].astype(np.int32))[0].split()
    ours, real = (ngram_overlap(whole_words(texts, values), training) for values in (samples, held_out))
    return ours, real


def _mean(name: str, ours: np.ndarray, real: np.ndarray, size: int = 1) -> Measurement:
    details: Details = {"reference": float(real.mean()), "reference_title": "held-out texts"}
    # Of equal values there is no interval; the distance falls with the number of texts.
    if len(ours) > 1 and ours.std() > 0 and name != "word_distance":
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


def _longest(texts: TextsFn, samples: np.ndarray, matches: np.ndarray, stream: np.ndarray) -> Figure:
    """The samples of the longest matches, these shaded."""
    chosen = np.argsort(-matches, kind="stable")[:NUM_SHOWN]
    depths = np.zeros((len(chosen), samples.shape[1]))
    for row, i in enumerate(chosen):
        windows = np.lib.stride_tricks.sliding_window_view(samples[i], max(matches[i], 1))
        start = next((at for at, window in enumerate(windows) if _occurs(window, stream)), 0)
        depths[row, start : start + matches[i]] = 1.0
    caption = "Samples with the longest runs of the training text, which are shaded."
    labels = [f"{matches[i]} tokens" for i in chosen]
    return _shaded("copied_texts", "Longest matches", caption, labels, _spans(texts, samples[chosen], depths))


def _occurs(run: np.ndarray, stream: np.ndarray) -> bool:
    """Whether a run of tokens stands somewhere in a stream."""
    held, sought = stream.tobytes(), run.astype(stream.dtype).tobytes()
    at = held.find(sought)
    while at >= 0 and at % stream.itemsize:
        at = held.find(sought, at + 1)
    return at >= 0


def _unlikely(evidence: Evidence, texts: TextsFn) -> list[Figure]:
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
    return [_shaded("unlikely_texts", title, caption, labels, _spans(texts, samples[chosen], depths))]


def _spans(texts: TextsFn, samples: np.ndarray, depths: np.ndarray) -> list[list[tuple[str, float]]]:
    """The text of each token, with its depth of shade; neighbours of one depth together."""
    found = []
    for tokens, own in zip(samples, depths.round(1), strict=True):
        # A character of several tokens belongs to its first one.
        prefixes = np.where(np.tri(len(tokens), dtype=bool), tokens[None], PAD)
        ends = [len(text) for text in texts(prefixes)]
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


def _repeating(texts: TextsFn, samples: np.ndarray) -> Figure:
    words = whole_words(texts, samples)
    shares = repetition(words)
    chosen = np.argsort(-shares, kind="stable")[:NUM_SHOWN]
    items = [(f"{shares[i]:.0%}", " ".join(words[i])) for i in chosen]
    return Texts("most_repetitive", "Most repetitive samples", "By the share of repeated runs of four words.", items)
