"""The watch: every ordinary way to change a model is noticed, and a model left alone is not."""

from __future__ import annotations

import copy
import functools
import gc
import types
import weakref

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from torchnotary import _libtorch
from torchnotary.watch import Watch


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.norm = nn.LayerNorm(3)
        self.absent = nn.Linear(1, 1)
        self.absent = None
        self.act = F.gelu
        self.sizes = [1, 2]
        self.options = {"deep": {"key": 1}}
        self.register_buffer("mask", torch.ones(3), persistent=False)
        self.register_parameter("bias", None)

    def forward(self, x):
        return self.norm(self.act(self.linear(x))) * self.mask


@pytest.fixture(autouse=True, params=["_torch", "python"])
def comparing(request, monkeypatch):
    """What compares: ``_torch``, and Python where there is none."""
    if request.param == "python":
        monkeypatch.setattr(_libtorch, "available", lambda: None)


@pytest.fixture
def block():
    return Block().eval()


def edit_in_place(model):
    with torch.no_grad():
        model.linear.weight[0, 0] += 1


def replace_data(model):
    model.linear.weight.data = torch.zeros(3, 3)


def replace_parameter(model):
    model.linear.weight = nn.Parameter(model.linear.weight.detach().clone())


def replace_table_of_parameters(model):
    tables = vars(model.linear)
    tables["_parameters"] = dict(tables["_parameters"], weight=nn.Parameter(torch.ones(3, 3)))


def replace_table_of_buffers(model):
    vars(model)["_buffers"] = {"mask": torch.zeros(3)}


def add_parameter(model):
    model.norm.register_parameter("extra", nn.Parameter(torch.ones(1)))


def add_buffer_where_there_was_none(model):
    model.linear.register_buffer("extra", torch.ones(1))


def set_absent_parameter(model):
    model.bias = nn.Parameter(torch.ones(3))


def set_absent_module(model):
    model.absent = nn.ReLU()


def remove_bias(model):
    model.linear.bias = None


def add_module(model):
    model.linear.add_module("inner", nn.ReLU())


def delete_module(model):
    del model.norm


def replace_equal_module(model):
    model.norm = nn.LayerNorm(3)


def load_other_weights(model):
    model.load_state_dict(Block().state_dict())


def convert(model):
    model.double()


def patch_forward(model):
    model.forward = types.MethodType(lambda self, x: x, model)


def hook(model):
    model.linear.register_forward_hook(lambda module, args, output: output * 2)


CHANGES = {
    edit_in_place: "linear.weight: edited in place",
    replace_data: "linear.weight: moved to other memory",
    replace_parameter: "linear.weight: replaced by another tensor",
    replace_table_of_parameters: "linear.weight: replaced by another tensor",
    replace_table_of_buffers: "mask: replaced by another tensor",
    add_parameter: "norm.extra: added",
    add_buffer_where_there_was_none: "linear.extra: added",
    set_absent_parameter: "bias: replaced by another tensor",
    set_absent_module: "module absent added (torch.nn.modules.activation.ReLU)",
    remove_bias: "linear.bias: replaced by another tensor",
    add_module: "module linear.inner added (torch.nn.modules.activation.ReLU)",
    delete_module: "module norm removed (torch.nn.modules.normalization.LayerNorm)",
    replace_equal_module: "norm.weight: replaced by another tensor",
    load_other_weights: "linear.weight: edited in place",
    convert: "linear.weight: moved to other memory",
    patch_forward: "the model's forward is new, and what it does is not bound",
    hook: f"linear.hook:{__name__}.hook.<locals>.<lambda> is new, and what it does is not bound",
    lambda m: setattr(m.norm, "eps", 1e-3): "norm.eps 1e-05 → 0.001",
    lambda m: setattr(m, "act", F.relu): (
        "the model's act torch._C._nn.gelu → torch.nn.functional.relu"
    ),
    lambda m: setattr(m, "new", 3): "the model's new added: 3",
    lambda m: delattr(m, "sizes"): "the model's sizes removed (was [1, 2])",
    lambda m: m.sizes.append(3): "the model's sizes [1, 2] → [1, 2, 3]",
    lambda m: m.options["deep"].update(key=2): "the model's options.deep.key 1 → 2",
    lambda m: m.mask.zero_(): "mask: edited in place",
}


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_change_is_noticed_and_named_until_a_new_watch_is_made(block, change):
    watch = Watch(block)
    assert watch.changes() == []
    change(block)
    assert CHANGES[change] in watch.changes()
    assert CHANGES[change] in watch.changes()
    assert Watch(block).changes() == []


def test_calls_of_the_model_are_no_change(minilm):
    watch = Watch(minilm)
    ids = torch.ones(1, 4, dtype=torch.long)
    with torch.inference_mode():
        minilm(input_ids=ids, attention_mask=ids)
    assert watch.changes() == []


def test_an_equal_value_in_a_new_object_is_no_change(block):
    watch = Watch(block)
    block.norm.eps = float("1e-05")
    block.sizes = [1, 2]
    assert watch.changes() == []
    assert watch._taken.holds()


def test_a_value_of_another_type_that_compares_equal_is_a_change(block):
    block.scale = 1
    watch = Watch(block)
    block.scale = True
    assert watch.changes() == ["the model's scale 1 → True"]


def test_a_changed_configuration_is_noticed(minilm):
    model = copy.deepcopy(minilm)
    watch = Watch(model)
    model.config._attn_implementation = "eager"
    assert any("'sdpa' → 'eager'" in change for change in watch.changes())


def test_a_module_replaced_by_one_that_says_it_is_equal_is_noticed():
    class Equal(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))

        def __eq__(self, other):
            return True

        __hash__ = nn.Module.__hash__

    model = nn.Sequential(Equal())
    watch, kept = Watch(model), model[0]
    model[0] = Equal()
    assert kept is not model[0]
    assert watch.changes() == ["0.weight: replaced by another tensor"]


def test_wrapping_a_part_for_compilation_is_no_change(block):
    model = nn.Sequential(block)
    watch = Watch(model)
    model[0] = torch.compile(block, backend="eager")
    assert watch.changes() == []
    edit_in_place(block)
    assert watch.changes() == ["0.linear.weight: edited in place"]


def test_training_mode_is_told_of_any_module(block):
    watch = Watch(block)
    assert not watch.training()
    block.norm.train()
    assert watch.training()
    assert watch.changes() == []


def test_a_model_made_in_inference_mode_can_be_watched():
    with torch.inference_mode():
        model = Block().eval()
    watch = Watch(model)
    assert watch.changes() == []
    replace_parameter(model)
    assert watch.changes() == ["linear.weight: replaced by another tensor"]


def test_a_scripted_model_can_be_watched():
    model = torch.jit.script(nn.Sequential(nn.Linear(2, 2), nn.ReLU()))
    watch = Watch(model)
    assert watch.changes() == []
    with torch.no_grad():
        next(model.parameters()).add_(1)
    assert watch.changes() == ["0.weight: edited in place"]


class Linked(nn.Module):
    """A module that something below it leads back to."""

    def __init__(self, link: str):
        super().__init__()
        self.part = nn.Linear(2, 2)
        if link == "hook":
            self.part.register_forward_hook(self.note)
        elif link == "attribute":
            self.part.parents = [self]
        elif link == "method":
            self.again = self.note
        else:
            self.part.again = functools.partial(self.note)

    def note(self, *args):
        return None


def test_a_replaced_method_of_the_module_itself_is_noticed():
    model = Linked("method")
    watch = Watch(model)
    model.again = model.extra_repr
    name = "torch.nn.modules.module.Module.extra_repr"
    assert watch.changes() == [f"the model's again {__name__}.Linked.note → {name}"]


@pytest.mark.parametrize("link", ["hook", "attribute", "method", "partial"])
def test_a_watch_keeps_no_model_alive_even_one_that_its_parts_refer_to(link):
    model = Linked(link)
    watch, gone = Watch(model), weakref.ref(model)
    assert watch.changes() == []
    del model
    gc.collect()
    assert gone() is None
    assert watch.changes() == ["the model no longer exists"]


def test_a_changed_attribute_leaves_the_tensors_as_they_were_and_an_edit_does_not(block):
    watch = Watch(block)
    block.norm.eps = 1e-3
    assert watch.changes()
    assert not watch.tensors_changed()
    edit_in_place(block)
    assert watch.tensors_changed()


def test_a_watched_model_can_be_copied_and_the_copy_is_not_watched(block):
    watch = Watch(block)
    edit_in_place(copy.deepcopy(block))
    assert watch.changes() == []
