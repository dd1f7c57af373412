"""Questions to a model of text: which answers are right, by which score the wrong ones are found, and what helps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from aigc_jax.guards.assess import Assessment, assess
from aigc_jax.guards.calibration import Threshold, calibrate
from aigc_jax.guards.conformal import AnswerSets, answer_sets
from aigc_jax.metrics.intervals import clopper_pearson
from aigc_jax.types import UsageError

NONE = ""
"""In the place of an answer that is not given."""


class Question(NamedTuple):
    """A question, its right answers, and those that are thinkable."""

    prompt: str
    right: frozenset[str]
    candidates: tuple[str, ...]


def questions_of(rows: Sequence[Mapping[str, Any]]) -> list[Question]:
    """The questions of rows with ``prompt``, ``answer`` and, optionally, ``relation``.

    Rows of one prompt, but for spaces at its end, are one question with several right answers. Thinkable are all
    answers to questions of its relations, or of all rows where none has one.

    Raises:
        UsageError: an answer is missing or has several lines, or a relation is no text.
    """
    right, relations = dict[str, set[str]](), dict[str, dict[str, None]]()
    by_relation = dict[str, dict[str, None]]()
    for number, row in enumerate(rows, 1):
        prompt, answer, relation = row["prompt"].rstrip(" "), row.get("answer"), row.get("relation") or ""
        if not isinstance(answer, str) or not answer.strip() or "\n" in answer:
            raise UsageError(f"expected an answer of one line in row {number}, got {str(answer)[:40]!r}: write one")
        if not isinstance(relation, str):
            raise UsageError(f"expected a text as relation in row {number}, got {str(relation)[:40]!r}: write its name")
        right.setdefault(prompt, set()).add(answer.strip())
        relations.setdefault(prompt, {})[relation] = None
        by_relation.setdefault(relation, {})[answer.strip()] = None
    return [
        Question(
            prompt,
            frozenset(own),
            tuple(dict.fromkeys(each for name in relations[prompt] for each in by_relation[name])),
        )
        for prompt, own in right.items()
    ]


class Outcome(NamedTuple):
    """The answers of one method to some questions."""

    name: str
    is_right: Bool[np.ndarray, " question"]
    is_wrong: Bool[np.ndarray, " question"]
    seconds: float
    """Time for all of them."""


def outcome(name: str, questions: Sequence[Question], answers: Sequence[str], seconds: float) -> Outcome:
    """Which answers are right, and which wrong; an answer that is :data:`NONE` is neither."""
    is_right = np.array([answer in question.right for question, answer in zip(questions, answers, strict=True)], bool)
    is_given = np.array([answer != NONE for answer in answers], bool)
    return Outcome(name, is_right, is_given & ~is_right, seconds)


def numbered(
    answers: Sequence[str], samples: Sequence[Sequence[str]]
) -> tuple[Int[np.ndarray, "question 1"], Int[np.ndarray, "question sample 1"]]:
    """Answers and samples as numbers, the same where the texts are, for :mod:`aigc_jax.guards.last_word`."""
    ids: dict[str, int] = {}
    drawn = [[ids.setdefault(sample, len(ids)) for sample in given] for given in samples]
    own = [ids.setdefault(answer, len(ids)) for answer in answers]
    return np.array(own, np.int32)[:, None], np.array(drawn, np.int32)[..., None]


def entropy_of_candidates(log_probs: Sequence[Float[np.ndarray, " _"]]) -> Float[np.ndarray, " question"]:
    """The entropy in nats of the model's choice among the candidates of each question."""
    found = []
    for own in log_probs:
        log_shares = _log_shares(own)
        found.append(-float(np.sum(np.exp(log_shares) * np.where(np.isfinite(log_shares), log_shares, 0.0))))
    return np.array(found)


def _log_shares(log_probs: Float[np.ndarray, " candidate"]) -> Float[np.ndarray, " candidate"]:
    """Of the candidates' probability together; equal ones where none has any."""
    total = np.logaddexp.reduce(log_probs)
    return log_probs - total if np.isfinite(total) else np.full(len(log_probs), -np.log(len(log_probs)))


def probe(
    features: Float[np.ndarray, "question feature"], is_wrong: Bool[np.ndarray, " question"], is_test: np.ndarray
) -> Float[np.ndarray, " question"]:
    """A linear probe's log-odds that an answer is wrong, learned where ``is_test`` is not; NaN of one-sided ones.

    Reference:
        Azaria and Mitchell, "The Internal State of an LLM Knows When It's Lying", 2023, with a linear classifier.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    known = is_wrong[~is_test]
    if known.all() or not known.any():
        return np.full(len(is_wrong), np.nan)
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
    classifier.fit(features[~is_test], known)
    return np.asarray(classifier.decision_function(features))


class Study(NamedTuple):
    """What is measured on the questions that calibrated nothing."""

    outcomes: Sequence[Outcome]
    """The first is the plain model's."""
    detectors: Mapping[str, Assessment]
    """Of its wrong answers."""
    threshold: Threshold
    """Of the plain answers that are given, by their probability."""
    sets: AnswerSets
    coverage: tuple[int, int]
    """Of how many questions the set holds a right answer, of how many."""
    set_sizes: np.ndarray
    is_known: Bool[np.ndarray, " question"]
    """Whether a right answer is among the known statements."""


def study(
    questions: Sequence[Question],
    outcomes: Sequence[Outcome],
    scores: Mapping[str, Float[np.ndarray, " question"]],
    log_probs: Sequence[Float[np.ndarray, " _"]],
    is_known: Bool[np.ndarray, " question"],
    is_test: Bool[np.ndarray, " question"],
    *,
    alpha: float,
) -> Study:
    """Calibrate abstention and answer sets on one half of the questions, and measure all on the other.

    Args:
        questions: all of them.
        outcomes: of all questions; the first one is the plain model's.
        scores: of its answers, higher is less reliable; the first one decides about abstention.
        log_probs: of the candidates of each question.
        is_known: whether a right answer is among the known statements.
        is_test: the half that is measured on.
        alpha: the risk of the answers that are given, and of sets without a right answer.
    """
    plain, score = outcomes[0], next(iter(scores.values()))
    # Of the answers that are given: silence is never wrong, and would hide how many of these are.
    is_given = plain.is_right | plain.is_wrong
    known, asked = is_given & ~is_test, is_given & is_test
    threshold = Threshold(-math.inf, 0.0, math.nan, alpha, 0.05, 0, 0)
    if known.any():
        threshold = calibrate(score[known], plain.is_wrong[known], alpha)
    accepted = threshold.accepts(score)
    abstaining = Outcome(
        f"plain, silent where unsure (risk {alpha:g})",
        plain.is_right & accepted,
        plain.is_wrong & accepted,
        plain.seconds,
    )
    shares = [np.exp(_log_shares(own)) for own in log_probs]
    is_right = [np.array([each in question.right for each in question.candidates]) for question in questions]
    # Of several right answers the likeliest one: a set with any of them answers the question.
    truth = np.array([own[right].max(initial=0.0) for own, right in zip(shares, is_right, strict=True)])
    sets = answer_sets(truth[~is_test], alpha)
    chosen = [sets.sets(own[None])[0] for own in shares]
    holds = np.array([bool((own & right).any()) for own, right in zip(chosen, is_right, strict=True)])[is_test]
    detectors = {name: assess(values[asked], plain.is_wrong[asked]) for name, values in scores.items() if asked.any()}
    kept = [
        each._replace(is_right=each.is_right[is_test], is_wrong=each.is_wrong[is_test])
        for each in [
            *outcomes,
            abstaining,
        ]
    ]
    sizes = np.array([int(own.sum()) for own in chosen])[is_test]
    return Study(kept, detectors, threshold, sets, (int(holds.sum()), len(holds)), sizes, is_known[is_test])


def share_line(count: int, num: int) -> str:
    """A share with its exact interval: ``0.412 [0.380, 0.445]``."""
    if not num:
        return "-"
    low, high = clopper_pearson(count, num)
    return f"{count / num:.3f} [{low:.3f}, {high:.3f}]"
