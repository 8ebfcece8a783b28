"""What a configuration needs, phase by phase: GPU, host memory, disk. Arithmetic over shapes; the constants
are measured.

Four moments decide whether one card is enough, because trainer and engine are never both at their largest:

* ``update``: engine asleep; weights, gradients, optimizer states, activations, one chunk of logits.
* ``engine asleep``: what the sleeping engine keeps on the card while the trainer works (part of every other
    moment).
* ``sync``: the engine's weights awake beside the trainer's and a bucket (several cards: and a second copy of
  the trainer's, whose state dict FSDP clones); or its end, when the engine has its KV cache back, if that is
  more.
* ``rollout``: the trainer's residue beside the whole engine (weights, KV cache, graphs, workspace).

Each phase lists its parts, so that a person sees what to change. ``docs/performance.md`` derives the
formulas.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from azr.budget.shape import ModelShape
from azr.config import Config
from azr.system import GIB

# Measured or read off; see docs/performance.md for where each comes from.
TRAINER_CONTEXT_GIB = 1.25
"""Of the trainer's process, beside its tensors: 0.51 GiB of CUDA context, 0.64 with the first collective (NCCL), and about
0.1 in the first update (docs/performance.md)."""
ENGINE_CONTEXT_GIB = 0.95
"""CUDA context and kernels of the engine's process: what sleep cannot return. vLLM does not count it in its share. A card
with fewer multiprocessors needs less. An engine that had to compile kept 0.86 GiB more at 7B until its next start
(docs/performance.md); ``fitting.UPDATE_SHARE`` leaves room for that."""
GRAPH_GIB_PER_SIZE = 0.018
"""CUDA graph memory for each captured batch size, at 24 layers; grows with the layers. Sleep does not return it."""
ENGINE_CACHE_GIB = 0.75
"""What the engine's allocator may keep beyond its share, in blocks that fit no later batch (``EngineWorkerExtension``)."""
ENGINE_CACHE_KEPT_GIB = 0.5
"""What it keeps of that, but no more than twice the largest batch's activations. Measured: 0.2 to 0.65 GiB in six runs,
none in three."""
ALLOCATOR_SLACK = 0.2
"""Share of the activations that the caching allocator holds beside them, in blocks of other sizes. Weights, gradients and
states are allocated once and need none."""
LAYER_BYTES_PER_INTERMEDIATE = 14
"""Bytes a token of one recomputed layer and its gradients, per unit of the MLP's width (gate, up, activation,
product, twice)."""
LAYER_BYTES_PER_HIDDEN = 44
"""The same per unit of hidden width (norms in float32, attention inputs and outputs, rotations)."""
RETURNED_WORDS_SHARE = 0.17
"""Of an int4 base's words: what vLLM gives back while it loads them, and its share is not filled again (``released_gib``).
Measured: 0.57 of 3.04 GiB at 7B, 0.19 of 1.29 at 3B."""
ENGINE_WORKSPACE_BYTES_PER_TOKEN = 4 * 2
"""Engine activations a batched token, per unit of MLP width."""
HOST_TRAINER_GIB = 2.6
HOST_ENGINE_GIB = 4.2
HOST_AGENT_WORKER_GIB = 1.0
HOST_RUNNER_AND_QUEUE_GIB = 2.2
HOST_RAY_GIB = 0.6
CPU_HOST_SHARE = 0.75
"""The processes above without CUDA's libraries. Measured: 8.6 GiB in all with the bundled model, 2 cores, one
agent worker."""
PINNED_SHARE = 1.5
"""Host memory for a byte that torch pins: it rounds blocks up to powers of two. With two such copies of its
base 3B took 28.7 GiB."""
HOST_DATA_STEPS_GIB = 1.0
"""Merging and consolidating beside a trainer that waits. Measured: 0.31 GiB with a pool of 8,321 tasks and two workers of
0.04 each; there is one a core."""
LOADING_SHARE = 0.5
"""Share of the trainer's weights in host memory at once while they load."""
DISK_RUN_GIB = 1.0
"""Logs, transcripts, shards, Ray's session files of a weekend."""


@dataclass(frozen=True)
class Part:
    name: str
    gib: float


@dataclass(frozen=True)
class Moment:
    """One moment of a step on one GPU (or a total of host memory, or disk)."""

    name: str
    parts: tuple[Part, ...]

    @property
    def gib(self) -> float:
        return sum(part.gib for part in self.parts)


@dataclass(frozen=True)
class ResourceEstimate:
    """What the configuration needs. GPU phases are for each card."""

    gpu: tuple[Moment, ...]
    ram: Moment
    disk: Moment
    shape: ModelShape
    kv_tokens: int
    """Tokens that the engine's KV cache holds; below ``max_sequences x`` a response it queues."""
    largest_file_gib: float
    """Of a checkpoint."""

    @property
    def gpu_peak(self) -> Moment:
        return max(self.gpu, key=lambda phase: phase.gib)

    def phase(self, name: str) -> Moment:
        return next(phase for phase in self.gpu if phase.name == name)


def estimate(
    config: Config, shape: ModelShape, gpu_total_gib: float, on_gpu: bool = True
) -> ResourceEstimate:
    """
    Args:
        gpu_total_gib: memory of one card; the engine takes its share of it.
        on_gpu: False for a machine without a card: everything is host memory then.
    """
    trainer = _trainer(config, shape)
    engine = _engine(config, shape, gpu_total_gib)
    phases = _gpu_phases(config, trainer, engine) if on_gpu else ()
    return ResourceEstimate(
        gpu=phases,
        ram=_host(config, shape, trainer, engine, on_gpu),
        disk=_disk(config, trainer),
        shape=shape,
        kv_tokens=int(engine.kv_cache * GIB / shape.kv_bytes_per_token()) if on_gpu else 0,
        largest_file_gib=max(trainer.adapters or trainer.weights, trainer.optimizer),
    )


@dataclass(frozen=True)
class _Trainer:
    """GiB on each card (``shards`` of them share the model)."""

    weights: float
    gradients: float
    optimizer: float
    saved_activations: float
    layer: float
    head: float
    low_precision_copies: float
    adapters: float
    """Of the weights: adapters on one card. They stay there whatever is offloaded, and nothing is moved for
    reading them or their frozen base (``azr/train/verl/no_shard.py``). 0 on several cards."""
    clone: float
    """State dict copied for the sync: whole weights where they are sharded, adapters, or nothing
    (``azr/train/verl/no_shard.py``)."""
    checkpoint: float
    vocabulary: float
    """A vocabulary matrix in the type that is computed in."""


@dataclass(frozen=True)
class _Engine:
    weights: float
    """With room for adapters that are not merged into them."""
    kv_cache: float
    graphs: float
    awake: float
    """All of the engine's process while it generates."""
    asleep: float


def _trainer(config: Config, shape: ModelShape) -> _Trainer:
    train, rank = config.train, config.model.lora_rank
    shards = train.gpus
    weight_bytes = 4 if train.master_dtype == "float32" else 2
    trained = shape.lora_parameters(rank) if rank else shape.parameters
    base_bytes = shape.base_bytes(weight_bytes)
    total_bytes = base_bytes + (weight_bytes * trained if rank else 0)
    optimizer_bytes = {"adamw": 8.0, "adamw_8bit": 2.04}[train.optimizer]
    longest = config.rollout.max_prompt_tokens + config.rollout.max_response_tokens
    tokens = max(train.micro_batch_tokens, longest)
    per_layer = LAYER_BYTES_PER_INTERMEDIATE * shape.intermediate + LAYER_BYTES_PER_HIDDEN * shape.hidden
    compute_bytes = 2 if train.compute_dtype == "bfloat16" else 4
    layer = tokens * per_layer * compute_bytes / 2
    padded = 0.0 if train.packed_sequences else 2.0 * tokens * longest * shape.heads
    if train.gradient_checkpointing:
        saved = tokens * shape.hidden * compute_bytes * (shape.layers + 2)
    else:  # ``layer`` stays: the gradients of one
        per_token = shape.saved_bytes_per_token(rank, compiled=train.compile_layers) * compute_bytes / 2
        saved = tokens * per_token + shape.layers * padded
    layer += padded
    # float32 sum, its bf16 copy, and the flat one
    head_gradient = 0.0 if rank else 8.0 * shape.embedding_parameters
    if train.chunked_logprobs:
        head = train.logprob_chunk_tokens * shape.vocabulary * compute_bytes + head_gradient
    else:
        head = tokens * shape.vocabulary * 10.0 + head_gradient
    copies, root_and_two_layers = 0.0, shape.embedding_parameters + 2 * shape.layer_parameters
    if train.master_dtype == "float32" and compute_bytes == 2:
        copies = 2.0 * root_and_two_layers
    if shards > 1:  # FULL_SHARD gathers them
        copies = max(copies, compute_bytes * root_and_two_layers)
    adapters_alone = bool(rank) and shards == 1
    return _Trainer(
        weights=total_bytes / shards / GIB,
        gradients=weight_bytes * trained / shards / GIB,
        optimizer=optimizer_bytes * trained / shards / GIB,
        saved_activations=saved / GIB,
        layer=layer / GIB,
        head=head / GIB,
        low_precision_copies=copies / GIB,
        adapters=weight_bytes * trained / GIB if adapters_alone else 0.0,
        clone=weight_bytes * trained / (1 if rank else shards) / GIB if shards > 1 else 0.0,
        checkpoint=((weight_bytes * trained if adapters_alone else total_bytes) + optimizer_bytes * trained)
        / GIB,
        vocabulary=compute_bytes * shape.embedding_parameters / GIB,
    )


def _engine(config: Config, shape: ModelShape, gpu_total_gib: float) -> _Engine:
    rollout = config.rollout
    spread = rollout.tensor_parallel
    weight_bytes = 2 if rollout.dtype == "bfloat16" else 4
    rank = config.model.lora_rank
    beside = rank and not (rollout.merge_adapters and config.train.gpus == 1)
    adapters = weight_bytes * shape.lora_parameters(rank) if beside else 0
    weights = (shape.base_bytes(weight_bytes) / spread + adapters) / GIB
    sizes = 0 if rollout.enforce_eager else len(rollout.cuda_graph_sizes)
    graphs = GRAPH_GIB_PER_SIZE * sizes * shape.layers / 24
    workspace = max(
        rollout.max_batched_tokens * shape.intermediate * ENGINE_WORKSPACE_BYTES_PER_TOKEN,
        rollout.max_sequences * shape.vocabulary * 10.0,  # logits of the sampled rows, twice in float32
    ) / (GIB * spread)
    returned = RETURNED_WORDS_SHARE * shape.linear_parameters / 2 / GIB if shape.int4_group else 0.0
    share = rollout.gpu_memory_share * gpu_total_gib - returned
    kv_cache = max(0.0, share - weights - workspace)
    # vLLM counts only the first in its share
    cached = min(ENGINE_CACHE_KEPT_GIB, 2 * workspace)
    awake = max(share, weights + workspace) + cached + ENGINE_CONTEXT_GIB + graphs
    asleep = (ENGINE_CONTEXT_GIB + graphs) if rollout.sleep else awake
    return _Engine(weights, kv_cache, graphs, awake, asleep)


def _gpu_phases(config: Config, trainer: _Trainer, engine: _Engine) -> tuple[Moment, ...]:
    train = config.train
    context = Part("trainer context", TRAINER_CONTEXT_GIB)
    layer_name = "one layer recomputed" if train.gradient_checkpointing else "gradients of one layer"
    working = [
        Part("weights", trainer.weights),
        Part("gradients", trainer.gradients),
        Part("optimizer states", trainer.optimizer),
        Part("saved activations", trainer.saved_activations),
        Part("bf16 copies of weights", trainer.low_precision_copies),
        # of trained weights: its gradient, which lies beside the sum until the embedding's joins it. Adapters over int4
        # took as much, at every size; what it is there was not found (docs/performance.md)
        Part("a vocabulary matrix", trainer.vocabulary),
        Part(
            "output head" if trainer.head >= trainer.layer else layer_name,
            max(trainer.head, trainer.layer),
        ),
    ]
    slack = Part("allocator slack", ALLOCATOR_SLACK * (trainer.saved_activations + trainer.layer))
    update = Moment("update", (context, *working, slack, Part("engine asleep", engine.asleep)))

    states = [] if train.optimizer_offload else [Part("optimizer states", trainer.optimizer)]
    base = [Part("trainer weights", trainer.weights - trainer.adapters)]
    states += [Part("adapters", trainer.adapters)] if trainer.adapters else []
    kept = [*([] if train.param_offload else base), *states]
    synced = kept if trainer.adapters else [*base, *states]  # an offloaded base stays where it is
    outside_share = Part("engine context and graphs", ENGINE_CONTEXT_GIB + engine.graphs)
    sending = (
        context,
        *synced,
        Part("state dict copy", trainer.clone),
        # once: the receiver maps the sender's bucket, or, without CUDA IPC, only the receiver's copy is on
        # the card
        Part("bucket", config.rollout.sync_bucket_mib / 1024),
        # a base in host memory is brought to the card one weight after the other, and copied into the bucket there
        Part("the largest weight", trainer.vocabulary if trainer.adapters and train.param_offload else 0.0),
        Part("engine weights", engine.weights),
        outside_share,
    )
    awake = Part("engine weights and KV cache", engine.weights + engine.kv_cache)
    sent = (context, *kept, awake, outside_share)
    sync = max((Moment("sync", parts) for parts in (sending, sent)), key=lambda phase: phase.gib)
    rollout = Moment("rollout", (context, *kept, Part("engine awake", engine.awake)))
    asleep = Moment(
        "engine asleep", (Part("context", ENGINE_CONTEXT_GIB), Part("CUDA graphs", engine.graphs))
    )
    return (update, sync, rollout, asleep) if config.rollout.sleep else (update, rollout)


def _host(config: Config, shape: ModelShape, trainer: _Trainer, engine: _Engine, on_gpu: bool) -> Moment:
    shards = config.train.n_gpus_per_node
    engines = max(1, shards // config.rollout.tensor_parallel)
    processes = [
        Part("trainer process", HOST_TRAINER_GIB * shards),
        Part("engine processes", HOST_ENGINE_GIB * engines),
        Part("agent workers and sandbox", HOST_AGENT_WORKER_GIB * config.rollout.agent_workers),
        Part("runner and queue", HOST_RUNNER_AND_QUEUE_GIB),
        Part("Ray", HOST_RAY_GIB),
    ]
    parts = [Part(part.name, part.gib * (1.0 if on_gpu else CPU_HOST_SHARE)) for part in processes]
    if on_gpu:
        if config.train.param_offload:  # a frozen base is pinned as it is (``azr/train/verl/no_shard.py``)
            pinned_share = 1.0 if trainer.adapters else PINNED_SHARE
            base = trainer.weights - trainer.adapters
            parts.append(Part("offloaded weights", base * shards * pinned_share))
        if config.train.optimizer_offload:
            parts.append(Part("offloaded optimizer states", trainer.optimizer * shards * PINNED_SHARE))
        if config.model.lora_rank and config.rollout.sleep and not trainer.adapters:
            parts.append(Part("sleeping engine's weights (level 1)", PINNED_SHARE * engine.weights * engines))
        loading = LOADING_SHARE * trainer.weights
        parts.append(Part("loading weights, merging data (one at a time)", max(loading, HOST_DATA_STEPS_GIB)))
    else:
        working = trainer.weights + trainer.gradients + trainer.optimizer + trainer.saved_activations
        working += max(trainer.layer, trainer.head)
        parts += [
            Part("training, merging data (one at a time)", max(working, HOST_DATA_STEPS_GIB)),
            Part("engine weights and KV cache", engine.weights + config.rollout.cpu_kv_cache_gib),
        ]
    if on_gpu:  # larger tensors go by CUDA IPC
        bucket_mib = config.rollout.sync_bucket_mib
    else:
        bucket_mib = shape.bucket_mib(config.rollout.sync_bucket_mib, 4)
    parts.append(Part("sync bucket in shared memory", bucket_mib / 1024))
    return Moment("host memory", tuple(parts))


def _disk(config: Config, trainer: _Trainer) -> Moment:
    count = checkpoints_at_most(config)
    checkpoints = Part(f"{count} checkpoints of {trainer.checkpoint:.1f} GiB", count * trainer.checkpoint)
    return Moment(
        "disk",
        (checkpoints, Part("run files", DISK_RUN_GIB), Part("margin", config.campaign.disk_margin_gib)),
    )


def checkpoints_at_most(config: Config) -> int:
    """How many of a whole run's checkpoints lie on the disk together: those of ``keep_every`` that are saved at all, the last
    ones with the one being written, which is published before the oldest goes, and the best."""
    campaign, train = config.campaign, config.train
    steps = campaign.cycles * campaign.steps_per_cycle
    apart = (train.save_every_steps, campaign.steps_per_cycle)
    early = {step for step in train.early_saves if step <= steps and all(step % each for each in apart)}

    def saved(multiple: int) -> int:
        """Saved steps that are multiples of it. Counted, not listed: a run without an end may have billions."""
        one, other = (math.lcm(multiple, each) for each in apart)
        both = steps // math.lcm(one, other)
        return steps // one + steps // other - both + sum(not step % multiple for step in early)

    among = {
        *early,
        *(steps - steps % each - each * n for each in apart for n in range(campaign.keep_last + 1)),
    }
    kept = len(last := sorted(step for step in among if step > 0)[-campaign.keep_last - 1 :])
    if campaign.keep_every:
        kept += saved(campaign.keep_every) - sum(not step % campaign.keep_every for step in last)
    return min(kept + bool(campaign.best_metric), saved(1))
