"""Every change that we make to code of a library, because it has no hook for it. Nothing else in ``azr``
changes foreign code.

``PATCHES`` says what is changed, why, and which test fails when a new version no longer needs the change or breaks it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Patch:
    changed: str
    """What is replaced, in the library."""
    version: str
    """For which it was written."""
    why: str
    by: str
    """Module and function of ours."""
    test: str
    """File and test of ours."""


PATCHES = (
    Patch(
        changed="vllm.model_executor.layers.utils.dispatch_cpu_unquantized_gemm",
        version="vllm 0.24.0",
        why="on a CPU it packs linear weights, which can then no longer be updated",
        by="patches.vllm_on_cpu.keep_plain_linear_weights",
        test="test_patches.py::test_vllm_packs_linear_weights_on_a_cpu",
    ),
    Patch(
        changed="vllm.v1.sample.ops.topk_topp_sampler.compiled_random_sample",
        version="vllm 0.24.0",
        why="on a CPU it draws a number for every word of the vocabulary, with one thread",
        by="patches.vllm_on_cpu.draw_tokens_cheaply",
        test="test_patches.py::test_vllm_draws_noise_for_the_whole_vocabulary_on_a_cpu",
    ),
    Patch(
        changed="verl.workers.rollout.vllm_rollout.bucketed_weight_transfer.BucketedWeightReceiver.receive_weights",
        version="verl 0.9.1",
        why="on a CPU it hands out views of shared memory, which cannot be closed while they live",
        by="patches.vllm_on_cpu.receive_weights_as_copies",
        test="test_patches.py::test_the_receiver_hands_out_views_of_its_shared_memory",
    ),
    Patch(
        changed="verl.workers.engine.fsdp.transformer_impl.offload_fsdp_model_to_cpu and load_fsdp_model_to_gpu",
        version="verl 0.9.1",
        why="where nothing is sharded, modules keep views of the weights on the card, so that offloading frees nothing",
        by="patches.fsdp.install_offload",
        test="test_no_shard.py::test_moved_weights_leave_nothing_behind",
    ),
    Patch(
        changed="state_dict of the wrapped model, while a checkpoint is written",
        version="torch 2.11.0",
        why="FSDP clones all weights on the card, the frozen base too",
        by="patches.fsdp.state_dict_without_copies",
        test="test_no_shard.py::test_a_checkpoint_is_written_from_the_weights_themselves",
    ),
    Patch(
        changed="torch.load, while a checkpoint is read",
        version="verl 0.9.1",
        why="verl does not say where to, so that tensors land on the card beside the model's own",
        by="patches.fsdp.tensors_left_in_files",
        test="test_no_shard.py::test_a_checkpoint_of_adapters_leaves_the_base_out_and_goes_on_alike",
    ),
    Patch(
        changed="torch._subclasses.meta_utils.safe_grad",
        version="torch 2.11.0",
        why="Dynamo cannot describe a gradient whose type differs from its weight's",
        by="patches.dynamo.install_gradient_type",
        test="test_compile_layers.py::test_the_update_through_fsdp_and_checkpointing_is_the_same",
    ),
    Patch(
        changed="the mark _is_fsdp_managed_module of a layer's modules",
        version="torch 2.11.0",
        why="Dynamo refuses modules whose weights are views into a flat parameter",
        by="patches.dynamo.let_dynamo_in",
        test="test_compile_layers.py::test_the_update_through_fsdp_and_checkpointing_is_the_same",
    ),
    Patch(
        changed="forward of the model, an instance of transformers",
        version="transformers 5.9.0",
        why="it computes the logits of all tokens at once; ours returns log-probs, a chunk at a time",
        by="kernels.logprobs.install_chunked_logprobs",
        test="test_logprobs.py::test_installed_model_agrees_with_logits",
    ),
    Patch(
        changed="forward of each linear layer, an instance of torch, without a card",
        version="torch 2.11.0",
        why="MKL computes float32 without AVX-512 on processors that are not Intel's; oneDNN does not mind",
        by="cpu.linear.install_cpu_linear",
        test="test_cpu_linear.py::test_torch_still_has_the_product_by_onednn",
    ),
    Patch(
        changed="forward of each decoder layer, an instance of transformers",
        version="transformers 5.9.0",
        why="the compiled one takes its place",
        by="kernels.compile_layers.compile_layers",
        test="test_compile_layers.py::test_rows_of_all_sizes_and_all_layers_share_one_graph",
    ),
    Patch(
        changed="sleep of vLLM's worker, and which token its model runner thinks has which adapter",
        version="vllm 0.24.0",
        why="with adapters beside their base verl has a sleeping engine keep its weights in pinned host memory, "
        "and adapters are not looked up again",
        by="verl.engine_worker.ForgettingWorkerExtension",
        test="test_engine_worker.py::test_a_sleep_that_keeps_no_weights",
    ),
    Patch(
        changed="determine_available_memory of vLLM's worker, with an int4 base",
        version="vllm 0.24.0",
        why="it takes for room what it has unmapped behind torch's back, and makes its cache larger by as much",
        by="verl.engine_worker.Int4WorkerExtension",
        test="test_engine_worker.py::test_what_vllm_has_given_back_is_neither_in_its_cache_nor_in_the_limit",
    ),
    Patch(
        changed="zmq_handle and update_weights of verl's rollout",
        version="verl 0.9.1",
        why="two runs of one machine would share a socket, and an engine could be sent the other run's weights; "
        "a sender waits for ever for an engine that has failed",
        by="verl.weight_sender.EngineAdapter",
        test="test_sockets.py::test_the_pinned_verl_names_them_on_both_sides_in_this_way",
    ),
    Patch(
        changed="verl.utils.tensordict_utils.index_select_tensor_dict",
        version="verl 0.9.1",
        why="it picks the rows of nested columns by one scalar tensor after another: most of what an update does beside "
        "computing",
        by="patches.rows.select_rows",
        test="test_update.py::test_rows_are_selected_as_verl_selects_them",
    ),
    Patch(
        changed="transformers.masking_utils.find_packed_sequence_indices, during a forward pass of an update",
        version="transformers 5.9.0",
        why="packed attention needs no such mask, and the host would wait for the card",
        by="patches.masking.no_search_for_boundaries",
        test="test_update.py::test_no_value_is_read_between_the_first_forward_and_the_last_backward_pass",
    ),
    Patch(
        changed="ray.actor.ActorClassID",
        version="ray 2.60.0",
        why="declaring a class draws from Ray's generator, and processes forked afterwards draw the same ids",
        by="patches.ray_ids.SystemDrawnClassID",
        test="test_warm_python.py::test_children_draw_different_ids",
    ),
    Patch(
        changed="vllm.model_executor.models.registry._run_in_subprocess, in the warm interpreter",
        version="vllm 0.24.0",
        why="a model that vLLM's cache does not know yet is looked at in a process that imports torch and vLLM for it",
        by="patches.model_classes.look_here",
        test="test_patches.py::test_vllm_starts_a_process_to_look_at_a_models_class",
    ),
    Patch(
        changed="multiprocessing.resource_tracker._HAVE_SIGMASK",
        version="python 3.",
        why="before 3.13 the start of the tracker unblocks SIGTERM, which only the driver is to heed",
        by="patches.signals.keep_signals_blocked",
        test="test_patches.py::test_the_start_of_a_resource_tracker_unblocks_sigterm",
    ),
    Patch(
        changed="terminate of the Popen of each process of Ray's node, when Ray is shut down",
        version="ray 2.60.0",
        why="they have SIGTERM blocked, and Ray waits a second for each",
        by="patches.signals.end_ray_at_once",
        test="test_patches.py::test_ray_ends_its_processes_by_terminate_and_waits_a_second_for_each",
    ),
)
