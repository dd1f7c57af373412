"""The arguments of every command but train. tyro alone is imported: help and mistakes need no more."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import tyro

Run = Annotated[Path, tyro.conf.Positional]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Configured:
    """An experiment: the options of all commands on a config, whose own settings are options too."""

    config: Annotated[Any, tyro.conf.Suppress] = None
    """The settings, see ``cli/parsing.py``."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Train(Configured):
    """Train an experiment."""

    workdir: Path | None = None
    """The run directory; None for runs/CONFIG. A run that it already holds goes on."""
    distributed: bool = False
    """Train with several processes, found in the environment: Cloud TPU, GKE, Kubernetes, SLURM, Open MPI."""
    coordinator: str | None = None
    """HOST:PORT of process 0, instead of what the environment says."""
    num_processes: int | None = None
    """Number of processes, likewise."""
    process_id: int | None = None
    """Which of them this one is, from 0, likewise."""
    step_timeout: str | None = None
    """End with status 75 when a step takes longer, for example 10m; None with several processes: 20 x the median, at
    least 5m."""
    save_before: str | None = None
    """Stop and save in time before this command has run so long, for example 25m or 3h30m: for clusters that end it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Import(Configured):
    """Make a run of weights in a file."""

    weights: Path
    """A .safetensors file: published weights of the same network in PyTorch, or those of aigc-jax export."""
    workdir: Path | None = None
    """The run directory to make; None for runs/CONFIG."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Compile(Configured):
    """Compile an experiment for a TPU that need not be there, and say whether it fits; exit 1 where it does not."""

    topology: str
    """The TPU: v5e:2x4, v5p:2x2x2, v6e:4x4 and so on."""
    sampler: bool = False
    """Compile the sampler too, for one device."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Profile(Configured):
    """Train an experiment for a few steps, write a trace of them, and print where the time goes."""

    num_steps: int = 20
    """Steps to time, after as many to warm up; as many more are traced. Calls of --steps-per-call are timed whole."""
    out: Path | None = None
    """The folder of the trace; None for runs/CONFIG/profile."""


@dataclasses.dataclass(frozen=True)
class LaunchLocal:
    """Train with several processes on this machine: launch local --num-processes 2 -- train CONFIG [overrides].

    Of several GPUs each process has one. When a process dies, the others are ended.
    """

    num_processes: int = 2
    """Number of processes."""
    dry_run: bool = False
    """Print their commands only."""


@dataclasses.dataclass(frozen=True)
class Trained:
    """A trained run: the options of all commands on one."""

    run: Run
    """The run directory."""
    checkpoint: str = "latest"
    """Which weights: latest, best or a step."""
    config: Path | None = None
    """The config file, for a run that was trained with one that is not shipped."""
    data: str | None = None
    """The data now, for example folder:DIR, if they are no longer where they were at training."""
    data_dir: str | None = None
    """Where prepared tfds data lies now, if no longer where it was at training."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Adjusted(Trained):
    """A trained run with other settings of one group; its options are made from the run, see ``cli/parsing.py``."""

    GROUP: ClassVar[str] = "sampling"
    """The name of the group in the run's config."""

    overrides: Annotated[Mapping[str, Any], tyro.conf.Suppress] = dataclasses.field(default_factory=dict)
    """Settings that differ from the run's own, by name."""


@dataclasses.dataclass(frozen=True)
class Sample(Adjusted):
    """Draw samples from a trained run. Sample i depends on (checkpoint, seed, i, condition) alone."""

    num: int = 64
    """Number of samples."""
    condition: str | None = None
    """Class of all samples, by name or number; None takes the classes in turn."""
    prompt: str | None = None
    """Text that all samples of a model of text begin with."""
    prompts: Path | None = None
    """A file of prompts that samples take in turn: one a line, or .jsonl with an entry prompt."""
    expert: Path | None = None
    """A run of the same tokens whose logits are added --alpha times, those of --anti-expert being subtracted."""
    anti_expert: Path | None = None
    """The run that --expert is compared with."""
    alpha: float = 1.0
    """Weight of the difference of the experts."""
    regex: str | None = None
    """A regular expression that each whole text matches, in Python's syntax, its classes of ASCII."""
    schema: Path | None = None
    """A file with a JSON schema that each text is valid under, written as json.dumps does; see docs/control.md."""
    grammar: Path | None = None
    """A file with a grammar in the language of Lark that each text is of; see docs/control.md."""
    depth: int | None = None
    """How often a part of --schema or --grammar may contain itself; None refuses one that does."""
    on_host: bool = False
    """Obey --schema or --grammar to any depth, by llguidance: slower, and a text may be unfinished at its length."""
    forbid: str | None = None
    """Words that no text holds, in any case and tokens: separated by commas, or a file with one a line."""
    require: str | None = None
    """Words that each text holds, as of --forbid."""
    statements: Path | None = None
    """A file of texts, one a line: each sample is one of them."""
    exact: int = 1
    """Candidates among which each sample under a rule is picked: the more, the nearer to the model given the rule."""
    advice: float | None = None
    """Nats that a token costs which breaks the rule: it is then advice, and may be broken. None forbids such tokens."""
    look_ahead: bool = False
    """Prefer tokens from which more texts come to an allowed end, by the run's own probabilities of pairs of tokens."""
    rule: str | None = None
    """A condition on attributes that all samples obey, as "not (triangle and square)", see docs/control.md: others are
    left out."""
    guard: tuple[Path, ...] | None = None
    """Leave samples out that a guard of aigc-jax calibrate finds unreliable: RUN/guard.json, or the files that are
    named."""
    budget: int = 50
    """Under --rule and --guard, most candidates for each sample."""
    rule_guidance: float = 0.0
    """Draw towards samples that obey --rule, by so many times its gradient; needs --reader."""
    reader: Path | None = None
    """A run that reads attributes: of attribute_reader, or of classifier_digits."""
    seed: int = 0
    """Which sequence of samples."""
    out: Path | None = None
    """A .png grid, an .npz file or a folder of PNG files (of text .txt, .jsonl or .npz); None for a file in the run's
    samples folder."""


@dataclasses.dataclass(frozen=True)
class Calibrate(Adjusted):
    """Calibrate a filter of a run's samples: of those that sample --guard keeps at most --risk are unreliable."""

    risk: float = 0.01
    """The largest share of unreliable samples among those that are kept, in (0, 1)."""
    confidence: float = 0.95
    """Probability that the guarantee holds, over the draw of the labelled samples, in (0, 1)."""
    detector: str | None = None
    """Which detector of the run's report scores samples; None chooses the best on a part of the labelled samples."""
    judge: str | None = None
    """Who says which samples are unreliable: world, classifier, or a .csv file of rows id,0 and id,1 (1 for unreliable;
    or a grade between) about samples id of --seed; None for the world, or else the classifier."""
    num: int = 5000
    """Number of samples to label; of a .csv file all that it names."""
    condition: str | None = None
    """Class of all samples, by name or number; None takes the classes in turn."""
    seed: int = 1_000_000
    """Which sequence of samples: sample --guard must draw another."""
    out: Path | None = None
    """The file of the guard; None for RUN/guard.json."""


@dataclasses.dataclass(frozen=True)
class Edit(Adjusted):
    """Change held-out images or an own one: make up the part that is not kept, or all of each, by --strength."""

    image: Path | None = None
    """A PNG or JPEG file to change --num times, of the size of the model's images; None for held-out images."""
    mask: Path | None = None
    """A PNG or JPEG file of the same size: white is made up, black stays. None for --keep."""
    num: int = 10
    """Number of images."""
    keep: Literal["nothing", "left", "right", "top", "bottom"] = "nothing"
    """The half of each image that stays: in-painting. nothing: image-to-image."""
    strength: float = 1.0
    """Share of the noise that each image gets, in (0, 1]; 0.5 keeps a resemblance."""
    condition: str | None = None
    """Class of all results, by name or number; None keeps each image's own (of --image: the classes in turn)."""
    seed: int = 0
    """Which noise."""
    out: Path | None = None
    """A .png with a row of originals and rows of results; None for one in the run's samples folder."""


@dataclasses.dataclass(frozen=True)
class Evaluate(Adjusted):
    """Measure a trained run and write its report; with a gate file, exit 1 when a gate fails."""

    num_samples: int = 5000
    """Number of samples to measure."""
    out: Path | None = None
    """The folder of the report, to keep several side by side; None for RUN/report."""
    gate: Path | None = None
    """A TOML file of limits, for example [class_agreement] min = 0.98: the targets of the criteria."""
    seed: int = 0
    """Which sequence of samples."""
    sweep_samples: int = 200
    """Samples at each point of the sweeps over samplers, guidance or truncation; 0 leaves them out."""
    detector_samples: int = 1000
    """Samples that the detectors of violations score; 0 leaves them out."""
    risk: float = 0.01
    """The risk of violations that a calibrated filter guarantees, in (0, 1)."""
    partner: Path | None = None
    """A second run on the same data; reports how similar its samples are for the same noise."""
    denoiser: Path | None = None
    """The run of a denoising model whose detectors score this run's samples too."""
    judge: tuple[Path, ...] = ()
    """The judge instead of the classifier of the data: a run whose evaluate gives logits or features, the published
    Inception weights (pt_inception-2015-12-05-6726825d.pth) for the features of all distances, or both."""
    judge_accuracy: float = 0.75
    """Accuracy on held-out data that a classifier needs: one that has less does not judge."""
    single_judge: bool = False
    """Judge by one classifier alone, without a second one of another architecture."""
    cas: bool = False
    """Also train a classifier on samples alone and test it on real images: a minute or two more."""


@dataclasses.dataclass(frozen=True)
class EvaluateSamples:
    """Measure given samples, whichever library made them, and write their report."""

    samples: Path
    """An .npz file (image or arr_0, and label or arr_1 for classes), or a folder of PNG files (class folders, or names
    as 00012_cat.png)."""
    reference: str
    """The real data: digits, tfds:NAME or folder:DIR. Its held-out part is compared with, its training part teaches the
    classifiers that judge."""
    train: str | None = None
    """The data that the model was trained on, for copies; the same name as --reference for its training part."""
    data_dir: str | None = None
    """Where prepared tfds data lies."""
    num_samples: int = 5000
    """Number of samples to measure."""
    out: Path | None = None
    """The folder of the report; None for SAMPLES_report."""
    gate: Path | None = None
    """A TOML file of limits and margins."""
    judge: tuple[Path, ...] = ()
    """The judge instead of the classifiers of the data: a run, the published Inception weights, or both."""
    judge_accuracy: float = 0.75
    """Accuracy on held-out data that a classifier needs: one that has less does not judge."""
    single_judge: bool = False
    """Judge by one classifier alone, without a second one of another architecture."""


@dataclasses.dataclass(frozen=True)
class Compare:
    """Put the reports of two or more evaluated runs side by side, with paired differences and their intervals."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Run directories, each evaluated with the same --seed and --num-samples; the first is compared with."""
    out: Path | None = None
    """A .html page to write; None prints the tables only."""


@dataclasses.dataclass(frozen=True)
class Likelihood(Adjusted):
    """Measure how likely a trained run finds examples: nats per example, bits per dimension, with a 95 % interval."""

    GROUP: ClassVar[str] = "likelihood"

    num_examples: int = 1000
    """Number of examples, or all where there are fewer."""
    split: Literal["held_out", "train"] = "held_out"
    """Examples that no training saw, or those of the training."""
    seed: int = 0
    """Of the draws; example i has its own, whatever the batch size."""
    batch_size: int = 50
    """Examples at once: changes memory and speed only."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prompt(Trained):
    """Measure prompt templates: how often the answer of a model of text is right, with intervals."""

    templates: Path
    """A file of templates, one a line, or .jsonl with an entry template: {name} stands for a field of a case."""
    cases: Path
    """A .jsonl file of cases: fields, and the expected answer."""
    temperature: float = 0.0
    """Of the answers; 0 takes the likeliest."""
    seed: int = 0
    """Of the answers, and of the halves that the winner is chosen on and measured on."""
    out: Path | None = None
    """A .json file of all figures and answers; None prints the table alone."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ask(Trained):
    """Ask a model of text questions: right, wrong and missing answers, as it is and with remedies."""

    questions: Path
    """A .jsonl file of questions: prompt, answer and, optionally, relation, whose answers are the thinkable ones."""
    statements: Path | None = None
    """A file of known statements, one a line: answers under them, advised by them, and after --retrieve of them."""
    retrieve: int = 0
    """How many of the statements, the most similar ones, stand before each prompt; 0 leaves it out."""
    advice: float = 4.0
    """Nats that a token costs which leaves the statements, where they are advice."""
    alpha: float = 0.1
    """The share of wrong ones among given answers, and of answer sets without a right one, that is certified."""
    num_samples: int = 10
    """Answers drawn for each question, by whose disagreement wrong ones are found."""
    seed: int = 0
    """Of the samples, and of the halves that calibrate and measure."""
    out: Path | None = None
    """A .json file of all figures; None prints the tables alone."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Graph:
    """Read a knowledge graph: what it holds, what follows from it by rules, and its statements and questions."""

    file: Annotated[Path, tyro.conf.Positional]
    """Triples as N-Triples (.nt), Turtle (.ttl), or with columns subject, relation, object (.csv, .tsv)."""
    rules: Path | None = None
    """A file of Horn rules, one a line: ancestor(x, z) <- parent(x, y), ancestor(y, z)."""
    templates: Path | None = None
    """A .jsonl file with relation and template, for example {"relation": "lives in", "template": "{subject} lives in
    {object}."}; other relations read as their names."""
    hold_out: float = 0.0
    """Share of the subjects, drawn at random, whose statements are questions only: unknown to the graph."""
    seed: int = 0
    """Which of them."""
    out: Path | None = None
    """The folder for statements.txt, questions.jsonl and triples.csv; None prints the summary alone."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Classify(Trained):
    """Classify texts by a trained classifier: shares of a class by group over time; exit 1 where one is an alert."""

    text: Path
    """The texts, a .jsonl file: a line of JSON each with text, and entries such as domain, date and label."""
    by: str | None = None
    """The entry that names each text's group, for example domain."""
    over: str | None = None
    """The entry of each text's date, YYYY-MM-DD."""
    period: Literal["day", "month", "year"] = "month"
    """The part of dates that counts."""
    of: str | None = None
    """The class whose share is given, by name or number; None for the first."""
    alpha: float | None = None
    """Count certified predictions alone: at most this share of them is wrong, as texts with an entry label show, which
    must be like the others and not of the training; None for all predictions."""
    alert: float = 0.5
    """A group in a period is an alert where its whole interval lies above this share, in [0, 1)."""
    out: Path | None = None
    """The folder of shares.csv and shares.png; None for RUN/classified."""


@dataclasses.dataclass(frozen=True)
class Latents(Trained):
    """Draw reconstructions, interpolations and latent traversals of held-out images by an autoencoder."""

    image: Path | None = None
    """A PNG or JPEG file of the size of the model's images, drawn first and traversed; None for held-out images."""
    condition: str | None = None
    """Class of --image, by name or number."""
    num_examples: int = 500
    """Number of images, or all where there are fewer; the spread of the latents is measured on them."""
    seed: int = 0
    """Which images."""


@dataclasses.dataclass(frozen=True)
class Verify(Trained):
    """Draw the first samples of a run again and compare them with its certificate, bit for bit; exit 1 if they differ.

    Where there is no certificate yet, it is written: of this machine's samples.
    """

    num: int = 64
    """Number of samples of a new certificate."""
    seed: int = 0
    """Which sequence of samples a new certificate is of."""
    certificate: Path | None = None
    """The certificate; None for RUN/certificate.json."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Export(Adjusted):
    """Write the weights of a run, or its sampler with them, in a format that other programs read, and a JSON card."""

    format: Literal["safetensors", "stablehlo"] = "safetensors"
    """safetensors: the weights by name. stablehlo: the sampler too, as a jax.export artifact that needs JAX alone."""
    out: Path | None = None
    """The .safetensors or .stablehlo file, with the card beside it as .json; None for one in RUN/export."""
    num: int = 64
    """Samples that a call of the exported sampler draws."""


@dataclasses.dataclass(frozen=True)
class Prepare:
    """Download a data set and write it as array_record files, or texts as a .jsonl file."""

    name: Annotated[str, tyro.conf.Positional]
    """tfds:NAME, for example tfds:mnist; sentiment; or world:reviews, a year of dated reviews."""
    data_dir: str | None = None
    """Where to write it; None for the usual folder of tensorflow-datasets."""


@dataclasses.dataclass(frozen=True)
class List:
    """List the data sets that can be trained on."""

    data_dir: str | None = None
    """Where prepared tfds data lies; None for the usual folder of tensorflow-datasets."""


@dataclasses.dataclass(frozen=True)
class Info:
    """Print versions, devices and the shipped experiments."""


@dataclasses.dataclass(frozen=True)
class Completion:
    """Print a completion script: source <(aigc-jax completion bash). The settings of a run's sampler are not in it."""

    shell: Annotated[Literal["bash", "zsh"], tyro.conf.Positional]
    """The shell."""
