"""The launchers of clusters: what they would do, since no cluster is here to do it."""

import os
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "scripts" / "cluster"
TRAINING = ["flow_2d", "--workdir", '/runs/a "b']
CALLS = {
    "local": (["2"], {}, ['aigc-jax launch local --num-processes 2 -- train flow_2d --workdir /runs/a\\ \\"b']),
    "slurm": (
        [],
        {"NODES": "3", "GPUS": "4", "MINUTES": "60", "SBATCH": "--partition=gpu --qos=low"},
        [
            "sbatch --partition=gpu --qos=low",
            "#SBATCH --nodes=3",
            "#SBATCH --ntasks-per-node=4",
            "#SBATCH --time=60",
            'aigc-jax train flow_2d --workdir /runs/a\\ \\"b --distributed --save-before 50m',
        ],
    ),
    "tpu_pod": (
        ["pod", "us-central1-a"],
        {"PROJECT": "mine"},
        ["gcloud compute tpus tpu-vm ssh pod --zone us-central1-a --worker=all --project mine", "--distributed"],
    ),
    "kubernetes": (["name", "image:1"], {"HOSTS": "4"}, ["kind: JobSet", "completions: 4", '"/runs/a \\"b"']),
}


def call(name, *words, **variables):
    command = ["bash", str(FOLDER / f"{name}.sh"), *words]
    return subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True, timeout=60)


def test_every_script_is_tested():
    assert {path.stem for path in FOLDER.iterdir()} == {*CALLS, "common"}


@pytest.mark.parametrize("name", CALLS)
def test_dry_run_prints_the_commands_and_runs_none(name):
    words, variables, expected = CALLS[name]
    # Without a PATH that has them, each of sbatch, gcloud, kubectl and aigc-jax would fail.
    result = call(name, "--dry-run", *words, *TRAINING, **variables, PATH="/usr/bin:/bin")
    assert (result.returncode, result.stderr) == (0, "")
    for part in expected:
        assert part in result.stdout


@pytest.mark.parametrize("name", CALLS)
def test_help_and_missing_words(name):
    assert "Usage: bash scripts/cluster/" in call(name, "--help").stdout
    words = call(name, "--dry-run")
    assert words.returncode == 2
    assert len(words.stderr.splitlines()) == 1


def test_manifest_of_kubernetes_is_yaml_with_the_words_of_the_command():
    yaml = pytest.importorskip("yaml")
    words, tpu = CALLS["kubernetes"][0], {"RESOURCE": "google.com/tpu", "TPU_ACCELERATOR": "a", "TPU_TOPOLOGY": "4x4"}
    lines = call("kubernetes", "--dry-run", *words, *TRAINING, **tpu).stdout.splitlines()
    pod = yaml.safe_load("\n".join(lines[1:-1]))["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]
    assert pod["containers"][0]["command"] == ["aigc-jax", "train", *TRAINING, "--distributed"]
    assert pod["nodeSelector"] == {
        "cloud.google.com/gke-tpu-accelerator": "a",
        "cloud.google.com/gke-tpu-topology": "4x4",
    }
