"""Training step and sampling of gpt_shakespeare's network, alone or compared with the same in PyTorch."""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from aigc_jax.algorithms.autoregressive import PLAYER, TokenModel, autoregressive
from aigc_jax.configs import gpt_shakespeare  # pyright: ignore[reportAttributeAccessIssue]
from aigc_jax.nets.decoder import is_matrix, make_decoder
from aigc_jax.rng import example_keys
from aigc_jax.samplers.decoding import Decoding
from aigc_jax.train.parallel import make_parallel
from benchmarks.common import (
    Ours,
    Times,
    disturbed,
    import_torch,
    num_params,
    print_times,
    print_versions,
    time_rounds,
    torch_device,
    verdict,
)

VOCAB_SIZE = 66
"""The characters of Shakespeare, and the boundary of documents."""
LEARNING_RATE, B2, MAX_NORM = 1e-3, 0.99, 1.0


def run(args: argparse.Namespace) -> int:
    """Time the training step and sampling with a cache; 1 where the two libraries do not compute the same."""
    torch_decoder: Any = import_torch("torch_decoder") if args.against else None
    config, root = gpt_shakespeare.Config(), jax.random.key(0)
    config = dataclasses.replace(config, length=args.length)
    net = make_decoder(config.net, vocab_size=VOCAB_SIZE, max_length=config.length)
    # Training and sampling take as many tokens: the model sees all that it has drawn.
    algorithm = autoregressive(
        TokenModel(net, config.length, 0),
        tx=optax.chain(
            optax.clip_by_global_norm(MAX_NORM),
            optax.adamw(LEARNING_RATE, b2=B2, weight_decay=config.weight_decay, mask=is_matrix),
        ),
        sampling=Decoding(config.length - 1),
    )
    tokens = np.random.default_rng(0).integers(0, VOCAB_SIZE, (config.batch_size, config.length + 1), np.int32)
    start = disturbed(jax.jit(algorithm.init)(root, {"example": jnp.asarray(tokens)}))
    params, parallel = jax.device_get(start.params[PLAYER]), make_parallel("jit")
    on_device = parallel.put_batch({"example": tokens})
    ours = Ours(algorithm, parallel, start, root, on_device)
    training: dict[str, Callable[[], Any]] = {"aigc_jax": lambda: ours.run([on_device] * args.steps)}
    assert algorithm.sample is not None
    sampler, variables = algorithm.sample, {"params": start.params, "model_state": start.model_state}
    draw = jax.jit(lambda variables, keys: sampler(variables, keys, args.num_texts, None))
    keys, begin = example_keys(jax.random.key(1), args.num_texts), time.perf_counter()
    jax.block_until_ready(draw(variables, keys))
    compile_seconds = time.perf_counter() - begin
    sampling: dict[str, Callable[[], Any]] = {"aigc_jax": lambda: jax.block_until_ready(draw(variables, keys))}
    sizes, differences = {"aigc_jax": num_params(start)}, {}
    if torch_decoder:
        settings = torch_decoder.Settings(LEARNING_RATE, B2, config.weight_decay, MAX_NORM)
        device = torch_device(torch_decoder.torch)
        theirs = torch_decoder.TorchText(params, net, config.length, settings, device)
        differences = _differences(torch_decoder, theirs, net, params, tokens, device)
        batch = torch_decoder.to_tensor(tokens).long().to(device)
        differences["first step's loss"] = abs(theirs.step(batch) - ours.first["decoder/loss"])
        training["torch"] = lambda: theirs.run([batch] * args.steps)
        prompt = torch_decoder.torch.zeros(args.num_texts, 1, dtype=torch_decoder.torch.long, device=device)
        sampling["torch"] = lambda: theirs.sample(prompt, config.length - 1)
        sizes["torch"] = theirs.num_params
    torch = torch_decoder.torch if torch_decoder else None
    print_versions(torch, "gpt_shakespeare", args, batch_size=config.batch_size)
    _print(time_rounds(training, args.steps, args.rounds), sizes, "training step", tokens[:, 1:].size)
    print(f"first step of aigc_jax, with compilation: {ours.compile_seconds:.1f} s\n")
    print(f"{args.num_texts} texts of {config.length} tokens at once, with a cache; ms of a token of all")
    _print(time_rounds(sampling, config.length - 1, args.rounds), sizes, "sampling", args.num_texts)
    print(f"first texts of aigc_jax, with compilation: {compile_seconds:.1f} s\n")
    return verdict(sizes, differences)


def _print(times: dict[str, Times], sizes: dict[str, int], what: str, num_tokens: int) -> None:
    print_times(times, sizes, what)
    for name, (wall, _) in times.items():
        print(f"{name:16}{1e3 * num_tokens / statistics.median(wall):>12,.0f} tokens/s")


def _differences(
    torch_decoder: Any, theirs: Any, net: Any, params: Any, tokens: np.ndarray, device: Any
) -> dict[str, float]:
    """The largest differences of logits with equal weights, of whole texts and token by token with both caches."""
    ours, apply = tokens[:, :-1], jax.jit(net.apply)
    full = np.asarray(apply({"params": params}, jnp.asarray(ours))[0])
    batch = torch_decoder.to_tensor(ours).long().to(device)
    with torch_decoder.torch.inference_mode():
        found = {"logits": theirs.net(batch).cpu().numpy()}
        caches, num = theirs.net.make_caches(*ours.shape), ours.shape[1] // 2
        theirs.net(batch[:, :num], caches)
        found["logits with a cache"] = theirs.net(batch[:, num : num + 1], caches, num).cpu().numpy()[:, 0]
    cache = net.init_cache(*ours.shape)
    extend = jax.jit(lambda tokens, cache: net.apply({"params": params}, tokens, cache=cache))
    _, cache = extend(jnp.asarray(ours[:, :num]), cache)
    mine = np.asarray(extend(jnp.asarray(ours[:, num : num + 1]), cache)[0])[:, 0]
    pairs = {"logits": full, "logits with a cache": mine}
    return {name: float(np.abs(pairs[name] - other).max()) for name, other in found.items()}
