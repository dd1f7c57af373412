"""The table of all measurements of a report, by criterion, and the measurement itself.

``docs/report.md`` holds this table too; after a change, run ``python -m tests.report.document``.
"""

from __future__ import annotations

import functools
from typing import Literal, NamedTuple, TypedDict, Unpack

CriterionName = Literal["valid", "follows_condition", "consistent", "not_copied", "diverse"]
"""The five criteria."""

CRITERION_TITLES: dict[CriterionName, str] = {
    "valid": "Valid",
    "follows_condition": "Follows its condition",
    "consistent": "Consistent",
    "not_copied": "Not copied",
    "diverse": "Diverse and faithful",
}
"""Titles of the criteria, in the order of the page."""

Unit = Literal["share", "distance", "score", "nats", "decibel"]


class MeasurementKind(NamedTuple):
    """A row of the table: everything about a measurement that does not depend on the model."""

    criterion: CriterionName
    title: str
    note: str
    """Its definition, and how to read it."""
    unit: Unit = "share"
    has_interval: bool = True
    """Gate files can limit the ends of a 95 % interval too."""
    lower_is_better: bool = False
    long_title: str = ""
    """Title with its detail, as ``"FD[{}]"``; ``"title: detail"`` by default."""


_valid, _condition, _consistent, _copied, _diverse = (
    functools.partial(MeasurementKind, name) for name in CRITERION_TITLES
)
_exact = functools.partial(_valid, has_interval=False, lower_is_better=True)
_score = functools.partial(_diverse, unit="score", has_interval=False)
_distance = functools.partial(_diverse, unit="distance", has_interval=False, lower_is_better=True)

MEASUREMENTS: dict[str, MeasurementKind] = {
    "valid_samples": _valid(
        "valid samples",
        "Share of samples that are valid by the rules of a synthetic data set; the others are hallucinations.",
    ),
    "manifold_precision": _valid(
        "precision",
        "Improved precision: share of samples within the distance from one of the first 1,000 training examples to its "
        "3rd nearest neighbour, in feature space. Held-out examples do not reach 100 % either: compare with them.",
    ),
    "hallucination_rate": _exact(
        "hallucination rate",
        "Probability that the model's text is false, 1 - g(true statements), from its probability of every possible "
        "statement of a synthetic data set: exact, at temperature 1; valid samples are counted as they are drawn.",
    ),
    "hallucination_bound": _exact(
        "bound of the hallucination rate",
        "Monofact rate - miscalibration - an error term that is known exactly: no model of that miscalibration "
        "hallucinates less (Kalai and Vempala 2024). Below 0 it says nothing.",
        lower_is_better=False,
    ),
    "monofact_rate": _exact(
        "monofact rate",
        "Share of training statements that occur there once: the Good-Turing estimate of how much of what is true the "
        "training set never states. A calibrated model hallucinates about as often.",
    ),
    "missing_mass": _exact(
        "missing mass", "Probability that a true statement is one that the training set never states."
    ),
    "miscalibration_20": _exact(
        "miscalibration, 20 bins",
        "Half the sum over bins of |p(bin) - g(bin)|: statements in the order of the model's probability g, in 20 bins "
        "of about equal mass, p the probability of true statements.",
    ),
    "miscalibration_100": _exact("miscalibration, 100 bins", "Likewise of 100 bins: more bins find more."),
    "class_agreement": _condition(
        "class agreement",
        "Share of samples of the requested class, as the classifier predicts it, or as the rules of a synthetic "
        "data set decide it (invalid samples count as wrong). A classifier's errors on real examples limit the "
        "share.",
    ),
    "corrected_agreement": _condition(
        "corrected class agreement",
        "Class agreement corrected for the classifier's errors by its confusion matrix on real examples; assumes "
        "the same error rates on samples.",
    ),
    "second_opinion": _condition(
        "second opinion",
        "Share of samples in which a second classifier, of another architecture, predicts the requested class. Far "
        "below class agreement while both classify real examples equally well: the samples fool the first "
        "classifier alone. Both learned from the same training examples, so common weaknesses stay hidden.",
    ),
    "worst_class": _condition(
        "worst class", "Class agreement of the class that has the lowest; as a minimum over classes, biased low."
    ),
    "unseen_combinations": _condition(
        "unseen combinations", "Class agreement under conditions that do not occur in the training data."
    ),
    "classifier_accuracy": _condition(
        "classifier accuracy",
        "Accuracy of the classifier on held-out real examples; it limits how far its predictions can be trusted.",
    ),
    "accuracy_from_samples": _condition(
        "learned from samples, tested on real",
        "Classification accuracy score: accuracy on held-out real examples of a classifier trained on samples alone.",
    ),
    "accuracy_on_samples": _condition(
        "learned from real, tested on samples",
        "Accuracy on samples, against the requested class, of a classifier trained on real examples.",
    ),
    "repeatability": _consistent(
        "C0, equal repeats",
        "Share of samples that are equal when drawn again from the same keys, within the rounding of the way they "
        "were computed.",
    ),
    "distinct_samples": _consistent(
        "C0, distinct samples",
        "Share of samples that equal no earlier sample. A low share: keys are used twice, or the model can make "
        "only few different samples.",
    ),
    "seed_consistency": _consistent(
        "C1, across seeds",
        "1 - H(class given condition) / ln K, mean over conditions: 1 if all seeds give the same class. The "
        "interval is conservative, and widest where conditions have few samples.",
    ),
    "model_consistency": _consistent(
        "C2, across models", "Share of samples similar to the other model's sample of the same noise."
    ),
    "checkpoint_consistency": _consistent(
        "C3, across checkpoints", "Share of samples similar to an earlier checkpoint's sample of the same noise."
    ),
    "perturbation": _consistent(
        "C4, a latent moved a little",
        "Share of samples that stay similar when one hundredth of the latent's variance is drawn anew.",
    ),
    "latent_sensitivity": _consistent(
        "C4, change per unit of latent",
        "Median change of a sample per unit of change of its latent: the exact derivative along one random "
        "direction each. Compare models of the same latents and examples only.",
        unit="score",
        lower_is_better=True,
    ),
    "step_consistency": _consistent(
        "C4, twice the steps", "Share of samples that stay similar when the sampler takes twice as many steps."
    ),
    "half_precision": _consistent(
        "C4, weights in half precision",
        "Share of samples that stay similar when weights are rounded from float32 to bfloat16.",
    ),
    "copied_samples": _copied(
        "copied samples",
        "Share of samples whose calibrated distance (to the nearest training example, over half the mean distance "
        "to the 50 nearest) is below that of all but 1 % of held-out examples.",
        lower_is_better=True,
    ),
    "longest_match": _copied(
        "longest match with the training text",
        "Number of tokens in a row that a sample shares with the training text, the mean over samples, each cut to the "
        "length of held-out windows.",
        unit="score",
        lower_is_better=True,
    ),
    "shared_ngrams": _copied(
        "8-grams of the training text",
        "Share of a text's runs of eight words that occur in the training text (Radford et al. 2019); mean over texts.",
        lower_is_better=True,
    ),
    "authenticity": _copied(
        "authenticity",
        "AuthPct: share of samples farther from their nearest training example than that one from its own nearest "
        "neighbour. The share of held-out examples is the reference; it is not one half.",
    ),
    "copying_test": _copied(
        "C_T",
        "Three-sample test of data copying: z value of the distances to the training set, samples against held-out "
        "examples, mean over cells. Far below 0: copying; far above: underfitting. Both can cancel out, so see the "
        "worst cell too.",
        unit="score",
        has_interval=False,
    ),
    "copying_worst_cell": _copied(
        "C_T, worst cell",
        "The lowest z value of any cell of C_T: copying in one part of the data.",
        unit="score",
        has_interval=False,
        long_title="C_T, worst of {} cells",
    ),
    "manifold_recall": _diverse(
        "recall",
        "Improved recall: share of training examples within the distance from some sample to its 3rd nearest "
        "neighbour among the samples, in feature space; mean over blocks of 100 samples and of 100 training examples.",
    ),
    "density": _score(
        "density",
        "Mean number of training examples, over k, whose neighbourhood (up to their k-th neighbour) contains a "
        "sample; 1 for samples of the data distribution. Of blocks as recall is.",
        has_interval=True,
    ),
    "coverage": _diverse(
        "coverage",
        "Share of training examples with a sample within the distance to their 5th nearest neighbour; of blocks as "
        "recall is. As many held-out examples do not reach 100 % either.",
    ),
    "modes_covered": _diverse(
        "modes covered",
        "Share of the modes of a synthetic data set that at least one valid sample belongs to.",
        has_interval=False,
    ),
    "frechet_distance": _distance(
        "FD",
        "Fréchet distance between the features of samples and of held-out examples. It shrinks as n grows: compare "
        "with the real data's at the same n only, and never across encoders.",
        long_title="FD[{}]",
    ),
    "frechet_infinity": _distance(
        "FD∞",
        "Fréchet distance extrapolated to infinitely many examples by a line over 1 / n: no bias, but more "
        "variance; slightly below 0 is possible.",
        long_title="FD∞[{}]",
    ),
    "kernel_distance": _distance(
        "KID",
        "Kernel distance: unbiased squared MMD with a cubic kernel, of the same features. It may be negative, and "
        "is where both sets have equally many examples of each class: compare with the real data's.",
        long_title="KID[{}]",
    ),
    "cmmd": _distance(
        "CMMD",
        "1000 times the squared MMD with a Gaussian kernel (sigma 10) of features of unit length; it shrinks as n "
        "grows.",
        long_title="CMMD[{}]",
    ),
    "inception_score": _score(
        "inception-style score",
        "exp of the mean divergence of the class probabilities of a sample from those of all samples, by the "
        "classifier; it does not look at the data.",
    ),
    "vendi_score": _score(
        "Vendi score", "Effective number of different samples, by the cosine similarity of their features."
    ),
    "repeating_texts": _diverse(
        "texts that repeat themselves",
        "Share of texts in which more than a fifth of the runs of four words repeat an earlier one of the same text.",
        lower_is_better=True,
    ),
    "repeated_ngrams": _diverse(
        "repeated 4-grams",
        "Share of a text's runs of four words that repeat an earlier one of the same text (seq-rep-4); mean over "
        "texts.",
        lower_is_better=True,
    ),
    "distinct_ngrams": _diverse(
        "distinct 2-grams",
        "Share of different pairs of words among all pairs of 100 texts (distinct-2), mean over blocks.",
    ),
    "self_bleu": _score(
        "self-BLEU",
        "BLEU-4 of each of 100 texts with the others as references, mean over texts and blocks: high where texts "
        "repeat each other.",
        lower_is_better=True,
    ),
    "word_distance": _distance(
        "word distance",
        "Jensen-Shannon distance of the frequencies of words of 100 texts to those of as many training texts; mean "
        "over blocks.",
    ),
    "mauve": _score(
        "MAUVE",
        "Area under the divergence frontier of samples and as many training texts over clusters of their features: 1 "
        "for equal distributions. It depends on encoder and number: compare with the real texts' of one report.",
        long_title="MAUVE[{}]",
    ),
    "path_length": _score(
        "path length",
        "Mean squared speed of the classifier's features along paths between latents, without the outer 1 %: small "
        "for a smooth model.",
        lower_is_better=True,
    ),
    "log_prob": _diverse(
        "log density",
        "Mean log density of samples under a synthetic data set. Below the real data's: samples lie too far out; "
        "above: too near the centres of modes.",
        unit="nats",
        has_interval=False,
    ),
    "reconstruction_ssim": _diverse(
        "reconstruction SSIM",
        "Mean structural similarity of held-out images and their reconstructions by encoder and decoder, without "
        "noise; 1 for equal images. Gaussian windows of 11 x 11 pixels; bootstrap interval over images.",
        unit="score",
    ),
    "reconstruction_psnr": _diverse(
        "reconstruction PSNR",
        "Mean peak signal-to-noise ratio of the same pairs; at most 58.9 dB per image, the error of rounding to 8 "
        "bits. Bootstrap interval over images.",
        unit="decibel",
    ),
    "reconstruction_mse": _diverse(
        "reconstruction MSE",
        "Mean squared error of the same pairs, pixels in [-1, 1]. Bootstrap interval over images.",
        unit="distance",
        lower_is_better=True,
    ),
    "reconstruction_ms_ssim": _diverse(
        "reconstruction MS-SSIM",
        "Mean structural similarity of the same pairs at five scales, for images of 161 pixels or more; 1 for "
        "equal images. Bootstrap interval over images.",
        unit="score",
    ),
}
"""All measurements that a report may hold, by name, in the order of tables."""


class Measurement(NamedTuple):
    """One measured number and all that is needed to read it."""

    name: str
    """Its key in :data:`MEASUREMENTS`, for scripts and gates."""
    title: str
    """Its title for people, with its detail."""
    value: float
    n: int
    """Number of samples it was measured on."""
    unit: str
    note: str
    low: float | None = None
    """Lower end of the 95 % interval."""
    high: float | None = None
    reference: float | None = None
    """The same measurement of real examples at the same n, or the best that can be expected."""
    reference_title: str = ""
    is_proxy: bool = False
    """Whether a learned model (a classifier, an encoder) stands in for the truth."""
    lower_is_better: bool = False
    detail: str = ""
    """The class, encoder or variant that it is of; "" for none."""

    @property
    def criterion(self) -> CriterionName | None:
        """The criterion that it belongs to; None for a name that the table does not hold."""
        return MEASUREMENTS[self.name].criterion if self.name in MEASUREMENTS else None


class Details(TypedDict, total=False):
    """Fields of a :class:`Measurement` that its row of the table does not decide."""

    low: float | None
    high: float | None
    reference: float | None
    reference_title: str
    is_proxy: bool
    detail: str


def measure(name: str, value: float, n: int, *, note: str = "", **details: Unpack[Details]) -> Measurement:
    """A measurement with the title, unit and note of its row of :data:`MEASUREMENTS`.

    ``detail`` becomes a part of the title, as in ``FD[digits classifier]``; ``note`` is added to the table's.
    """
    kind, detail = MEASUREMENTS[name], details.get("detail")
    title = (kind.long_title or kind.title + ": {}").format(detail) if detail else kind.title
    note, is_lower = f"{kind.note} {note}".strip(), kind.lower_is_better
    return Measurement(name, title, value, n, kind.unit, note, lower_is_better=is_lower, **details)
