"""The commands ``aigc-jax data prepare`` and ``aigc-jax data list``."""

from __future__ import annotations

from aigc_jax.cli.arguments import List, Prepare
from aigc_jax.data.prepare import list_data, prepare
from aigc_jax.data.tfds_source import default_data_dir
from aigc_jax.errors import visible
from aigc_jax.train.worlds import REVIEWS, list_worlds, write_reviews


def prepare_data(arguments: Prepare) -> int:
    """Download a data set, or draw one of a world, and write it."""
    if arguments.name == REVIEWS:
        print(write_reviews(default_data_dir(arguments.data_dir) / "reviews" / "reviews.jsonl"))
    else:
        print(prepare(arguments.name, arguments.data_dir))
    return 0


def list_all_data(arguments: List) -> int:
    """Print a table of the data sets that can be trained on."""
    table = [("name", "classes", "shape", "examples", "where"), *list_data(arguments.data_dir), *list_worlds()]
    rows = [[visible(cell) for cell in row] for row in table]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row[:4], widths, strict=True)), row[4], sep="  ")
    return 0
