"""Reports on disk: written whole, read back, and refused in one line where there is none."""

import json
import os

import numpy as np
import pytest

from aigc_jax.report import files
from aigc_jax.report.files import read_per_sample, read_report, write_report
from aigc_jax.report.schema import to_json
from aigc_jax.types import UsageError
from tests.report.example import REPORT

TABLE = {
    "features": np.eye(3, dtype=np.float16),
    "score/renoise": np.array([0.5, np.nan]),
    "violates": np.eye(3) > 0,
}


def test_write_report_is_read_back(tmp_path):
    page, data = write_report(tmp_path / "run", REPORT, per_sample=TABLE)
    assert page == tmp_path / "run" / "report" / "index.html"
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert json.loads(data.read_text()) == json.loads(json.dumps(to_json(REPORT)))
    assert to_json(read_report(tmp_path / "run")) == json.loads(data.read_text())
    found = read_per_sample(tmp_path / "run")
    assert found.keys() == TABLE.keys()
    for name, values in TABLE.items():
        np.testing.assert_array_equal(found[name], values)
        assert found[name].dtype == values.dtype


def test_write_report_removes_an_older_table(tmp_path):
    write_report(tmp_path, REPORT, per_sample=TABLE)
    write_report(tmp_path, REPORT)
    assert sorted(path.name for path in (tmp_path / "report").iterdir()) == ["index.html", "report.json"]
    with pytest.raises(UsageError, match="run aigc-jax evaluate"):
        read_per_sample(tmp_path)


def test_write_report_keeps_the_older_one_on_errors(tmp_path, monkeypatch):
    write_report(tmp_path, REPORT, per_sample=TABLE)
    before = {path.name: path.read_bytes() for path in (tmp_path / "report").iterdir()}

    def broken(*_, **__):
        raise RuntimeError("planted")

    monkeypatch.setattr(files, "to_html", broken)
    with pytest.raises(RuntimeError, match="planted"):
        write_report(tmp_path, REPORT._replace(data="other"))
    assert {path.name: path.read_bytes() for path in (tmp_path / "report").iterdir()} == before


def test_write_report_names_a_file_in_the_way(tmp_path):
    (tmp_path / "report").write_text("")
    with pytest.raises(UsageError, match="cannot write"):
        write_report(tmp_path, REPORT, per_sample=TABLE)


def test_read_report_of_a_run_that_was_not_evaluated(tmp_path):
    for read in (read_report, read_per_sample):
        with pytest.raises(UsageError, match=f"{tmp_path.name} has no report: run aigc-jax evaluate") as caught:
            read(tmp_path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"format": 1}', "report.json: expected a report of format 4"),
        (b"{", r"cannot read .*report\.json .*: run aigc-jax evaluate"),
        (b"\xff", r"cannot read .*report\.json .*: run aigc-jax evaluate"),
        (b"[" * 60_000 + b"]" * 60_000, "nested more than 100 deep"),
    ],
)
def test_read_report_refuses_damaged_files(tmp_path, content, reason):
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "report.json").write_bytes(content)
    with pytest.raises(UsageError, match=reason):
        read_report(tmp_path)


def test_read_report_refuses_pipes(tmp_path):
    (tmp_path / "report").mkdir()
    for name, read in (("report.json", read_report), ("per_sample.npz", read_per_sample)):
        os.mkfifo(tmp_path / "report" / name)
        with pytest.raises(UsageError, match="not a regular file"):
            read(tmp_path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 torn", b"text"])
def test_read_per_sample_refuses_damaged_files(tmp_path, content):
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "per_sample.npz").write_bytes(content)
    with pytest.raises(UsageError, match=r"cannot read .*per_sample\.npz .*: run aigc-jax evaluate"):
        read_per_sample(tmp_path)
