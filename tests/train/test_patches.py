"""The code under our patches is what they were written for (verl 0.9.1, vLLM 0.24.0): a change there must be
seen here."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from importlib.metadata import version
from multiprocessing import resource_tracker
from pathlib import Path
from platform import python_version

import pytest
import torch

from azr.train.patches import PATCHES, Patch
from azr.train.patches.vllm_on_cpu import one_number_for_each_token

pytest.importorskip("verl")


TESTS = Path(__file__).parent
TRAIN = TESTS.parents[1] / "azr" / "train"


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.by)
def test_the_table_is_true(patch: Patch) -> None:
    name, wanted = patch.version.split()
    found = python_version() if name == "python" else version(name)
    assert found.startswith(wanted), f"look at {patch.changed} again: is {patch.by} still needed?"
    module, function = patch.by.split(".")[:2], patch.by.split(".")[2]
    source = (TRAIN.joinpath(*module)).with_suffix(".py").read_text()
    assert re.search(rf"^(def|class) {function}\b", source, re.MULTILINE)
    file, test = patch.test.split("::")
    assert f"def {test}(" in (TESTS / file).read_text()


def test_no_other_file_assigns_to_a_module_of_a_library() -> None:
    """``library.name = ours`` is found by the names under which modules are imported."""
    found = []
    for path in sorted(TRAIN.rglob("*.py")):
        tree = ast.parse(path.read_text())
        imports = [alias for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
        modules = {(alias.asname or alias.name).split(".")[0] for alias in imports} - {"os", "sys"}
        for node in ast.walk(tree):
            for target in node.targets if isinstance(node, ast.Assign) else []:
                base = target
                while isinstance(base, ast.Attribute):
                    base = base.value
                if isinstance(target, ast.Attribute) and isinstance(base, ast.Name) and base.id in modules:
                    found.append(path.parent.name)
    assert set(found) == {"patches"}


TRACKER = """
import signal
from multiprocessing import resource_tracker
from azr.train.patches.signals import keep_signals_blocked
if {patched}:
    keep_signals_blocked()
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
resource_tracker.ensure_running()
print(signal.SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, []))
"""


def test_the_start_of_a_resource_tracker_unblocks_sigterm() -> None:
    def stays_blocked(patched: bool) -> bool:
        command = [sys.executable, "-c", TRACKER.format(patched=patched)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "True"

    assert stays_blocked(True)
    if sys.version_info < (3, 12):
        assert not stays_blocked(False)
    assert hasattr(resource_tracker, "_HAVE_SIGMASK")


def test_ray_ends_its_processes_by_terminate_and_waits_a_second_for_each() -> None:
    from ray._private.node import Node

    source = inspect.getsource(Node._kill_process_impl)
    assert "process.terminate()" in source and "wait_timeout_seconds = 1" in source
    assert "process = process_info.process" in source


def test_vllm_packs_linear_weights_on_a_cpu() -> None:
    import vllm.model_executor.layers.utils as layer_utils

    source = inspect.getsource(layer_utils)
    assert "def dispatch_cpu_unquantized_gemm(" in source and "layer.cpu_linear" in source
    assert "remove_weight" in source, (
        "are weights kept as they are now? Then keep_plain_linear_weights is not needed"
    )


def test_vllm_draws_noise_for_the_whole_vocabulary_on_a_cpu() -> None:
    import vllm.v1.sample.ops.topk_topp_sampler as sampler

    assert "exponential_()" in inspect.getsource(sampler).partition("def compiled_random_sample(")[2][:400]
    draws = inspect.getsource(sampler.TopKTopPSampler.forward_cpu)
    assert "return compiled_random_sample(logits), logits_to_return" in draws


def test_tokens_are_drawn_as_often_as_they_are_likely() -> None:
    torch.manual_seed(0)
    logits = torch.tensor([[float("-inf"), 1.0, 0.0, -2.0, float("-inf"), 2.0, float("-inf")]])
    probabilities = logits.softmax(-1)[0]
    n = 200_000
    drawn = one_number_for_each_token(logits.expand(n, -1))
    counts = torch.bincount(drawn, minlength=7)
    assert counts[probabilities == 0].sum() == 0, "what cannot be said is never drawn"
    error = (counts / n - probabilities).abs()
    assert (error <= 5 * (probabilities * (1 - probabilities) / n).sqrt()).all()


@pytest.mark.parametrize(("number", "token"), [(0.0, 1), (1.0 - 2**-24, 5)])
def test_the_first_and_the_last_number_draw_a_token_that_can_be_said(
    number: float, token: int, monkeypatch
) -> None:
    monkeypatch.setattr(torch, "rand", lambda *shape: torch.full(shape, number))
    for scale in (0.1, 1.0, 3.0):
        logits = scale * torch.tensor([[float("-inf"), 1.0, 0.0, -2.0, 0.3, 2.0, float("-inf")]])
        assert one_number_for_each_token(logits).tolist() == [token]


def test_the_receiver_hands_out_views_of_its_shared_memory() -> None:
    from verl.workers.rollout.vllm_rollout.bucketed_weight_transfer import BucketedWeightReceiver

    receive = inspect.getsource(BucketedWeightReceiver.receive_weights)
    assert "on_bucket_received(weights, is_last)" in receive
    assert "tensor = tensor.to(self.device)" in receive, (
        "no view of the segment any more: is receive_weights_as_copies still needed?"
    )


def test_agent_worker_is_a_ray_actor_class_around_a_plain_one() -> None:
    from verl.trainer.ppo.v1.agent_loop_tq import AgentLoopWorkerTQ

    plain = AgentLoopWorkerTQ.__ray_metadata__.modified_class
    assert inspect.isclass(plain)
    parameters = list(inspect.signature(plain._agent_loop_postprocess).parameters)
    assert [name for name in parameters if not name.startswith("_ray")] == [
        "self",
        "output",
        "validate",
        "kwargs",
    ]


def test_sync_trainer_has_the_methods_that_ours_replaces() -> None:
    from verl.trainer.ppo.v1.trainer_base import PPOTrainer

    for name in (
        "_build_replay_buffer",
        "_init_dataloader",
        "_init_resource_pool_mgr",
        "_load_checkpoint",
        "_get_required_batch_multiple",
    ):
        assert callable(getattr(PPOTrainer, name)), name
    assert "self._load_checkpoint()" in inspect.getsource(PPOTrainer._setup)
    assert "self._get_required_batch_multiple(dp_size)" in inspect.getsource(PPOTrainer._balance_batch)


def test_ray_starts_its_workers_as_ever_below_uv_run() -> None:
    """It would copy the folder in which the command was started to each worker, and start it by uv."""
    code = "from azr.train.environment import set_environment; set_environment('cpu', 1); from ray._private import ray_constants as ray; "
    code += "raise SystemExit(ray.RAY_ENABLE_UV_RUN_RUNTIME_ENV)"
    assert subprocess.run([sys.executable, "-c", code], cwd=TRAIN.parents[1], check=False).returncode == 0


def test_the_environment_is_the_one_of_verls_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    from verl.trainer.constants_ppo import get_ppo_ray_runtime_env

    from azr.train.environment import VERL_ENVIRONMENT, worker_environment

    for name in [*VERL_ENVIRONMENT, "TOKENIZERS_PARALLELISM"]:
        monkeypatch.delenv(name, raising=False)
    theirs = get_ppo_ray_runtime_env()["env_vars"]
    theirs.pop("TOKENIZERS_PARALLELISM")  # ours is set for every process of the attempt
    assert worker_environment() == theirs | {"TRANSFER_QUEUE_ENABLE": "1"}


def test_vllm_starts_a_process_to_look_at_a_models_class(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where its cache does not have the class yet; with the patch it does not."""
    registry = pytest.importorskip("vllm.model_executor.models.registry")
    monkeypatch.setenv("VLLM_CACHE_ROOT", str(tmp_path))
    started: list[object] = []

    def start(*command: object, **_: object) -> None:
        started.append(command)
        raise OSError("none here")

    monkeypatch.setattr(registry.subprocess, "run", start)
    model = registry.ModelRegistry.models["Qwen2ForCausalLM"]
    with pytest.raises(OSError, match="none here"):
        model.inspect_model_cls()
    assert len(started) == 1

    theirs = registry._run_in_subprocess
    try:
        from azr.train.patches import model_classes

        assert registry._run_in_subprocess is model_classes.look_here
        assert model.inspect_model_cls().is_text_generation_model
        assert len(started) == 1
    finally:
        registry._run_in_subprocess = theirs


def test_vllm_reads_a_file_of_its_compile_cache_without_caution(tmp_path: Path) -> None:
    """When it does no longer, an attempt after a failed start may use the cache, too (``azr.train.__main__``)."""
    from vllm.compilation.backends import CompilerManager
    from vllm.config import CompilationConfig

    (tmp_path / "vllm_compile_cache.py").write_text("{ ((1, 8), 0, 'induc")
    with pytest.raises(SyntaxError):
        CompilerManager(CompilationConfig(backend="inductor")).initialize_cache(str(tmp_path))
