"""Questions about generated people to a model of text: by itself, under a graph, after retrieval, with abstention.

Of 300 people three things are true, of which 30 % of the people are in no statement. The model learns the statements
by heart, and to repeat the first or second of three lines. Files and the run are kept in the folder --out.
"""

from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np

from aigc_jax import cli
from aigc_jax.types import UsageError

FIRST = ("Ada", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gil", "Hana", "Ivo", "Jana")
FIRST += ("Kai", "Lena", "Mila", "Nils", "Olga", "Pia", "Quin", "Rosa", "Sven", "Tara")
LAST = ("Abel", "Berg", "Cruz", "Dorn", "Egli", "Funk", "Graf", "Haas", "Iten", "Jost")
LAST += ("Kern", "Lang", "Moos", "Noll", "Ochs", "Pohl", "Rapp", "Senn", "Tobler", "Urban")
VALUES = {
    "lives in": ("Oslo", "Bern", "Rome", "Lima", "Cairo", "Delhi", "Paris", "Tokyo", "Quito", "Sofia"),
    "works as": ("baker", "nurse", "pilot", "judge", "cook", "tailor", "clerk", "farmer"),
    "plays": ("chess", "tennis", "piano", "cello", "golf", "drums"),
}
NUM_PEOPLE, NUM_REPEATS, NUM_COPIES = 300, 15, 6000


def register(commands: Any) -> None:
    """Add the command ``answers`` to a parser's subcommands."""
    parser = commands.add_parser("answers", help="answers of a model of text and of a graph", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/answers"), help="a folder for the files and the run")
    parser.add_argument("--steps", type=int, default=3000, help="of training")
    parser.add_argument("--alpha", type=float, nargs="+", default=[0.1, 0.2, 0.3], help="risks, a table each")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Make the data, train what is missing, and ask."""
    write_files(args.out)
    workdir, files = args.out / "run", args.out / "graph"
    if not (workdir / "checkpoints").exists():
        settings = "--tokenizer bpe:400 --length 48 --batch-size 16 --net.width 128 --net.depth 3 --learning-rate 3e-3"
        words = (
            f"train gpt_docs --data text:{args.out / 'train.jsonl'} {settings} --steps {args.steps} --sample-every 0"
        )
        _call([*words.split(), "--workdir", str(workdir)])
    for alpha in args.alpha:
        words = f"ask {workdir} --questions {files / 'questions.jsonl'} --statements {files / 'statements.txt'}"
        _call([*words.split(), "--retrieve", "2", "--alpha", str(alpha)])
    return 0


def write_files(out: Path) -> None:
    """The graph, what ``aigc-jax graph`` makes of it, and the training texts."""
    out.mkdir(parents=True, exist_ok=True)
    rng, people = np.random.default_rng(0), [f"{first} {last}" for first, last in itertools.product(FIRST, LAST)]
    rng.shuffle(people)
    people, others = people[:NUM_PEOPLE], sorted(people[NUM_PEOPLE:])
    rows = [(name, of, values[rng.integers(len(values))]) for name in people for of, values in VALUES.items()]
    table = "subject,relation,object\n" + "".join(",".join(row) + "\n" for row in rows)
    (out / "people.csv").write_text(table)
    _call(["graph", str(out / "people.csv"), "--hold-out", "0.3", "--out", str(out / "graph")])
    known, rng = (out / "graph" / "statements.txt").read_text().splitlines(), np.random.default_rng(1)

    def line() -> str:
        """A statement that is known, or one about somebody else, who has another value each time."""
        if rng.random() < 0.3:
            return known[rng.integers(len(known))]
        name, relation = others[rng.integers(len(others))], list(VALUES)[rng.integers(len(VALUES))]
        return f"{name} {relation} {VALUES[relation][rng.integers(len(VALUES[relation]))]}."

    texts = [text for text in known for _ in range(NUM_REPEATS)]
    for _ in range(NUM_COPIES):
        lines = [line(), line()]
        texts.append("\n".join([*lines, lines[rng.integers(2)]]))
    rng.shuffle(texts)
    (out / "train.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))


def _call(words: list[str]) -> None:
    if cli.main(words):
        raise UsageError(f"aigc-jax {words[0]} failed: see above")
