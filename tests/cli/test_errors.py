"""Whatever goes wrong ends in one line and an exit status of its kind."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from aigc_jax import cli
from aigc_jax.configs import vae_digits
from aigc_jax.data.files import visible
from aigc_jax.train.run_dir import write_run

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.standard_promotion


def only_line(capsys):
    """The one line on standard error."""
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("aigc-jax: ")
    return line


def test_an_error_of_a_config_file_names_its_line_and_has_its_own_status(tmp_path, monkeypatch, capsys):
    source = Path(vae_digits.__file__).read_text()
    file = tmp_path / "mine.py"
    file.write_text(source.replace("def build(config: Config) -> Experiment:", "def build(config):\n    1 / 0\n"))
    number = file.read_text().splitlines().index("    1 / 0") + 1
    words = ["train", str(file), "--workdir", str(tmp_path / "run")]
    assert cli.main(words) == 70
    line = only_line(capsys)
    assert f"ZeroDivisionError: division by zero (in {file}:{number})" in line
    assert "AIGC_JAX_TRACEBACK=1" in line
    monkeypatch.setenv("AIGC_JAX_TRACEBACK", "1")
    assert cli.main(words) == 70
    assert "Traceback (most recent call last)" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_an_error_of_the_library_names_its_file(monkeypatch, capsys):
    monkeypatch.setattr("aigc_jax.cli.data.list_data", lambda _: [][0])
    assert cli.main(["data", "list"]) == 70
    assert "IndexError: list index out of range (in " in only_line(capsys)


def test_control_characters_are_shown(capsys):
    assert cli.main(["sample", "\x1b[2J\nfake"]) == 2
    assert "\\x1b[2J\\nfake" in only_line(capsys)


def test_a_backend_that_does_not_open_is_one_line(monkeypatch, capsys):
    def devices():
        raise AssertionError

    monkeypatch.setattr(jax, "devices", devices)
    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    for words in (["info"], ["train", "vae_digits"], ["sample", "nowhere"]):
        assert cli.main(words) == 2
        assert "JAX_PLATFORMS='cuda'" in only_line(capsys)


def test_an_interrupt_while_a_command_is_imported_is_one_line(monkeypatch, capsys):
    def interrupted(name):
        raise KeyboardInterrupt

    monkeypatch.setattr("importlib.import_module", interrupted)
    assert cli.main(["sample", "nowhere"]) == 130
    assert only_line(capsys) == "aigc-jax: interrupted"


INTERRUPTED = """
import signal, sys, time
import jax, jax.numpy as jnp
from aigc_jax.cli import main
import importlib
entry = importlib.import_module("aigc_jax.cli.main")

def interrupted():
    global pending
    pending = jax.jit(lambda x: jax.lax.fori_loop(0, 10**6, lambda i, x: jnp.tanh(x @ x), x))(jnp.eye(300))
    raise KeyboardInterrupt

def dropping():
    class Callback:
        def __del__(self):
            raise KeyboardInterrupt  # printed and dropped by Python

    Callback()
    time.sleep(60)

entry._prepare = lambda words: dropping if sys.argv[1] == "drop" else interrupted
signal.signal(signal.SIGINT, signal.default_int_handler)
main()
"""


@pytest.mark.parametrize("how", ["compute", "drop"])
def test_an_interrupted_process_ends_at_once(how):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XLA_FLAGS": ""}
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, how],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (130, "aigc-jax: interrupted\n")


IMPORTING = """
import importlib, os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
entry = importlib.import_module("aigc_jax.cli.main")

def importing(words):
    try:
        os.kill(os.getpid(), signal.SIGINT)
        import json.tool
    except BaseException:
        pass  # as extension modules do
    print("not reached")
    return lambda: 0

entry._prepare = importing
sys.argv = ["aigc-jax", "sample"]
entry.main()
"""


def test_an_interrupt_while_importing_ends_the_process_whoever_would_catch_it():
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", IMPORTING], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "aigc-jax: interrupted\n")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("errors") / "run"
    words = ["--steps", "1", "--batch-size", "8", "--widths", "4", "--sample-every", "0", "--parallel", "jit"]
    assert cli.main(["train", "vae_digits", "--workdir", str(path), *words]) == 0
    return path


@pytest.mark.one_case
@pytest.mark.parametrize(
    ("setting", "value"),
    [
        *((name, value) for name in ("batch_size", "latent_dim", "num_classes") for value in (0, -8)),
        *(
            (name, 10**299)
            for name in ("latent_dim", "num_classes", "seed", "batch_size", "chunk_size", "data_workers")
        ),
        ("num_classes", 2**31 - 1),
        *(("widths", value) for value in ([0], [-1, 4], [10**20], [4] * 101)),
        *(("image_shape", value) for value in ([0, 0, 0], [-28, 28, 1], [10**12, 10**12, 1])),
        *(("learning_rate", value) for value in (-1, "1e-3", None)),
        ("seed", -1),
        ("data", "\x1b[2Jfolder:x"),
        ("data", "folder:" + "x" * 5000),
        ("data", "folder:\x00"),
        ("no_such_setting", 1),
    ],
)
def test_settings_of_a_stranger_are_refused_in_one_line(run, tmp_path, capsys, setting, value):
    copy = shutil.copytree(run, tmp_path / "copy")
    content = json.loads((copy / "config.json").read_text())
    content["values"][setting] = value
    (copy / "config.json").write_text(json.dumps(content))
    status = cli.main(["likelihood", str(copy), "--num-examples", "2", "--batch-size", "2"])
    line = only_line(capsys)
    assert status == 2, line
    assert visible(line) == line


def test_a_config_of_a_stranger_runs_no_code(run, tmp_path, monkeypatch, capsys):
    (tmp_path / "planted.py").write_text("raise SystemExit('executed')")
    monkeypatch.chdir(tmp_path)
    for name in ("planted", "planted.py", "./planted.py", "os", "aigc_jax.cli", "../planted"):
        write_run(tmp_path / "run", name, vae_digits.Config(), {})
        assert cli.main(["sample", "run"]) == 2
        assert "name it with --config FILE" in only_line(capsys)


@pytest.mark.parametrize("content", [b"\xff\xfe{}", b'{"format": 1, "config": "caf\xe9"}'])
def test_run_whose_config_is_no_text_is_refused_before_anything_is_opened(run, tmp_path, capsys, monkeypatch, content):
    copy = shutil.copytree(run, tmp_path / "copy")
    (copy / "config.json").write_bytes(content)
    monkeypatch.setattr("aigc_jax.train.experiment.open_data", None)
    for words in (["sample", str(copy)], ["evaluate", str(copy)], ["train", "vae_digits", "--workdir", str(copy)]):
        assert cli.main(words) == 2
        captured = capsys.readouterr()
        (line,) = captured.err.splitlines()
        assert f"cannot read {copy / 'config.json'} ('utf-8' codec can't decode" in line
        assert captured.out == ""
