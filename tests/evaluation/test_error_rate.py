"""Whole reports, 200 times: a perfect sampler fails nothing, and wrong decisions are as seldom as stated."""

import numpy as np
import pytest
from scipy import stats

from aigc_jax.evaluation import equivalence
from aigc_jax.evaluation.blocks import BLOCK, block_statistics, make_reference
from aigc_jax.evaluation.equivalence import FAMILY_ERROR, Comparison, checks_of
from aigc_jax.metrics.differences import (
    mean_difference,
    pair_difference,
    repeat_difference,
    share_difference,
    stratified_shares,
    total_variation,
)
from aigc_jax.metrics.text import distinct, ngram_distance
from aigc_jax.report.criteria import COMPARISONS
from tests.evaluation.planted import MEANS
from tests.evaluation.planted_text import written

NUM, NUM_REAL, NUM_CLASSES = 200, 3000, 10
SHARES = {
    "invalid_samples": 0.001,
    "precision": 0.1,
    "class_agreement": 0.015,
    "second_opinion": 0.02,
    "repeating_texts": 0.01,
}
"""How often a defect is found in real data."""


@pytest.fixture(scope="module")
def blocks():
    """Statistics of many blocks of real data, and of a model that never draws one mode of ten."""
    rng = np.random.default_rng(0)

    def points(num, num_modes):
        return MEANS[rng.integers(num_modes, size=num)] + 0.5 * rng.normal(size=(num, 8))

    reference = make_reference(points(2 * BLOCK, 10), 5)
    real, worse = (block_statistics(points(100 * BLOCK, modes), reference, 3, 5) for modes in (10, 9))
    signs = {"coverage": -1.0, "recall": -1.0, "density": -1.0, "frechet_distance": 1.0 / reference.variance}
    offsets = {"coverage": 1.0, "recall": 1.0}
    language = [[written(0, i, 0) for i in range(BLOCK * block, BLOCK * (block + 1))] for block in range(41)]
    # The same texts again and again: fewer different pairs of words, and their frequencies are further off.
    narrow = [block[: BLOCK // 2] * 2 for block in language]
    return [
        {name: offsets.get(name, 0.0) + sign * side[name] for name, sign in signs.items()}
        | {
            "distinct_ngrams": np.array([1 - distinct(block, 2) for block in texts[1:]]),
            "word_distance": np.array([ngram_distance(block, language[0]) for block in texts[1:]]),
        }
        for side, texts in ((real, language), (worse, narrow))
    ]


class Model:
    """A model that is worse than real data by its margin in everything, or in nothing."""

    def __init__(self, is_worse, blocks):
        self.is_worse, (self.real, worse) = is_worse, blocks
        self.own = worse if is_worse else self.real
        self.values = np.full(12, 1 / 12)  # of an attribute that the condition leaves free
        self.own_values = 0.8 * self.values + 0.2 * np.eye(12)[0] if is_worse else self.values
        self.num_distinct, self.own_distinct = 50_000, 10_000 if is_worse else 50_000
        self.margins = {}
        if is_worse:
            self.margins = {name: 100 * float(self.own[name].mean() - self.real[name].mean()) for name in self.own}
            self.margins["variety"] = 100 * float((self.own_values**2).sum() - 1 / 12)
            expected = [1000 / self.own_distinct, 1000 / self.num_distinct]
            ours, real = (1 + np.expm1(-each) / each for each in expected)
            self.margins["repeated_samples"] = 100 * float(ours - real)

    def margin(self, name):
        return COMPARISONS[name].margin / 100 if self.is_worse else 0.0

    def comparisons(self, rng, n):
        found = {}
        for name, share in SHARES.items():
            ours, real = (rng.random(num) < each for num, each in ((n, share + self.margin(name)), (NUM_REAL, share)))
            found[name] = share_difference(int(ours.sum()), n, int(real.sum()), NUM_REAL)
            if name not in ("invalid_samples", "repeating_texts"):
                classes = [rng.integers(NUM_CLASSES, size=len(each)) for each in (ours, real)]
                found[name] = stratified_shares(ours, classes[0], real, classes[1])
        # The threshold is that of 1 % of the held-out examples.
        real, nearness = rng.random(NUM_REAL), rng.random(n)
        threshold = np.sort(real)[NUM_REAL // 100 - 1]
        copies = (nearness < threshold) | (rng.random(n) < self.margin("copied_samples") / (1 - 0.01))
        found["copied_samples"] = share_difference(int(copies.sum()), n, NUM_REAL // 100, NUM_REAL)
        excess = 2 * self.margin("class_shares") * np.where(np.arange(NUM_CLASSES) < 5, 1, -1)
        sets = rng.choice(NUM_CLASSES, n, p=(1 + excess) / NUM_CLASSES), rng.integers(NUM_CLASSES, size=NUM_REAL)
        found["class_shares"] = total_variation(*sets)
        values = rng.choice(12, n, p=self.own_values), rng.choice(12, NUM_REAL, p=self.values)
        found["variety"] = pair_difference(values, [np.zeros(len(each), int) for each in values])
        draws = rng.integers(self.own_distinct, size=n), rng.integers(self.num_distinct, size=2 * NUM_REAL)
        found["repeated_samples"] = repeat_difference(*draws)
        for name in self.own:
            sides = rng.choice(self.own[name], n // BLOCK), rng.choice(self.real[name], NUM_REAL // BLOCK)
            found[name] = mean_difference(*sides, BLOCK, is_positive=name != "density")
        assert set(found) == {name for name, kind in COMPARISONS.items() if kind.margin}
        return [Comparison(name, difference) for name, difference in found.items()]

    def states(self, n, monkeypatch):
        """``{comparison: state}`` of each report."""
        monkeypatch.setattr(equivalence, "_advice", lambda *_: "")  # half of the time, and decides nothing
        rng, reports = np.random.default_rng(n), []
        for _ in range(NUM):
            found = checks_of(self.comparisons(rng, n), self.margins)
            reports.append({check.name: check.state for checks in found.values() for check in checks})
        return reports


@pytest.mark.slow
@pytest.mark.parametrize("n", [300, 1500])
def test_perfect_sampler_fails_nothing_in_200_reports(n, blocks, monkeypatch):
    reports = Model(False, blocks).states(n, monkeypatch)
    wrong = sum("fail" in states.values() for states in reports)
    assert wrong == 0, f"{wrong / NUM:.1%} of reports fail a perfect sampler; stated: at most {FAMILY_ERROR:.0%}"
    if n == 1500:
        # Not by deciding nothing.
        passed = np.mean([state == "pass" for states in reports for state in states.values()])
        assert passed > 0.7, f"{passed:.1%} of comparisons pass"


@pytest.mark.slow
@pytest.mark.parametrize("n", [300, 1500])
def test_wrong_decisions_are_as_seldom_as_stated_at_the_margin(n, blocks, monkeypatch):
    """All at their margins, the worst case: a little beyond them a pass is wrong, a little within them a fail."""
    reports = Model(True, blocks).states(n, monkeypatch)
    for wrong in ("pass", "fail"):
        names = [name for states in reports for name, state in states.items() if state == wrong]
        num = sum(wrong in states.values() for states in reports)
        words = f"{num / NUM:.1%} of reports have a wrong {wrong}, stated: {FAMILY_ERROR:.0%}; {names}"
        print(words)
        assert stats.binom.sf(num - 1, NUM, FAMILY_ERROR) > 1e-3, words
