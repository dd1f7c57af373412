"""One of several processes that train the same runs: python -m tests.train.peers COORDINATOR NUM ID FOLDER RUNS."""

import json
import sys
from pathlib import Path

from aigc_jax.cli.arguments import Train
from aigc_jax.cli.train import train_config
from aigc_jax.runs import load_config, replaced
from aigc_jax.train.cluster import Address, joined_cluster


def train_run(name, workdir, settings):
    module = load_config(name)
    train_config(module, name, Train(config=replaced(module.Config(), settings), workdir=workdir), "the same")


if __name__ == "__main__":
    coordinator, num_processes, process_id, folder, runs = sys.argv[1:]
    with joined_cluster(Address(coordinator, int(num_processes), int(process_id)), Path(folder)):
        for name, workdir, settings in json.loads(runs):
            train_run(name, Path(folder) / workdir, settings)
