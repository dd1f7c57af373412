"""The examples of the README and of the pages are run as they stand."""

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
METRICS = (ROOT / "docs" / "metrics.md").read_text()


@pytest.mark.slow
@pytest.mark.standard_promotion
def test_own_loop_example_runs(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len(code.strip().splitlines()) <= 20
    # Two steps instead of two thousand: what is tested is that every name and argument is right.
    assert "range(2000)" in code
    exec(compile(code.replace("range(2000)", "range(2)"), "README.md", "exec"), {})
    assert "(10, 28, 28, 1)" in capsys.readouterr().out


def test_metrics_example_runs(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", METRICS, flags=re.DOTALL)
    exec(compile(code, "docs/metrics.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    # Sets of one distribution: the Fréchet distance is its bias, coverage is near its expectation.
    assert float(lines[0].split()[1]) == pytest.approx((2 * 16 + 16 * 17 / 2) / 2000, rel=0.3)
    *_, coverage, _, expected = lines[1].split()
    assert float(coverage) == pytest.approx(float(expected), abs=0.02)
    assert "95 %" in lines[-1]


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`((?:metrics|guards)\.[\w.]+)`", METRICS))))
def test_every_function_of_the_metrics_page_exists(name):
    module, _, function = name.rpartition(".")
    assert callable(getattr(importlib.import_module(f"aigc_jax.{module}"), function))


@pytest.mark.parametrize("path", re.findall(r"\]\((?!http)([^)#]+)\)", README))
def test_links_lead_somewhere(path):
    assert (ROOT / path).exists()


def test_links_of_documents_lead_to_files():
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    assert len(pages) > 10
    for page in pages:
        for link in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
            assert "://" in link or (page.parent / link).exists(), f"{page.name}: {link}"


def test_tables_of_results_have_at_most_eight_columns():
    for page in (ROOT / "docs" / "results").glob("*.md"):
        for line in page.read_text().splitlines():
            assert not line.startswith("|") or line.count("|") <= 9, f"{page.name}: {line}"
