"""Studies of questions: what counts as right, wrong and missing, and promises that hold on the other half."""

import numpy as np
import pytest
from scipy.stats import entropy
from sklearn.metrics import roc_auc_score

from aigc_jax.evaluation.questions import (
    Outcome,
    Question,
    entropy_of_candidates,
    numbered,
    outcome,
    probe,
    questions_of,
    study,
)
from aigc_jax.types import UsageError


def test_questions_of_rows_join_right_answers_and_candidates_of_a_relation():
    rows = [
        {"prompt": "Ann likes", "answer": "tea.", "relation": "likes"},
        {"prompt": "Ann likes", "answer": " jam. ", "relation": "likes"},
        {"prompt": "Ann is", "answer": "old.", "relation": "is"},
    ]
    assert questions_of(rows) == [
        Question("Ann likes", frozenset({"tea.", "jam."}), ("tea.", "jam.")),
        Question("Ann is", frozenset({"old."}), ("old.",)),
    ]


def test_questions_of_one_prompt_have_the_candidates_of_all_its_relations():
    rows = [{"prompt": "a", "answer": "x", "relation": "r"}, {"prompt": "a ", "answer": "y", "relation": "s"}]
    assert questions_of([*rows, {"prompt": "b", "answer": "z", "relation": "s"}])[0] == Question(
        "a", frozenset({"x", "y"}), ("x", "y", "z")
    )


def test_questions_without_a_relation_may_say_so():
    assert questions_of([{"prompt": "a", "answer": "x", "relation": None}])[0].candidates == ("x",)
    with pytest.raises(UsageError, match="a text as relation in row 1"):
        questions_of([{"prompt": "a", "answer": "x", "relation": 3}])


@pytest.mark.parametrize("answer", [None, "", " ", "a\nb", 3])
def test_questions_of_rows_refuse_other_answers(answer):
    with pytest.raises(UsageError, match="an answer of one line in row 1"):
        questions_of([{"prompt": "a", "answer": answer}])


def test_outcome_tells_right_wrong_and_missing_answers_apart():
    questions = [Question("a", frozenset({"x", "y"}), ("x", "y"))] * 3
    found = outcome("some", questions, ["y", "z", ""], 1.0)
    assert found.is_right.tolist() == [True, False, False]
    assert found.is_wrong.tolist() == [False, True, False]


def test_numbered_answers_are_equal_where_texts_are():
    own, drawn = numbered(["b", "c"], [["a", "b", "a"], ["b", "b", "b"]])
    assert (drawn[..., 0] == own).tolist() == [[False, True, False], [False, False, False]]
    assert drawn[0, 0] == drawn[0, 2]


def test_entropy_of_candidates_is_that_of_their_shares():
    logs = [np.log([0.2, 0.1, 0.1]), np.array([-1e3, -1e3 - np.log(3)]), np.array([0.0, -np.inf]), np.full(2, -np.inf)]
    expected = [entropy([2, 1, 1]), entropy([3, 1]), 0.0, np.log(2)]
    np.testing.assert_allclose(entropy_of_candidates(logs), expected, rtol=1e-12)


def test_probe_learns_on_one_half_and_ranks_the_other(rng):
    is_wrong = rng.random(400) < 0.4
    features = rng.normal(size=(400, 6)) + is_wrong[:, None] * np.eye(6)[2] * 3
    is_test = np.arange(400) % 2 == 0
    found = probe(features, is_wrong, is_test)
    assert roc_auc_score(is_wrong[is_test], found[is_test]) > 0.9  # 0.98 for the one feature that knows
    # What the test half says changes nothing: it was not learned from.
    np.testing.assert_array_equal(found, probe(features, np.where(is_test, ~is_wrong, is_wrong), is_test))
    assert np.isnan(probe(features, np.zeros(400, bool), is_test)).all()


def test_study_abstains_and_answers_in_sets_as_promised(rng):
    """A calibrated model of 4 candidates: its probability of its answer is that of being right."""
    num, alpha = 4000, 0.1
    shares = rng.dirichlet(np.full(4, 0.15), size=num)
    truth = np.array([rng.choice(4, p=row) for row in shares])
    questions = [Question(str(i), frozenset({"abcd"[k]}), tuple("abcd")) for i, k in enumerate(truth)]
    best = shares.argmax(axis=1)
    plain = Outcome("plain", best == truth, best != truth, 1.0)
    scores = {"probability": -shares.max(axis=1), "noise": rng.random(num)}
    is_test = rng.permutation(num) % 2 == 0
    logs = list(np.log(np.maximum(shares, 1e-300)) - 7.0)  # up to a constant
    found = study(questions, [plain], scores, logs, np.zeros(num, bool), is_test, alpha=alpha)
    kept = found.outcomes[-1]
    given = kept.is_right.sum() + kept.is_wrong.sum()
    assert found.threshold.is_certified
    assert 0.2 < given / 2000 < 1
    # The promise is of the risk, here seen in a draw of its own.
    assert kept.is_wrong.sum() / given < alpha + 4 * np.sqrt(alpha * (1 - alpha) / given)
    held, num_test = found.coverage
    assert abs(held / num_test - (1 - alpha)) < 4 * np.sqrt(2 * alpha * (1 - alpha) / num_test)
    assert found.set_sizes.mean() < 3
    assert found.detectors["probability"].verdict == "useful"
    assert found.detectors["noise"].auc.value < 0.6


def test_study_promises_nothing_of_wrong_answers_among_silence(rng):
    """Of 95 % of the questions nothing is said, and all other answers are wrong."""
    num = 2000
    questions = [Question(str(i), frozenset({"a"}), ("a", "b")) for i in range(num)]
    is_wrong = np.arange(num) % 20 == 0
    plain = Outcome("plain", np.zeros(num, bool), is_wrong, 1.0)
    logs = [np.log([0.5, 0.5])] * num
    is_test = rng.permutation(num) % 2 == 0
    found = study(questions, [plain], {"noise": rng.random(num)}, logs, np.zeros(num, bool), is_test, alpha=0.1)
    assert not found.threshold.is_certified
    assert not found.outcomes[-1].is_wrong.any()
    none = plain._replace(is_wrong=np.zeros(num, bool))
    found = study(questions, [none], {"noise": rng.random(num)}, logs, np.zeros(num, bool), is_test, alpha=0.1)
    assert not found.threshold.is_certified
    assert found.detectors == {}
