"""Classifiers of rated sentences: a fine-tuned language model, the same network from scratch, and baselines.

The language model learns the texts alone of the training part; classifiers learn a few labels of it, those of one seed
the same ones, or all labels. Baselines are a logistic regression of tf-idf and, where it is installed, VADER's rules,
whose authors rated these sentences. Runs are kept in the folder --out and not trained again.

Reference:
    Hutto & Gilbert, "VADER: A Parsimonious Rule-based Model for Sentiment Analysis of Social Media Text", 2014.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from aigc_jax import cli
from aigc_jax.data.arrays import chosen_examples, take
from aigc_jax.data.labelled import LabelledTexts, Texts, open_labelled_texts, read_rows, text_of
from aigc_jax.data.sentiment import DOMAINS, SENTIMENT, prepared_sentiment
from aigc_jax.inference.sampling import make_encode_fn
from aigc_jax.metrics.intervals import bootstrap_interval
from aigc_jax.runs import load_run
from aigc_jax.types import UsageError

TEXT = "--data sentiment --length 64"
LANGUAGE = f"gpt_docs {TEXT} --tokenizer bpe:4096 --batch-size 24 --steps 2000 --net.dropout 0.1 --sample-every 0"
"""The language model, from which fine-tuning begins."""

FEW = {
    "from scratch": f"gpt_sentiment {TEXT} --tokenizer bpe:4096 --steps 150",
    "fine-tuned": f"gpt_sentiment {TEXT} --steps 150 --initial {{language}}",
    "fine-tuned, LoRA of rank 8": (
        f"gpt_sentiment {TEXT} --steps 150 --initial {{language}} --adapter lora --learning-rate 4e-3"
    ),
}
ALL = {
    "text_classifier": f"text_classifier {TEXT} --tokenizer bpe:4096 --steps 600 --token-dropout 0.3",
    "fine-tuned, all labels": f"gpt_sentiment {TEXT} --steps 400 --batch-size 64 --initial {{language}}",
}
"""Classifiers by name, of a few labels and of all."""

TFIDF, TFIDF_ALL, VADER = "tf-idf", "tf-idf, all labels", "VADER's rules"
PAIRS = (
    ("fine-tuned", "from scratch"),
    ("fine-tuned, LoRA of rank 8", "fine-tuned"),
    ("fine-tuned", TFIDF),
    ("text_classifier", TFIDF_ALL),
    ("fine-tuned, all labels", "text_classifier"),
)
"""Classifiers whose accuracies are compared on the same texts."""


class HeldOut(NamedTuple):
    """The held-out texts, each with its document and its domain."""

    texts: Texts
    documents: np.ndarray
    domains: np.ndarray


def register(commands: Any) -> None:
    """Add the command ``sentiment`` to a parser's subcommands."""
    parser = commands.add_parser("sentiment", help="fine-tuning, training from scratch, baselines", description=__doc__)
    parser.add_argument("--data-dir", default=None, help="where sentiment lies, see aigc-jax data prepare sentiment")
    parser.add_argument("--num-labels", type=int, default=500, help="of the few (default 500)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of labels and weights (default 0 1 2)")
    parser.add_argument("--out", type=Path, default=Path("runs/sentiment"), help="a folder for the runs")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Train what is missing, and print accuracies and paired differences with intervals over documents."""
    texts = open_labelled_texts(SENTIMENT, args.data_dir)
    held_out, language = _held_out(texts, args.data_dir), args.out / "language"
    _train(LANGUAGE, language, args)
    found: dict[str, list[np.ndarray]] = {}
    for name, words in (FEW | ALL).items():
        # Runs of all labels take minutes each, and their spread over seeds is small: one of them.
        for seed in args.seeds if name in FEW else args.seeds[:1]:
            workdir = args.out / f"{'_'.join(name.replace(',', '').split())}_{seed}"
            few = f" --num-labels {args.num_labels}" if name in FEW else ""
            _train(f"{words.format(language=language)}{few} --seed {seed}", workdir, args)
            found.setdefault(name, []).append(_is_correct(workdir))
    labels = held_out.texts.labels
    for seed in args.seeds:
        chosen = chosen_examples(len(texts.train.texts), args.num_labels, seed)
        few_texts = Texts([texts.train.texts[int(at)] for at in chosen], texts.train.labels[chosen])
        found.setdefault(TFIDF, []).append(_tfidf(few_texts, held_out.texts.texts) == labels)
    found[TFIDF_ALL] = [_tfidf(texts.train, held_out.texts.texts) == labels]
    rules = _vader(held_out.texts.texts)
    if rules is None:
        print(f"{VADER} are left out: pip install vaderSentiment, which nothing else needs")
    else:
        found[VADER] = [rules == labels]
    print_table(found, held_out)
    return 0


def print_table(found: Mapping[str, Sequence[np.ndarray]], held_out: HeldOut) -> None:
    """Accuracies on all held-out texts and on films, and the differences of pairs of classifiers, in percent.

    Args:
        found: whether each text is classified correctly, bool [num], of each seed.
        held_out: the texts.
    """
    everywhere = np.ones(len(held_out.domains), bool)
    parts = {"all": everywhere, **{domain: held_out.domains == domain for domain in DOMAINS}}
    print(f"\n{len(everywhere)} held-out texts of {len(np.unique(held_out.documents))} documents")
    print("| classifier | accuracy, % (95 % interval) | seeds | " + " | ".join([*parts][1:]) + " |")
    print("|---" * (3 + len(DOMAINS)) + "|")
    for name, rows in found.items():
        mean = np.mean(rows, axis=0)
        each = [f"{100 * mean[is_in].mean():.1f}" if is_in.any() else "" for is_in in [*parts.values()][1:]]
        seeds = " ".join(f"{100 * row.mean():.1f}" for row in rows) if len(rows) > 1 else ""
        print(f"| {name} | {_interval(mean, held_out.documents)} | {seeds} | {' | '.join(each)} |")
    print("\n| difference of accuracies, % | (95 % interval) |\n|---|---|")
    for name, other in PAIRS:
        if name in found and other in found:
            difference = np.mean(found[name], axis=0) - np.mean(found[other], axis=0)
            print(f"| {name} - {other} | {_interval(difference, held_out.documents)} |")


def document_interval(values: np.ndarray, documents: np.ndarray) -> tuple[float, float]:
    """The 95 % interval of a mean over texts, whose documents are independent: a bootstrap of documents."""
    _, place = np.unique(documents, return_inverse=True)
    sums, sizes = np.bincount(place, values), np.bincount(place)
    return bootstrap_interval(lambda index: sums[index].sum() / sizes[index].sum(), len(sums))


def _interval(values: np.ndarray, documents: np.ndarray) -> str:
    low, high = document_interval(values, documents)
    return f"{100 * values.mean():.1f} ({100 * low:.1f} to {100 * high:.1f})"


def _train(words: str, workdir: Path, args: argparse.Namespace) -> None:
    """A run that is kept: a finished one is not trained again."""
    place = ["--data-dir", args.data_dir] if args.data_dir else []
    print(f"aigc-jax train {words}", flush=True)
    if cli.main(["train", *words.split(), *place, "--workdir", str(workdir)]):
        raise UsageError(f"the training in {workdir} failed: see above")


def _is_correct(workdir: Path) -> np.ndarray:
    """Whether the classifier of a run finds the label of each held-out text."""
    experiment, _, variables = load_run(workdir)
    data = experiment.open_data()
    batch = take(data.held_out, np.arange(len(data.held_out)))
    logits = make_encode_fn(experiment, variables)(batch[experiment.modality.name])["logits"]
    return np.argmax(logits, axis=-1) == batch["label"]


def _held_out(texts: LabelledTexts, data_dir: str | None) -> HeldOut:
    rows, _ = read_rows(prepared_sentiment(data_dir))
    places = {text_of(row): (row["document"], row["domain"]) for row in rows}
    documents, domains = np.array([places[text] for text in texts.held_out.texts]).T
    return HeldOut(texts.held_out, documents, domains)


def _tfidf(train: Texts, texts: Sequence[str]) -> np.ndarray:
    """Logistic regression of the tf-idf of words and pairs of words, its penalty chosen by cross-validation."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline

    model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2)), LogisticRegression(max_iter=1000))
    search = GridSearchCV(model, {"logisticregression__C": [1.0, 10.0, 100.0]}, cv=5)
    return np.asarray(search.fit(train.texts, train.labels).predict(texts))


def _vader(texts: Sequence[str]) -> np.ndarray | None:
    """The sign of VADER's compound score; None where the package is missing."""
    try:
        from vaderSentiment.vaderSentiment import (  # pyright: ignore[reportMissingImports]
            SentimentIntensityAnalyzer,
        )
    except ModuleNotFoundError:
        return None
    analyzer = SentimentIntensityAnalyzer()
    return np.array([int(analyzer.polarity_scores(text)["compound"] >= 0) for text in texts])
