"""The training loop: steps, and between them logs, evaluations, pictures and checkpoints.

It sees an :class:`~aigc_jax.types.Experiment` and nothing of the method inside. What the devices compute is
a function of (settings, seed) alone, whatever the run is interrupted by: the batch and the key of a step
depend on its number only.
"""

from __future__ import annotations

import contextlib
import functools
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils

from aigc_jax.data.files import write_text
from aigc_jax.data.images import write_png
from aigc_jax.inference.grid import ShownFn, make_show_fn
from aigc_jax.rng import split_by_name
from aigc_jax.train.calls import call_lengths
from aigc_jax.train.checkpoint import Checkpoints
from aigc_jax.train.cluster import check_agreement
from aigc_jax.train.config import TrainConfig, validate
from aigc_jax.train.initial import with_initial_weights
from aigc_jax.train.logging import Log, Record, open_log
from aigc_jax.train.nan_guard import FLAG, NanGuard, NonFiniteError, check_weights, with_finite_flag
from aigc_jax.train.parallel import CompiledStep, Device, HostBatch, Parallel, make_parallel
from aigc_jax.train.prefetch import DevicePrefetcher, Throughput
from aigc_jax.train.run_dir import lock_run, open_run
from aigc_jax.train.signals import StopRequest
from aigc_jax.train.watchdog import NO_LIMITS, Limits, Watchdog
from aigc_jax.types import Experiment, Key, Metrics, PyTree, StepFn, TrainState, UsageError, Variables

EvaluateFn = Callable[[Variables, int], dict[str, float]]
"""``(variables, step) -> {name: number}``, for example ``{"eval/agreement": 0.98}``."""


class TrainResult(NamedTuple):
    """Result of a training run."""

    state: TrainState  # the final state, a plain copy on one device; one in parts as it lies on its mesh
    step: int  # number of steps made in all
    seconds: float  # time spent on the steps of this call, compilation excluded
    compile_seconds: float  # the first step's tracing and compilation
    data_wait: float  # fraction of ``seconds`` spent waiting for data
    stopped_by: int | None
    """The signal that ended the run early; None when it is complete. The command line exits with 128 + this number."""


def train(
    experiment: Experiment,
    config: TrainConfig,
    workdir: Path,
    *,
    batches: Callable[[int], Iterator[HostBatch]],
    name: str = "custom",
    evaluate_fn: EvaluateFn | None = None,
    on_start: Callable[[TrainState], None] | None = None,
    resume_command: str | None = "the same command",
    devices: Sequence[Device] | None = None,
    schedule_steps: int | None = None,
    limits: Limits = NO_LIMITS,
) -> TrainResult:
    """Train, from the newest complete checkpoint in the run directory where there is one.

    Args:
        experiment: what to train; its step was built for ``axis_name(config.parallel)``.
        config: how long, how often; see :class:`TrainConfig`.
        workdir: the run directory.
        batches: ``start_step -> batches`` with condition numbers, endless, this process's part of each.
        name: the configuration's name, written to ``config.json``.
        evaluate_fn: measures the weights every ``eval_every`` steps.
        on_start: called with the state before the first step.
        resume_command: what a stopped run tells the user to type; None for a run that is not kept.
        devices: the devices to use; None for all.
        schedule_steps: the number of steps that the experiment's schedules were made for; a run does not go on with
            another one. None where it has no schedule.
        limits: the time that a step may take, and the time before which the run stops and saves.

    Returns:
        A :class:`TrainResult`, also when a signal stopped the run.

    Raises:
        UsageError: the settings cannot work, or do not fit what the run directory holds; another process trains in
            it; or it cannot be written.
        NonFiniteError: a metric or a weight became NaN or infinite; no such state is ever saved.
    """
    # All that can be refused without a run directory comes before there is one.
    validate(config)
    parallel = make_parallel(config.parallel, devices, mesh=config.mesh, rules=config.sharding_rules)
    parallel.check_batch(experiment.batch_spec)
    with contextlib.ExitStack() as stack:
        stack.enter_context(lock_run(workdir))
        open_run(workdir, name, config, experiment.batch_spec, schedule_steps=schedule_steps)
        checkpoints = Checkpoints(
            workdir, keep=config.keep_checkpoints, best_metric=config.best_metric, best_mode=config.best_mode
        )
        stack.push(_closing(checkpoints.close))
        shapes = parallel.placed(abstract_state(experiment))
        state = checkpoints.restore_latest(shapes)
        if state is None:
            state = initial_state(experiment, config.seed, parallel.shardings)
            if config.initial is not None:
                state = with_initial_weights(state, shapes, config.initial, workdir)
        if on_start is not None:
            on_start(state)
        start = int(state.step)
        check_agreement("newest checkpoint", start)
        if start >= config.steps:
            return TrainResult(state, start, 0.0, 0.0, 0.0, None)
        if jax.process_index() == 0:
            begin = f"resuming at step {start}; " if start else ""
            print(f"{begin}compiling the training step", file=sys.stderr, flush=True)
        log = open_log(workdir, start, config.steps, wandb=config.wandb, values=asdict(config))
        stack.push(_closing(log.close))
        stream = batches(start)
        stack.callback(getattr(stream, "close", lambda: None))
        intervals = [config.log_every, config.sample_every, config.checkpoint_every, config.eval_every]
        lengths = call_lengths(start, config.steps, config.steps_per_call, intervals)
        session = _Session(
            config,
            workdir,
            parallel,
            checkpoints,
            log,
            NanGuard(),
            make_show_fn(experiment, config.seed) if config.sample_every else None,
            evaluate_fn,
            DevicePrefetcher(stream, parallel, lengths, config.steps_per_call),
            stack.enter_context(Watchdog(limits, workdir)),
        )
        step_fn = parallel.compile_step(training_step(experiment), shapes, is_repeated=config.steps_per_call > 1)
        stop = stack.enter_context(StopRequest())
        state = parallel.put_state(state)  # no second one is held on a device while training
        try:
            result = _run(session, step_fn, state, start, stop)
        except NonFiniteError as error:
            with contextlib.suppress(UsageError):  # the disk is full as well
                checkpoints.wait()
            raise NonFiniteError(error.step, error.name, error.value, _advice(checkpoints)) from None
        checkpoints.wait()
        checkpoints.verify(result.step, shapes)
    if result.stopped_by is not None:
        received = signal.Signals(result.stopped_by).name
        kept = "nothing is kept" if resume_command is None else f"saved; to resume: {resume_command}"
        print(f"{received}: stopped at step {result.step}, {kept}", file=sys.stderr)
    return result


def training_step(experiment: Experiment) -> StepFn:
    """The step that is compiled: of batches as they are loaded, with a flag of finite metrics."""
    return with_finite_flag(lambda state, batch, key: experiment.algorithm.step(state, experiment.to_batch(batch), key))


def initial_state(
    experiment: Experiment, seed: int, shardings: Callable[[TrainState], TrainState] | None = None
) -> TrainState:
    """The state before the first step; with shardings each device computes its own part, and none holds the whole."""
    key, init = split_by_name(jax.random.key(seed), "init")["init"], functools.partial(_init, experiment)
    # Compiled whole: op by op, a deep network takes longer to start than to train a hundred steps.
    return jax.jit(init, out_shardings=shardings and shardings(jax.eval_shape(init, key)))(key)


def abstract_state(experiment: Experiment) -> TrainState:
    """Shapes and dtypes of the state, as :mod:`aigc_jax.train.checkpoint` needs them; computes nothing."""
    return jax.eval_shape(functools.partial(_init, experiment), jax.random.key(0))


def abstract_batch(experiment: Experiment) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes and dtypes of a batch as it is loaded: conditions by their numbers."""
    batch = dict(experiment.batch_spec)
    if experiment.conditions is not None and "condition" in batch:
        batch["condition"] = jax.ShapeDtypeStruct(batch["example"].shape[:1], jnp.int32)
    return batch


def _init(experiment: Experiment, key: Key) -> TrainState:
    batch = jax.tree.map(lambda spec: jnp.zeros(spec.shape, spec.dtype), dict(experiment.batch_spec))
    if experiment.conditions is not None and "condition" in batch:
        ids = jax.ShapeDtypeStruct(batch["example"].shape[:1], jnp.int32)
        trees = jax.eval_shape(experiment.conditions.array, ids), batch["condition"]
        given, described = (jax.tree.map(lambda leaf: f"{leaf.dtype} {leaf.shape}", tree) for tree in trees)
        if given != described:
            raise UsageError(
                f"expected batch_spec to describe the conditions of Conditions.array, {given}; got {described}: "
                "change one of them"
            )
    return experiment.algorithm.init(key, batch)


class _Session(NamedTuple):
    """Parts that a run uses from its first step to its last."""

    config: TrainConfig
    workdir: Path
    parallel: Parallel
    checkpoints: Checkpoints
    log: Log
    guard: NanGuard
    show_fn: ShownFn | None
    evaluate_fn: EvaluateFn | None
    prefetcher: DevicePrefetcher
    watchdog: Watchdog


def _run(session: _Session, step_fn: CompiledStep, state: TrainState, start: int, stop: StopRequest) -> TrainResult:
    config, prefetcher = session.config, session.prefetcher
    root = split_by_name(jax.random.key(config.seed), "train")["train"]

    @functools.cache
    def key_of(num_steps: int) -> PyTree:
        return session.parallel.put_state(root if config.steps_per_call == 1 else (root, jnp.int32(num_steps)))

    (num_steps, batch), begin = prefetcher.next(), time.perf_counter()
    state, metrics = step_fn(state, batch, key_of(num_steps))
    compile_seconds = time.perf_counter() - begin
    throughput, step = Throughput(prefetcher, start), start + num_steps
    while True:
        session.guard.push(step, metrics, num_steps)
        prefetcher.refill(metrics)
        session.log.advance(step)
        session.watchdog.call_ended(step)
        is_stopped = stop.is_asked()
        _between_steps(session, step, state, metrics, throughput, num_steps=num_steps, is_stopped=is_stopped)
        # A signal that comes after this look has one more call made: this one is finished and perhaps saved.
        if is_stopped or step == config.steps:
            break
        num_steps, batch = prefetcher.next()
        state, metrics = step_fn(state, batch, key_of(num_steps))
        step += num_steps
    seconds, data_wait = throughput.total()
    stopped_by = stop.signal if step < config.steps else None
    return TrainResult(session.parallel.kept_state(state), step, seconds, compile_seconds, data_wait, stopped_by)


def _between_steps(
    session: _Session,
    step: int,
    state: TrainState,
    metrics: Metrics,
    throughput: Throughput,
    *,
    num_steps: int,
    is_stopped: bool,
) -> None:
    """Log, evaluate, draw and save what is due after a call. Only here does the host wait for the devices."""
    config, is_end = session.config, step == session.config.steps

    def is_due(every: int) -> bool:
        # At the end all that is done at all; at a stop nothing but saving, or a resumed run would show it.
        return every > 0 and (step % every == 0 or is_end)

    is_evaluated = session.evaluate_fn is not None and is_due(config.eval_every)
    is_logged = is_due(config.log_every) or is_evaluated
    is_drawn = session.show_fn is not None and is_due(config.sample_every)
    is_saved = is_due(config.checkpoint_every) or is_end or is_stopped
    if not (is_logged or is_drawn or is_saved):
        return
    session.guard.drain()  # so that nothing bad is logged, drawn or saved
    steps_per_s, data_wait = throughput.lap(step) if is_logged else (0.0, 0.0)
    with throughput.paused(), session.watchdog.paused():
        kept = functools.cache(lambda: session.parallel.kept_state(state))
        variables = functools.cache(lambda: session.parallel.get_variables(kept()))
        evaluation = _evaluate(session, variables(), step) if is_evaluated else {}
        if is_logged:
            last = jax.device_get(metrics)
            if config.steps_per_call > 1:
                last = {name: values[num_steps - 1] for name, values in last.items()}
            numbers = {name: float(value) for name, value in last.items() if name != FLAG}
            session.log.write(Record(step, {**numbers, **evaluation}, steps_per_s, data_wait, time.time()))
        if is_drawn:
            _draw(session, variables(), step)
            if jax.process_count() > 1:  # the first alone draws: in the next step, the others would call it stuck
                multihost_utils.sync_global_devices("drawn")
        if is_saved or session.checkpoints.is_best(evaluation):
            _save(session, kept, evaluation, is_end=is_end)


def _save(session: _Session, kept: Callable[[], TrainState], evaluation: Mapping[str, float], *, is_end: bool) -> None:
    begin = time.perf_counter()
    check_weights(kept())
    session.log.flush()  # a resumed run never logs the steps before its checkpoint again
    session.checkpoints.save(kept(), evaluation)
    # The first one is waited for, and tells how long a stop takes.
    if session.watchdog.save_seconds is None and not is_end:
        session.checkpoints.wait()
        session.watchdog.saved(time.perf_counter() - begin)


def _evaluate(session: _Session, variables: Variables, step: int) -> dict[str, float]:
    if session.evaluate_fn is None:
        return {}
    evaluation = {name: float(value) for name, value in session.evaluate_fn(variables, step).items()}
    best_metric = session.config.best_metric
    if best_metric is not None and best_metric not in evaluation:
        names = ", ".join(evaluation) or "nothing"
        raise UsageError(f"expected --best-metric to be one of what is evaluated ({names}), got {best_metric!r}")
    return evaluation


def _draw(session: _Session, variables: Variables, step: int) -> None:
    if session.show_fn is None or jax.process_index() != 0:
        return
    shown, file = session.show_fn(variables), session.workdir / "samples" / f"step_{step:08d}"
    if isinstance(shown, np.ndarray):
        write_png(file.with_suffix(".png"), shown)
        session.log.draw(step, shown)
    elif shown is not None:
        write_text(file.with_suffix(".txt"), "\n".join(shown) + "\n")


def _closing(close: Callable[[], None]) -> Callable[..., None]:
    """``close`` for an ExitStack: where an error ends the run, one of closing does not hide it."""

    def exit_fn(kind: type[BaseException] | None, *_: object) -> None:
        with contextlib.suppress(*() if kind is None else (Exception,)):
            close()

    return exit_fn


def _advice(checkpoints: Checkpoints) -> str:
    return (
        f"; {checkpoints.last_good()}; resuming from it repeats this: lower the learning rate, or clip gradients, in "
        "another --workdir"
    )
