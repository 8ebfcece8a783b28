"""The packed passes of an update against verl's own loop, on the same batch; and how little they wait for the device."""

import copy
import itertools

import pytest
import torch
from update_engine import MICRO_BATCH_TOKENS, batch, engine, loss, nested, stay_on_the_cpu
from verl.utils import tensordict_utils as tu
from verl.utils.seqlen_balancing import rearrange_micro_batches
from verl.workers.utils.losses import ppo_loss

from azr.train.kernels import attention
from azr.train.kernels.compile_layers import compile_layers
from azr.train.patches import rows
from azr.train.verl import packed_engine, update

pytestmark = pytest.mark.usefixtures("one_process")


@pytest.fixture(autouse=True)
def on_a_cpu(monkeypatch):
    stay_on_the_cpu(monkeypatch)


def passes(bare, made, loss_function, *, ours):
    bare.module.zero_grad()
    kind = packed_engine.PackedEngine if ours else super(packed_engine.PackedEngine, bare)
    if ours:
        output = kind.forward_backward_batch(bare, made, loss_function)
    else:
        output = kind.forward_backward_batch(made, loss_function)
    gradient = torch.cat([parameter.grad.flatten() for parameter in bare.module.parameters()])
    figures = {name: float(metric.aggregate()) for name, metric in output["metrics"].items()}
    return output["loss"], figures, gradient


@pytest.mark.parametrize("recomputed", [False, True])
def test_loss_gradients_and_figures_are_verls(recomputed):
    """Old log-probs that are the engine's, and such as a pass before the update has recomputed."""
    others = (
        {"rollout_log_probs": nested(torch.rand(len(each)) - 5 for each in batch()["responses"].unbind())}
        if recomputed
        else {}
    )
    bare, made = engine(), batch(**others)
    assert update.policy_loss_config(bare, made, loss()) is not None
    theirs = passes(bare, copy.copy(made), loss(), ours=False)
    ours = passes(bare, copy.copy(made), loss(), ours=True)
    assert len(theirs[0]) > 2
    assert ours[0] == pytest.approx(theirs[0], rel=1e-5, abs=1e-7)
    assert ours[1] == pytest.approx(theirs[1], rel=1e-4, abs=1e-6)
    assert ours[1]["actor/pg_clipfrac"] > 0
    torch.testing.assert_close(ours[2], theirs[2], atol=1e-7, rtol=1e-4)


def test_a_token_that_is_bad_and_has_become_likely_counts_no_more_than_the_bound():
    bare, made = engine(), batch()
    made["old_log_probs"] = made["old_log_probs"] - 3  # the ratio is above the bound of 3
    theirs, ours = (passes(bare, copy.copy(made), loss(), ours=each) for each in (False, True))
    assert ours[1]["actor/pg_clipfrac_lower"] > 0
    assert ours[1] == pytest.approx(theirs[1], rel=1e-4, abs=1e-6)
    torch.testing.assert_close(ours[2], theirs[2], atol=1e-7, rtol=1e-4)


@pytest.mark.parametrize(
    "change",
    [
        lambda made, _: tu.assign_non_tensor(made, use_fused_kernels=False),
        lambda made, _: tu.assign_non_tensor(made, calculate_entropy=False),
        lambda made, _: made.set("ref_log_prob", made["old_log_probs"]),
        lambda made, _: made.pop("advantages"),
        lambda _, bare: setattr(bare, "use_ulysses_sp", True),
        lambda _, bare: setattr(bare, "scaler", object()),
    ],
)
def test_other_updates_are_left_to_verl(change):
    bare, made = engine(), batch()
    change(made, bare)
    assert update.policy_loss_config(bare, made, loss()) is None


def test_other_losses_are_left_to_verl():
    assert update.policy_loss_config(engine(), batch(), ppo_loss) is None
    assert update.policy_loss_config(engine(), batch(), loss(loss_agg_mode="seq-mean-token-mean")) is None


def test_micro_batches_hold_the_rows_that_verl_would_put_there():
    made, tokens = batch(40, seed=3), {}
    _, theirs = rearrange_micro_batches(made.select("input_ids"), max_token_len=MICRO_BATCH_TOKENS)
    ours = update.packed_micro_batches(engine(), made)
    assert len(ours) == len(theirs) > 5

    for name in update.COLUMNS:
        tokens[name] = [each.tolist() for each in made[name].unbind()]
    for micro_batch, chosen in zip(ours, theirs, strict=True):

        def of(name, chosen=chosen):
            return [value for row in chosen for value in tokens[name][row]]

        ends = list(itertools.accumulate(len(tokens["input_ids"][row]) for row in chosen))
        assert micro_batch.boundaries.tolist() == [0, *ends] and ends[-1] <= MICRO_BATCH_TOKENS
        assert micro_batch.boundaries.dtype == torch.int32
        assert micro_batch.input_ids.tolist() == [of("input_ids")]
        assert micro_batch.position_ids.tolist() == [of("position_ids")]
        assert micro_batch.labels[0][micro_batch.rows].tolist() == of("responses")
        assert micro_batch.mask.tolist() == of("response_mask")
        assert micro_batch.advantages.tolist() == of("advantages")
        assert micro_batch.old_log_probs.tolist() == of("old_log_probs")
        assert micro_batch.engines_log_probs.tolist() == of("old_log_probs")
        assert micro_batch.longest >= max(len(tokens["input_ids"][row]) for row in chosen)


@pytest.mark.parametrize(("replicas", "asked"), [(1, None), (2, "the replicas")])
def test_replicas_agree_on_the_number_of_micro_batches(replicas, asked, monkeypatch):
    """Each takes part in what the others wait for."""
    found = []

    def cut(batch, max_token_len, dp_group):
        found.append(dp_group)
        return None, [[*range(11)]]

    monkeypatch.setattr(update, "rearrange_micro_batches", cut)
    bare = engine()
    bare.get_data_parallel_size, bare.get_data_parallel_group = lambda: replicas, lambda: "the replicas"
    assert len(update.packed_micro_batches(bare, batch())) == 1 and found == [asked]


def test_no_value_is_read_between_the_first_forward_and_the_last_backward_pass(monkeypatch):
    """On a card each would have to wait for everything that was launched before it."""
    from torch.utils._python_dispatch import TorchDispatchMode

    read, began = [], []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            if began and func.name() in ("aten::_local_scalar_dense", "aten::nonzero"):
                read.append(func.name())
            return func(*args, **(kwargs or {}))

    bare, made = engine(), batch()
    # the attention of a card has no loop over sequences
    monkeypatch.setattr(attention, "_by_segment", lambda q, k, v, *_: q * k.mean() * v.mean())
    bare.module.register_forward_pre_hook(lambda *_: began.append(1))
    stack = torch.stack

    def last(tensors, *arguments, **named):
        if began and tensors[0].dim() == 1:  # the figures of all micro-batches
            began.clear()
        return stack(tensors, *arguments, **named)

    monkeypatch.setattr(torch, "stack", last)
    with Watch():
        bare.forward_backward_batch(made, loss())
    assert not began and read == []


def test_compiled_layers_are_compiled_once_for_all_micro_batches_of_all_updates(monkeypatch):
    graphs = []

    def count(graph, _):
        graphs.append(graph)
        return graph

    def attend(q, k, v, cu_seqlens, longest, scaling, window):
        """In the place of a card's kernel, which can be traced."""
        return q * (1.0 + k.mean() * v.mean() + cu_seqlens.sum() / 1e6 + longest / 1e6)

    monkeypatch.setattr(attention, "_has_flash", lambda q: True)
    monkeypatch.setattr(attention, "_flash", attend)
    torch._dynamo.reset()
    bare = engine()
    compile_layers(bare.module, backend=count)
    for seed, rows_in_it in enumerate((11, 12, 7, 25)):
        bare.forward_backward_batch(batch(rows_in_it, seed), loss())
    torch._dynamo.reset()
    assert len(graphs) == 1


@pytest.mark.parametrize("chosen", [[3, 0, 7], [5], list(range(11)), list(range(10, -1, -1))])
def test_rows_are_selected_as_verl_selects_them(chosen):
    made = batch(weight=torch.arange(11.0), text=[f"row {number}" for number in range(11)])
    theirs, ours = rows._theirs(made, chosen), rows.select_rows(made, chosen)
    assert set(ours.keys()) == set(theirs.keys()) and ours.batch_size == theirs.batch_size
    for name, column in theirs.items():
        if isinstance(column, torch.Tensor) and column.is_nested:
            assert [each.tolist() for each in ours[name].unbind()] == [
                each.tolist() for each in column.unbind()
            ]
            assert ours[name].dtype == column.dtype
            padded = (each.to_padded_tensor(0) for each in (ours[name], column))
            assert torch.equal(*padded)
        elif isinstance(column, torch.Tensor):
            assert torch.equal(ours[name], column)
        else:
            assert tu.get(ours, name) == tu.get(theirs, name)


def test_a_selection_can_be_labelled_without_labelling_the_batch():
    made = batch()
    selected = rows.select_rows(made, range(11))
    tu.assign_non_tensor(selected, update_lr_scheduler=True)
    assert "update_lr_scheduler" not in made.keys()  # noqa: SIM118  (a TensorDict)
