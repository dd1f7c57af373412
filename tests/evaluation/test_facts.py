"""The section on facts: a model that is a table gives the hallucination rate of its table."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aigc_jax.data.arrays import ArraySource
from aigc_jax.data.text import text_modality
from aigc_jax.data.tokenizer import PAD
from aigc_jax.evaluation.evaluate import collect_evidence
from aigc_jax.evaluation.judge import no_judge, world_judge
from aigc_jax.evaluation.model import EvaluatedModel
from aigc_jax.evaluation.section import Settings
from aigc_jax.evaluation.sections import facts as section
from aigc_jax.train.worlds import tokenizer_of
from aigc_jax.types import Data
from aigc_jax.worlds.facts import draw_facts, facts

WORLD = facts(draw_facts(num_persons=40, num_values=5), name="world:few")
MODALITY = text_modality(tokenizer_of(WORLD))
STATEMENTS = WORLD.statements()
RATE, REST = 0.25, 0.05
EVERY = ("hallucination_bound", *section.NAMES)


def token_nll(tokens):
    """A model of the world, but for an answer in four drawn at random, and one text in twenty that is no statement."""
    statements = STATEMENTS.reshape(-1, STATEMENTS.shape[-1])
    p = np.exp(np.asarray(WORLD.log_prob(jnp.asarray(statements)), np.float64)).reshape(STATEMENTS.shape[:2])
    g = (1 - REST) * ((1 - RATE) * p + RATE * p.sum(axis=1, keepdims=True) / p.shape[1]).reshape(-1)
    number = {row.tobytes(): place for place, row in enumerate(statements)}
    whole = np.array([-np.log(g[number[row.tobytes()]]) for row in tokens])
    return np.repeat(whole[:, None] / (tokens.shape[1] - 1), tokens.shape[1] - 1, axis=1)


def evidence(judge=None, **changes):
    drawn = np.asarray(jax.jit(lambda key: WORLD.sample(key, 500, None))(jax.random.key(0)))
    data = Data(WORLD.name, *(ArraySource(part, None, name="tokens") for part in (drawn[:200], drawn[200:])), ())
    samples = np.where(np.arange(drawn.shape[1]) == drawn.shape[1] - 1, PAD, drawn)

    def sample(start, condition, num):
        return samples[start : start + num]

    model = EvaluatedModel(sample, modality=MODALITY, token_nll=token_nll)._replace(**changes)
    return collect_evidence(model, judge or world_judge(WORLD), data, Settings(10))


@pytest.mark.slow
def test_facts_of_a_table_have_its_hallucination_rate():
    found = section.facts(evidence())
    rows = {row.name: row.value for row in found.measurements}
    assert list(rows)[:2] == ["hallucination_rate", "hallucination_bound"]
    assert set(rows) == set(EVERY)
    assert rows["hallucination_rate"] == pytest.approx(1 - (1 - REST) * (1 - RATE * 4 / 5), abs=1e-6)
    assert rows["hallucination_bound"] <= rows["hallucination_rate"]
    drawn = np.asarray(evidence().training_set)
    _, counts = np.unique(drawn, axis=0, return_counts=True)
    assert rows["monofact_rate"] == (counts == 1).sum() / 200
    stated = {row.tobytes() for row in drawn}
    p = np.exp(np.asarray(WORLD.log_prob(jnp.asarray(STATEMENTS.reshape(-1, 6))), np.float64))
    is_new = np.array([row.tobytes() not in stated for row in STATEMENTS.reshape(-1, 6)])
    assert rows["missing_mass"] == pytest.approx(p[is_new].sum(), rel=1e-5)
    assert found.measurements[1].note.endswith(".")
    (table,) = found.figures
    assert [row[0] for row in table.rows] == ["never", "once", "2 to 5 times", "6 times or more", "no statement"]
    assert {row[4] for row in table.rows[:-1]} == {"100.0 %"}
    assert {row[3] for row in table.rows[:-1]} == {"20.0 %"}
    assert table.rows[-1][2] == "5.0 %"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"judge": no_judge(MODALITY, "none")}, "lists all its statements"),
        ({"judge": world_judge(WORLD._replace(statements=None))}, "lists all its statements"),
        ({"token_nll": None}, "gives no probabilities"),
        ({"knows_training": False}, "training examples are not known"),
    ],
)
def test_facts_are_left_out_with_a_reason(given, reason):
    found = section.facts(evidence(**given))
    assert found.measurements == ()
    assert found.left_out.keys() == set(EVERY)
    assert all(reason in why for why in found.left_out.values())


def test_facts_of_too_many_statements_are_left_out(monkeypatch):
    monkeypatch.setattr(section, "MAX_STATEMENTS", 799)
    found = section.facts(evidence())
    assert found.left_out["hallucination_rate"] == "there are 800 statements, at most 799 are scored"
