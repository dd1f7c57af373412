"""The comparisons with real data that decide the criteria, and the margin of each.

``docs/report.md`` holds this table too; after a change, run ``python -m tests.report.document``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from aigc_jax.report.measurements import CriterionName

MAX_MARGIN = 100.0
"""The largest margin that a user may set, in percentage points."""


class ComparisonKind(NamedTuple):
    """A row of the table: a quantity that is compared with held-out data."""

    criterion: CriterionName
    title: str
    """The quantity, worse where larger: it follows the number of percentage points."""
    margin: float
    """By how many percentage points samples may be worse than held-out data: the shipped default."""
    definition: str


COMPARISONS: dict[str, ComparisonKind] = {
    "invalid_samples": ComparisonKind(
        "valid", "samples that the synthetic data set forbids", 1.0, "Share of samples that its rules forbid."
    ),
    "precision": ComparisonKind(
        "valid",
        "samples off the data",
        5.0,
        "1 - precision, with the first 1,000 training examples as the real set; held-out examples weighted to the "
        "classes that the samples are predicted to be of.",
    ),
    "class_agreement": ComparisonKind(
        "follows_condition",
        "samples of another class than requested",
        3.0,
        "1 - class agreement; held-out examples weighted to the requested classes.",
    ),
    "second_opinion": ComparisonKind(
        "follows_condition",
        "samples of another class by the second classifier",
        3.0,
        "1 - class agreement by the second classifier, likewise.",
    ),
    "repeatability": ComparisonKind(
        "consistent", "samples that change when drawn again", 0.0, "Number of samples that change: none may."
    ),
    "repeated_samples": ComparisonKind(
        "consistent",
        "repetitions among 1,000 samples",
        1.0,
        "Expected share of samples that equal an earlier one of 1,000 in a row, from the number of equal pairs among "
        "such.",
    ),
    "copied_samples": ComparisonKind(
        "not_copied",
        "samples that are copies of training examples",
        2.0,
        "Share of samples nearer to the training set than all but 1 % of held-out examples; of text, with a longer "
        "run of tokens of the training text.",
    ),
    "coverage": ComparisonKind(
        "diverse", "training examples without a sample near", 5.0, "1 - coverage, of blocks of 100 samples."
    ),
    "recall": ComparisonKind(
        "diverse", "training examples outside of the samples' manifold", 5.0, "1 - recall, of blocks of 100 samples."
    ),
    "density": ComparisonKind(
        "diverse",
        "density below that of real data",
        15.0,
        "Difference of the densities of blocks of 100 samples, relative to that of held-out examples.",
    ),
    "frechet_distance": ComparisonKind(
        "diverse",
        "Fréchet distance above that of real data",
        5.0,
        "Difference of the Fréchet distances of blocks of 100 to the training set, relative to the total variance of "
        "the training features.",
    ),
    "class_shares": ComparisonKind(
        "diverse",
        "samples by which classes are too frequent",
        5.0,
        "Total variation distance of the shares of predicted classes, for models without a condition.",
    ),
    "repeating_texts": ComparisonKind(
        "diverse",
        "texts that repeat themselves",
        5.0,
        "Share of texts in which more than a fifth of the runs of four words repeat an earlier one.",
    ),
    "distinct_ngrams": ComparisonKind(
        "diverse",
        "pairs of words that are not new among 100 texts",
        5.0,
        "1 - distinct-2, of blocks of 100 texts.",
    ),
    "word_distance": ComparisonKind(
        "diverse",
        "word distance above that of real text",
        5.0,
        "Jensen-Shannon distance of the frequencies of words to the training text, of blocks of 100 texts.",
    ),
    "variety": ComparisonKind(
        "diverse",
        "pairs of samples alike in a free attribute",
        5.0,
        "Probability that two samples of a condition have the same value of an attribute that the condition leaves "
        "free, by the synthetic data set; mean over attributes.",
    ),
}
"""All comparisons that a report may hold, by name."""

Margins = Mapping[str, float]
"""``{comparison: percentage points}`` where a user changes the default."""
