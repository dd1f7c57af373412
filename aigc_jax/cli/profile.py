"""The command ``aigc-jax profile``: where the time of training goes."""

from __future__ import annotations

import dataclasses
import resource
import sys
import tempfile
from collections import Counter
from pathlib import Path
from types import ModuleType

import jax

from aigc_jax.cli.arguments import Profile
from aigc_jax.cli.operations import step_operations
from aigc_jax.data.files import visible
from aigc_jax.inference.flops import compiler_flops
from aigc_jax.inference.peaks import measured_peak, published_peak
from aigc_jax.runs import build_experiment, run_training
from aigc_jax.train.config import TrainConfig, validate
from aigc_jax.train.logging import Record, read_log
from aigc_jax.train.loop import TrainResult, abstract_batch, abstract_state, training_step
from aigc_jax.train.parallel import Device, find_devices
from aigc_jax.types import UsageError, Variables

GIB = 2**30
NUM_OPERATIONS = 8


def profile_config(module: ModuleType, name: str, arguments: Profile, command_line: str) -> int:
    """Train for a few steps as ``aigc-jax train`` does, and print where the time went."""
    del command_line
    num_steps, out = arguments.num_steps, arguments.out or Path("runs") / Path(name).stem / "profile"
    if num_steps < 2:
        raise UsageError(f"expected 2 steps or more to time, got {num_steps}: pass --num-steps 20")
    validate(arguments.config)
    num_steps = in_whole_calls(num_steps, arguments.config.steps_per_call)
    # A program from the cache would hide how long it takes to compile.
    jax.config.update("jax_enable_compilation_cache", False)
    devices = find_devices()
    # As many steps each to warm up, to time, and to trace: a trace slows the host down.
    config = _timed(arguments.config, num_steps)
    result, record = _train(module, name, config, out, num_steps)
    seconds, dtype = 1 / record.steps_per_s, _dtype(config)
    flops, again = step_operations(module, config)
    print(f"{visible(Path(name).stem)}: {len(devices)} x {devices[0].device_kind}, batch {config.batch_size}, {dtype}")
    print(f"step time      {1e3 * seconds:.2f} ms, {1 / seconds:.3g} steps/s (mean of {num_steps} steps)")
    print(f"data wait      {record.data_wait:.1%} of the time")
    print(f"compile time   {result.compile_seconds:.1f} s, tracing included")
    print(f"operations     {flops:.4g} a step in products and convolutions{again}")
    print(f"  by compiler  {_compiler_flops(module, config):.4g} a step, the body of a loop counted once")
    print(_utilisation(flops / seconds, devices, dtype))
    print(_memory(devices))
    for line in _longest(out):
        print(line)
    print(f"trace          {visible(str(out))}: tensorboard --logdir {visible(str(out))}, or open it in Perfetto")
    return 0


def in_whole_calls(num_steps: int, steps_per_call: int) -> int:
    """So many steps or a few more: a call that ends before its last step saves less time than calls of training do."""
    return -(-num_steps // steps_per_call) * steps_per_call


def _timed(config: TrainConfig, num_steps: int) -> TrainConfig:
    """Settings of a run of three times so many steps that does nothing between them but to log."""
    return dataclasses.replace(
        config,
        steps=3 * num_steps,
        schedule_steps=config.schedule_steps or config.steps,
        log_every=num_steps,
        eval_every=num_steps,
        sample_every=0,
        checkpoint_every=0,
        best_metric=None,
        wandb=None,
    )


def _train(module: ModuleType, name: str, config: TrainConfig, out: Path, num_steps: int) -> tuple[TrainResult, Record]:
    """Train and write a trace of the last steps; the result, and the record of those that were timed before them."""
    experiment, schedule_steps = build_experiment(module, config)
    options = jax.profiler.ProfileOptions()
    options.python_tracer_level = 0  # it would slow down the host, and the trace would be mostly of it

    def trace(variables: Variables, step: int) -> dict[str, float]:
        del variables
        if step == 2 * num_steps:
            jax.profiler.start_trace(str(out), profiler_options=options)
        elif step == 3 * num_steps:
            jax.profiler.stop_trace()
        return {}

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        workdir = Path(folder) / "run"
        result = run_training(
            experiment,
            config,
            workdir,
            data=experiment.open_data(),
            name=name,
            resume_command=None,
            evaluate_fn=trace,
            schedule_steps=schedule_steps,
        )
        if result.stopped_by is not None:
            raise KeyboardInterrupt
        return result, next(each for each in read_log(workdir / "metrics.jsonl") if each.step == 2 * num_steps)


def _dtype(config: TrainConfig) -> str:
    """The precision of the network, as its settings say; float32 where they do not."""
    groups = [group for group in vars(config).values() if dataclasses.is_dataclass(group)]
    return next((getattr(group, "dtype") for group in groups if hasattr(group, "dtype")), "float32")  # noqa: B009


def _compiler_flops(module: ModuleType, config: TrainConfig) -> float:
    """The compiler's own count, over all devices."""
    experiment, _ = build_experiment(module, dataclasses.replace(config, parallel="jit"))
    key = jax.eval_shape(lambda: jax.random.key(0))
    return compiler_flops(training_step(experiment), abstract_state(experiment), abstract_batch(experiment), key)


def _utilisation(rate: float, devices: list[Device], dtype: str) -> str:
    """Operations of the model in a second, and as a share of what the devices can do."""
    kind = devices[0].device_kind
    peak, source = published_peak(kind, dtype), f"published for {kind} in {dtype}"
    if peak is None:
        # Devices of one CPU share its cores, so that one of them can use all.
        peak, source = measured_peak(devices[0], dtype), f"measured here for products of {dtype}"
        peak = peak / len(devices) if devices[0].platform == "cpu" else peak
    total = peak * len(devices)
    return f"utilisation    {rate / total:.1%}: {rate / 1e12:.3g} of {total / 1e12:.3g} TFLOP/s, {source}"


def _memory(devices: list[Device]) -> str:
    peaks = [(device.memory_stats() or {}).get("peak_bytes_in_use") for device in devices if _is_local(device)]
    known = [peak for peak in peaks if peak is not None]
    if known:
        return f"memory         {max(known) / GIB:.2f} GiB at most on one device"
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "darwin" else 1)
    return f"memory         {1024 * kilobytes / GIB:.2f} GiB at most, of the whole process: these devices do not tell"


def _is_local(device: Device) -> bool:
    return device.process_index == jax.process_index()


def _longest(out: Path) -> list[str]:
    """The operations of the newest trace that take the longest, in all threads or streams together."""
    files = sorted(out.glob("plugins/profile/*/*.xplane.pb"))
    times: Counter[str] = Counter()
    for plane in jax.profiler.ProfileData.from_file(str(files[-1])).planes if files else ():
        for line in plane.lines:
            for event in line.events:
                if any(name == "hlo_op" for name, _ in event.stats):
                    times[event.name] += event.duration_ns
    total = sum(times.values())
    shares = [f"  {time / total:>11.1%}  {name}" for name, time in times.most_common(NUM_OPERATIONS)]
    return ["longest        share of the time of all operations", *shares] if shares else []
