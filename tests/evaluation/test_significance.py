"""Hypothesis tests of the criteria: exact, judged together, wrong no more often than they say."""

import numpy as np
import pytest
from scipy import stats

from aigc_jax.evaluation import significance
from aigc_jax.evaluation.section import Section


def test_fisher_test_of_the_lady_tasting_tea():
    # Fisher 1935: three of four cups right, and one of the other four: p = 17 / 70.
    assert significance.fisher_test("cups", 3, 4, 1, 4).p_value == pytest.approx(17 / 70)
    assert significance.fisher_test("cups", 1, 4, 3, 4).p_value == pytest.approx(69 / 70)


def test_mantel_haenszel_test_ignores_shares_of_classes():
    # Class 1 is off the data in half of all real cases, class 0 never; the samples are of class 1 twice as often.
    stratum, real_stratum = np.repeat([0, 1], [100, 200]), np.repeat([0, 1], [200, 100])
    is_bad, is_real_bad = (each * (np.arange(300) % 2 == 0) == 1 for each in (stratum, real_stratum))
    assert significance.fisher_test("off", int(is_bad.sum()), 300, int(is_real_bad.sum()), 300).p_value < 1e-4
    assert significance.mantel_haenszel_test("off", is_bad, stratum, is_real_bad, real_stratum).p_value > 0.4
    is_worse = is_bad | (np.arange(300) % 5 == 0)
    assert significance.mantel_haenszel_test("off", is_worse, stratum, is_real_bad, real_stratum).p_value < 1e-4


def test_mantel_haenszel_test_of_one_stratum_is_nearly_fishers():
    is_bad, is_real_bad = np.arange(1000) < 130, np.arange(800) < 80
    one = significance.mantel_haenszel_test("off", is_bad, np.zeros(1000, int), is_real_bad, np.zeros(800, int))
    assert one.p_value == pytest.approx(significance.fisher_test("off", 130, 1000, 80, 800).p_value, rel=0.3)


def test_mantel_haenszel_test_of_few_cases_is_exact():
    # One of 20 samples, none of 1,000 real examples, ten classes: as rare as 2 of 102 in the one class that counts.
    stratum, real_stratum = np.arange(20) % 10, np.arange(1000) % 10
    is_bad = np.arange(20) == 0
    check = significance.mantel_haenszel_test("off", is_bad, stratum, np.zeros(1000, bool), real_stratum)
    assert check.p_value == pytest.approx(2 / 102)


def test_duplicate_test_compares_with_real_examples():
    # 12,497,500 pairs without a repeat: among 1,000 samples less than 0.2 are expected, at the bound.
    few = significance.duplicate_test("repeats", 1, 1000, real_pairs=0, num_real=5000)
    assert few.p_value == pytest.approx(1 - np.exp(-few.reference * 1000))
    assert few.p_value > 0.1
    assert significance.duplicate_test("repeats", 50, 1000, real_pairs=0, num_real=5000).p_value < 1e-30
    # A world of 288 examples repeats itself.
    pairs = 5000 * 4999 // 2 // 288
    assert significance.duplicate_test("repeats", 712, 1000, real_pairs=pairs, num_real=5000).p_value > 0.5


def test_homogeneity_test_ignores_kinds_that_do_not_occur():
    counts, real = np.array([30, 70, 0]), np.array([50, 50, 0])
    check = significance.homogeneity_test("kinds", counts, real)
    assert check.p_value == pytest.approx(stats.chi2.sf(2 * (20**2 / 80 + 20**2 / 120) / 2, 1), rel=1e-6)
    assert check.value == pytest.approx(0.2)
    assert significance.homogeneity_test("kinds", np.array([0, 9]), np.array([0, 4])).p_value == 1.0


def test_criteria_share_one_family_error():
    def check(p_value):
        return significance.Check("", 0.1, 0.0, p_value, False)

    valid, diverse = Section("valid", checks=[check(0.009)]), Section("diverse", checks=[check(0.5)])
    alone, many = significance.judge_criteria([valid]), significance.judge_criteria([valid, Section(), diverse])
    assert [criterion.has_failed for criterion in alone] == [True, None, None, None, None]
    assert [criterion.has_failed for criterion in many] == [False, None, None, None, False]


def test_criterion_without_checks_has_the_reason_and_no_number():
    section = Section("valid", left_out={"manifold_precision": "too few"}, headline="x")
    (criterion,) = [each for each in significance.judge_criteria([section]) if each.name == "valid"]
    assert (criterion.has_failed, criterion.why_not, criterion.headline) == (None, "too few", "")


def test_zero_tolerance_check_fails_on_one_case():
    assert significance.zero_tolerance_check("a", 1, 10**9).is_worse
    assert not significance.zero_tolerance_check("a", 0, 10).is_worse
    section = Section("valid", checks=[significance.zero_tolerance_check("a", 1, 10**9)])
    (criterion, *_) = significance.judge_criteria([section])
    assert criterion.has_failed


@pytest.mark.parametrize("kind", ["fisher_test", "homogeneity_test"])
def test_hypothesis_tests_reject_no_more_often_than_said(kind):
    rng, num_wrong, level = np.random.default_rng(0), 0, 0.05
    for _ in range(400):
        if kind == "fisher_test":
            check = significance.fisher_test("", int(rng.binomial(200, 0.1)), 200, int(rng.binomial(100, 0.1)), 100)
        else:
            counts = [np.bincount(rng.integers(5, size=n), minlength=5) for n in (300, 200)]
            check = significance.homogeneity_test("", *counts)
        num_wrong += check.p_value < level
    # An exact test may be wrong less often; 400 draws at 5 % give more than 33 in 1 of 1,000 cases.
    assert num_wrong <= 33


def rare_kinds(rng, n, num_kinds=60, num_dropped=0):
    """Kinds of which a few are common and most are rare; of the first, some may be lacking."""
    shares = np.where(np.arange(num_kinds) < 4, 20.0, 0.3) * (np.arange(num_kinds) >= num_dropped)
    return rng.multinomial(n, shares / shares.sum())


def test_homogeneity_test_of_rare_kinds_rejects_as_often_as_said(monkeypatch):
    monkeypatch.setattr(significance, "NUM_TABLES", 199)
    rng, num, p_values, asymptotic = np.random.default_rng(0), 300, [], []
    for _ in range(num):
        # Ten times as many real examples: of the rare kinds the samples have hardly any.
        counts, real = rare_kinds(rng, 60), rare_kinds(rng, 600)
        p_values.append(significance.homogeneity_test("", counts, real).p_value)
        occurs = counts + real > 0
        asymptotic.append(stats.chi2_contingency([counts[occurs], real[occurs]], correction=False)[1])
    low, high = stats.binom.ppf([0.005, 0.995], num, 0.05)
    assert low <= np.sum(np.array(p_values) <= 0.05) <= high
    assert 0.4 < np.mean(p_values) < 0.6
    assert np.sum(np.array(asymptotic) <= 0.05) > high  # Pearson's asymptotic distribution on the same tables


def test_homogeneity_test_finds_a_dropped_rare_kind():
    rng = np.random.default_rng(1)
    check = significance.homogeneity_test("", rare_kinds(rng, 200, num_dropped=1), rare_kinds(rng, 600))
    assert check.p_value == 1 / (1 + significance.NUM_TABLES)
    assert check.value > check.reference
    # The smallest p-value fails a criterion in a report of more checks than there are.
    assert check.p_value < significance.FAMILY_ERROR / 50


def test_homogeneity_test_of_two_kinds_is_fishers():
    table = np.array([[9, 1], [3, 5]])
    exact = stats.fisher_exact(table).pvalue
    assert significance.homogeneity_test("", *table).p_value == pytest.approx(exact, abs=0.01)
