"""Benchmark of facts: the command from end to end with a tiny network."""

import pytest

from aigc_jax.worlds import facts as worlds
from aigc_jax.worlds.catalog import WORLDS
from benchmarks import facts, results

pytestmark = [pytest.mark.slow, pytest.mark.standard_promotion]


def test_command_trains_once_and_prints_a_row_for_each_checkpoint(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(WORLDS, "facts", lambda: worlds.facts(worlds.draw_facts(num_persons=20, num_values=3)))
    tiny = "--steps 200 --batch-size 16 --net.width 8 --net.depth 1 --net.head-width 4"
    words = ["facts", "--sizes", "200", "--steps", "100", "200", "300", "--settings", tiny, "--out", str(tmp_path)]
    assert results.main(words) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| 200 |")]
    assert len(rows) == 2
    assert all(row.endswith("| yes |") for row in rows)
    assert len(rows[0].split("|")) == len(facts.HEADER) + 2
    assert results.main(words) == 0
    assert "trained" not in (out := capsys.readouterr().out)
    assert [line for line in out.splitlines() if line.startswith("| 200 |")] == rows
