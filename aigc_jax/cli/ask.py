"""The command ``aigc-jax ask``: how often a model of text answers right, when it is wrong, and what helps."""

from __future__ import annotations

import functools
import json
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from aigc_jax.cli.arguments import Ask
from aigc_jax.cli.common import answerer, load_to_answer, read_rows, with_prompts
from aigc_jax.data.files import visible, write_text
from aigc_jax.data.tokenizer import Tokenizer, read_tokenizer
from aigc_jax.evaluation.questions import (
    NONE,
    Outcome,
    Question,
    Study,
    entropy_of_candidates,
    numbered,
    outcome,
    probe,
    questions_of,
    share_line,
    study,
)
from aigc_jax.guards.last_word import disagreement, semantic_entropy
from aigc_jax.inference.answers import score_answers
from aigc_jax.inference.constrained import with_rule
from aigc_jax.metrics.intervals import paired_difference
from aigc_jax.rules.bytes import first_violation
from aigc_jax.rules.lift import lift, need_after
from aigc_jax.rules.statements import statements
from aigc_jax.samplers.decoding import Decoding
from aigc_jax.types import Experiment, UsageError, Variables

MIN_QUESTIONS = 40
"""Half of the questions calibrate: fewer say nothing."""

_BLOCK = 256
"""Questions that are compared with all statements at a time."""

MAX_SCORED = 1_000_000
"""Most pairs of a question and a candidate."""


class _Asked(NamedTuple):
    """A loaded run, and what it is asked."""

    arguments: Ask
    experiment: Experiment
    variables: Variables
    tokenizer: Tokenizer
    questions: Sequence[Question]
    known: Sequence[str]
    length: int
    """Most tokens of an answer."""

    @property
    def prompts(self) -> list[str]:
        return [question.prompt for question in self.questions]


def ask(arguments: Ask) -> int:
    """Answer all questions in several ways, and print which answers are right, wrong and missing."""
    _check(arguments)
    questions = questions_of(read_rows(arguments.questions, "prompt"))
    known = [] if arguments.statements is None else [row["text"] for row in read_rows(arguments.statements, "text")]
    if len(questions) < MIN_QUESTIONS:
        raise UsageError(f"expected {MIN_QUESTIONS} questions or more, got {len(questions)}: half of them calibrate")
    if (num := sum(len(question.candidates) for question in questions)) > MAX_SCORED:
        raise UsageError(f"the questions have {num} candidates in all, at most {MAX_SCORED}: ask fewer at once")
    answers = [answer for question in questions for answer in question.candidates]
    experiment, config, variables = load_to_answer(arguments, answers, temperature=0.0)
    tokenizer = read_tokenizer(str(getattr(config, "vocabulary", "")))
    sampling = getattr(config, "sampling", None)
    assert isinstance(sampling, Decoding)
    asked = _Asked(arguments, experiment, variables, tokenizer, questions, known, sampling.length)
    for prompts in (asked.prompts, _retrieved(asked.prompts, known, arguments.retrieve)):
        with_prompts(experiment, prompts)  # they fit, or nothing is computed
    is_test = np.random.default_rng(arguments.seed).permutation(len(questions)) % 2 == 0
    plain, log_probs, scores = _plain(asked, answers, is_test)
    outcomes = [plain, *(_with_statements(asked) if known else [])]
    texts = set(known)
    is_known = np.array([any(f"{q.prompt} {answer}" in texts for answer in q.right) for q in questions], bool)
    found = study(questions, outcomes, scores, log_probs, is_known, is_test, alpha=arguments.alpha)
    print(_report(found, len(questions), has_known=bool(known)))
    if arguments.out is not None:
        write_text(arguments.out, json.dumps(_content(arguments, found), indent=1) + "\n")
        print(f"wrote {arguments.out}")
    return 0


def _check(arguments: Ask) -> None:
    if not 0 < arguments.alpha < 1:
        raise UsageError(f"expected --alpha in (0, 1), got {arguments.alpha:g}: 0.1 is usual")
    if arguments.num_samples < 2:
        raise UsageError(f"expected --num-samples 2 or more, got {arguments.num_samples}: 10 is usual")
    if arguments.advice <= 0 or not math.isfinite(arguments.advice):
        raise UsageError(f"expected --advice above 0, got {arguments.advice:g}: 4 nats is usual")
    if arguments.retrieve < 0 or (arguments.retrieve and arguments.statements is None):
        raise UsageError(f"--retrieve {arguments.retrieve} takes texts of --statements FILE, 1 or more: add it")


def _timed(asked: _Asked, experiment: Experiment, prompts: Sequence[str]) -> tuple[list[str], float]:
    """The answers, and the time for them without compilation: they are drawn twice."""
    draw = answerer(experiment, asked.variables, prompts, asked.arguments.seed)
    draw()
    start = time.perf_counter()
    return draw(), time.perf_counter() - start


def _plain(
    asked: _Asked, answers: Sequence[str], is_test: np.ndarray
) -> tuple[Outcome, list[np.ndarray], dict[str, np.ndarray]]:
    """The model's own answers, log-probabilities of all candidates, and scores of how unreliable its answers are."""
    arguments, questions, prompts = asked.arguments, asked.questions, asked.prompts
    given, seconds = _timed(asked, asked.experiment, prompts)
    plain = outcome("plain", questions, given, seconds)
    score = functools.partial(score_answers, asked.experiment, asked.variables, vocabulary=asked.tokenizer.vocabulary)
    own = score(prompts, given)
    repeated = [question.prompt for question in questions for _ in question.candidates]
    sizes = np.cumsum([len(question.candidates) for question in questions])[:-1]
    log_probs = np.split(score(repeated, answers, title="candidates").log_prob, sizes)
    experiment, _, variables = load_to_answer(arguments, answers, temperature=1.0)
    drawn = answerer(experiment, variables, prompts * arguments.num_samples, arguments.seed)()
    by_question = np.array(drawn, object).reshape(arguments.num_samples, len(prompts)).T.tolist()
    own_numbers, samples = numbered(given, by_question)
    scores = {
        "log-probability of the answer": -own.log_prob,
        "log-probability of a token": -own.mean_log_prob,
        "entropy of the candidates": entropy_of_candidates(log_probs),
        f"semantic entropy of {arguments.num_samples} samples": np.asarray(semantic_entropy(samples)),
        f"self-consistency of {arguments.num_samples} samples": np.asarray(disagreement(samples, own_numbers)),
        "probe of the last hidden state": probe(
            own.logits, plain.is_wrong, is_test | ~(plain.is_right | plain.is_wrong)
        ),
    }
    return plain, log_probs, scores


def _with_statements(asked: _Asked) -> list[Outcome]:
    """Answers with the known statements: as a rule, as advice, and before the prompt."""
    arguments, questions = asked.arguments, asked.questions
    rule = statements(asked.known)
    automaton, length = lift(rule, asked.tokenizer.vocabulary), asked.length
    how: Any = {"end": asked.tokenizer.boundary, "length": length, "temperature": 0.0}
    # What no statement begins with, up to the end of a word, has no answer among them.
    begun = [
        first_violation(rule, f"{prompt} ".encode()) is None
        and need_after(automaton, asked.tokenizer.encode(prompt)) <= length
        for prompt in asked.prompts
    ]
    inside = [prompt for prompt, is_begun in zip(asked.prompts, begun, strict=True) if is_begun]
    found = []
    if inside:
        ruled = with_rule(asked.experiment, automaton, **how).experiment
        given, seconds = _timed(asked, ruled, inside)
        answers = iter(given)
        every = [next(answers) if is_begun else NONE for is_begun in begun]
        found.append(outcome("under the statements", questions, every, seconds))
    advised = with_rule(asked.experiment, automaton, penalty=arguments.advice, **how).experiment
    given, seconds = _timed(asked, advised, asked.prompts)
    found.append(outcome(f"advised by them, {arguments.advice:g} nats", questions, given, seconds))
    if arguments.retrieve:
        prompts = _retrieved(asked.prompts, asked.known, arguments.retrieve)
        given, seconds = _timed(asked, asked.experiment, prompts)
        found.append(outcome(f"after {arguments.retrieve} of them", questions, given, seconds))
    return found


def _retrieved(prompts: Sequence[str], known: Sequence[str], num: int) -> list[str]:
    """Each prompt after the statements that share most of its words, a line each, the nearest one last."""
    if not num:
        return list(prompts)
    from sklearn.feature_extraction.text import TfidfVectorizer

    words = TfidfVectorizer(token_pattern=r"\S+")
    table = words.fit_transform(known)
    asked, nearest = words.transform(prompts), list[np.ndarray]()
    for first in range(0, len(prompts), _BLOCK):
        similarity = (asked[first : first + _BLOCK] @ table.T).toarray()
        nearest.extend(np.argsort(similarity, axis=1, kind="stable")[:, -num:])
    return ["\n".join([*[str(known[i]) for i in row], prompt]) for row, prompt in zip(nearest, prompts, strict=True)]


def _report(found: Study, num: int, *, has_known: bool) -> str:
    """All figures as text tables."""
    plain, num_test = found.outcomes[0], len(found.is_known)
    lines = [f"{num} questions: {num - num_test} calibrate, these are the other {num_test}; intervals of 95 %", ""]
    unseen = ~found.is_known
    last = f"right of the {int(unseen.sum())} unknown" if has_known else ""
    names = f"{'right':>21}  {'wrong':>21}  {'wrong, less plain':>24}  {'none':>5}  {'time':>5}  {last:>21}"
    width = max(len(each.name) for each in found.outcomes)
    lines.append(f"{'':{width}}  {names}".rstrip())
    for each in found.outcomes:
        wrong = paired_difference(each.is_wrong, plain.is_wrong)
        difference = "" if each is plain else f"{wrong.value:+.3f} [{wrong.low:+.3f}, {wrong.high:+.3f}]"
        none = 1 - (each.is_right | each.is_wrong).mean()
        right, mistaken = (share_line(int(of.sum()), num_test) for of in (each.is_right, each.is_wrong))
        cells = f"{right:>21}  {mistaken:>21}"
        known = share_line(int(each.is_right[unseen].sum()), int(unseen.sum())) if has_known else ""
        ratio = each.seconds / plain.seconds
        lines.append(f"{each.name:{width}}  {cells}  {difference:>24}  {none:5.2f}  {ratio:5.2f}  {known:>21}".rstrip())
    held, sizes = found.coverage[0], found.set_sizes
    lines += ["", found.threshold.guarantee]
    lines.append(
        f"answer sets: {share_line(held, num_test)} hold a right answer (promised {1 - found.sets.alpha:g}); "
        f"{sizes.mean():.1f} candidates each, {np.mean(sizes == 1):.0%} of one, {np.mean(sizes == 0):.0%} of none"
    )
    return "\n".join([*lines, "", *_detector_lines(found)])


def _detector_lines(found: Study) -> list[str]:
    """How well each score tells wrong answers from the others."""
    lines = [f"{'scores of the plain answers':40}  {'AUC':>21}  verdict       wrong of the surest half"]
    for name, each in found.detectors.items():
        curve = each.risk_coverage
        half = curve.risk[np.searchsorted(curve.coverage, 0.5)]
        area = f"{each.auc.value:.3f} [{each.auc.low:.3f}, {each.auc.high:.3f}]"
        lines.append(f"{name:40}  {area:>21}  {each.verdict:12}  {half:.3f}")
    return lines


def _content(arguments: Ask, found: Study) -> Mapping[str, Any]:
    """All figures, for --out."""
    return {
        "run": visible(str(arguments.run)),
        "seed": arguments.seed,
        "alpha": arguments.alpha,
        "num_test": len(found.is_known),
        "num_known": int(found.is_known.sum()),
        "methods": [
            {
                "name": each.name,
                "right": int(each.is_right.sum()),
                "wrong": int(each.is_wrong.sum()),
                "right_unknown": int(each.is_right[~found.is_known].sum()),
                "seconds": each.seconds,
            }
            for each in found.outcomes
        ],
        "threshold": found.threshold._asdict(),
        "sets": {"covered": found.coverage[0], "mean_size": float(found.set_sizes.mean())},
        "detectors": {
            name: {"auc": each.auc.value, "low": each.auc.low, "high": each.auc.high, "verdict": each.verdict}
            for name, each in found.detectors.items()
        },
    }
