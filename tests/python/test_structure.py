"""Structure lines: what of a model apart from its weights shows, and what is admitted not to."""

from __future__ import annotations

import argparse
import copy
import dataclasses
import enum
import functools
import json
import math
import struct
import subprocess
import sys
import textwrap
import types

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from torchnotary.attributes import Unbound, encode, key_of, name_of
from torchnotary.manifest import Manifest, parse_structure
from torchnotary.manifest_diff import show
from torchnotary.statement.lines import canonical, encode_file, parse
from torchnotary.structure import unwrap, walk


class Colour(enum.Enum):
    RED = 1


class Level(enum.IntEnum):
    HIGH = 3


@dataclasses.dataclass
class Settings:
    width: int = 4
    rate: float = 0.5


class Block(nn.Module):
    __constants__ = ("scale",)
    scale = 2

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(3, 3)
        self.act = F.gelu
        self._eps = 1e-5
        self.register_buffer("mask", torch.ones(3), persistent=False)
        self.register_buffer("kept", torch.zeros(2))

    def forward(self, x):
        return self.act(self.inner(x)) * self.mask


def double(module, args, output):
    return output * 2


def module_of(manifest: Manifest, name: str) -> dict:
    lines = map(json.loads, manifest.structure_lines)
    return next(line for line in lines if line["type"] == "module" and line["name"] == name)


def f64(value: float) -> dict:
    return {"f64": struct.pack(">d", value).hex()}


def test_the_structure_begins_with_the_weights_then_buffers_then_modules_by_name():
    manifest = Manifest.of(nn.Sequential(Block(), nn.ReLU()))
    lines = [json.loads(line) for line in manifest.structure_lines]
    assert lines[0] == {
        "root": manifest.weights_root,
        "size": manifest.weights_size,
        "type": "weights",
    }
    assert [(line["type"], line["name"]) for line in lines[1:]] == [
        ("buffer", "0.mask"),
        ("module", ""),
        ("module", "0"),
        ("module", "0.inner"),
        ("module", "1"),
    ]
    assert parse_structure(encode_file(manifest.structure_lines)) == manifest.structure_lines


def test_a_module_line_has_class_scalars_callables_and_class_constants():
    line = module_of(Manifest.of(Block()), "")
    assert line == {
        "attributes": {"_eps": f64(1e-5), "act": {"callable": "torch._C._nn.gelu"}, "scale": 2},
        "class": f"{__name__}.Block",
        "name": "",
        "type": "module",
        "unbound": [],
    }


def test_persistent_buffers_are_weights_and_others_are_structure():
    manifest = Manifest.of(Block())
    assert any(b'"name":"kept"' in line for line in manifest.weights_lines)
    assert not any(b'"name":"mask"' in line for line in manifest.weights_lines)


def test_a_changed_layer_norm_eps_is_named_with_both_values(minilm):
    changed = copy.deepcopy(minilm)
    changed.encoder.layer[0].attention.output.LayerNorm.eps = 1e-5
    before, after = Manifest.of(minilm), Manifest.of(changed)
    assert before.weights_root == after.weights_root
    assert before.structure_root != after.structure_root
    assert before.diff(after).lines == [
        "encoder.layer.0.attention.output.LayerNorm.eps 1e-12 → 1e-05"
    ]


def test_one_changed_non_persistent_buffer_is_named(minilm):
    changed = copy.deepcopy(minilm)
    changed.embeddings.position_ids[0, 3] = 4
    before, after = Manifest.of(minilm), Manifest.of(changed)
    assert before.weights_root == after.weights_root
    assert before.diff(after).lines == ["buffer embeddings.position_ids: values changed"]


def test_a_changed_activation_is_named():
    block, other = Block(), Block()
    other.load_state_dict(block.state_dict())
    other.act = F.relu
    difference = Manifest.of(block).diff(Manifest.of(other))
    assert difference.lines == ["the model's act torch._C._nn.gelu → torch.nn.functional.relu"]


def test_a_changed_configuration_key_is_one_line_for_all_modules_that_share_it(minilm):
    changed = copy.deepcopy(minilm)
    changed.config.hidden_act = "relu"
    difference = Manifest.of(minilm).diff(Manifest.of(changed))
    assert len(difference.lines) == 1
    assert difference.lines[0].startswith("config.hidden_act 'gelu' → 'relu' (in 8 modules: ")


def test_the_attention_implementation_is_bound(minilm):
    changed = copy.deepcopy(minilm)
    changed.config._attn_implementation = "eager"
    difference = str(Manifest.of(minilm).diff(Manifest.of(changed)))
    assert "config._attn_implementation 'sdpa' → 'eager'" in difference


def test_where_a_model_was_loaded_from_is_no_part_of_its_structure(minilm):
    moved = copy.deepcopy(minilm)
    moved.name_or_path = moved.config._name_or_path = "/elsewhere"
    moved.config.transformers_version = "0.0"
    assert not Manifest.of(minilm).diff(Manifest.of(moved))


def test_an_added_removed_or_replaced_module_is_named():
    before = Manifest.of(nn.Sequential(nn.ReLU(), nn.Dropout(0.5)))
    after = Manifest.of(nn.Sequential(nn.GELU(), nn.Dropout(0.5), nn.Sequential(nn.ReLU())))
    assert before.diff(after).lines == [
        "module 0: class torch.nn.modules.activation.ReLU → torch.nn.modules.activation.GELU",
        "0.approximate added: 'none'",
        "0.inplace removed (was False)",
        "module 2 added (torch.nn.modules.container.Sequential)",
    ]
    assert after.diff(before).lines[-1] == (
        "module 2 removed (torch.nn.modules.container.Sequential)"
    )


def test_training_mode_is_no_part_of_the_structure(minilm):
    training = copy.deepcopy(minilm).train()
    assert Manifest.of(training).structure_root == Manifest.of(minilm).structure_root


def test_a_call_does_not_change_the_structure(minilm_folder):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    model = sentence_transformers.SentenceTransformer(str(minilm_folder), device="cpu")
    before = Manifest.of(model)
    model.encode(["Who proves what ran?"])
    assert not before.diff(Manifest.of(model))


def test_two_processes_and_two_folders_write_the_same_structure(minilm, minilm_folder, tmp_path):
    elsewhere = tmp_path / "moved"
    elsewhere.symlink_to(minilm_folder, target_is_directory=True)
    program = """
        import sys
        from transformers import AutoModel
        from torchnotary import Manifest
        print(Manifest.of(AutoModel.from_pretrained(sys.argv[1])).structure_root)
    """
    found = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), str(elsewhere)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.split() == [Manifest.of(minilm).structure_root]


def test_a_forward_hook_of_someone_else_is_admitted_by_name():
    block = Block()
    before = Manifest.of(block)
    block.inner.register_forward_hook(double)
    block.inner.register_forward_pre_hook(functools.partial(double, None))
    after = Manifest.of(block)
    hook = f"{__name__}.double"
    assert module_of(after, "inner")["unbound"] == [f"hook:{hook}", f"pre_hook:{hook}"]
    assert before.diff(after).lines == [
        f"inner.hook:{hook} is new, and what it does is not bound",
        f"inner.pre_hook:{hook} is new, and what it does is not bound",
    ]


def test_what_has_no_encoding_is_listed_and_a_change_to_it_shows_as_far_as_it_can():
    block = Block()
    block.table = torch.ones(2)
    block.act = lambda x: x
    line = module_of(Manifest.of(block), "")
    assert line["unbound"] == ["act", "table"]
    difference = Manifest.of(Block()).diff(Manifest.of(block))
    assert "the model's act torch._C._nn.gelu → something not bound" in difference.lines
    assert "the model's table is new, and what it does is not bound" in difference.lines


def test_a_replaced_forward_shows():
    block, other = Block(), Block()
    other.load_state_dict(block.state_dict())
    other.forward = types.MethodType(lambda self, x: x, other)
    assert "forward" in str(Manifest.of(block).diff(Manifest.of(other)))


def test_recorders_of_our_own_leave_no_trace():
    class Recorder:
        __torchnotary_recorder__ = True

        def __call__(self, *args, **kwargs):
            raise AssertionError

        __deepcopy__ = None

    block = Block()
    before = Manifest.of(block)
    for name in ("_call_impl", "_compiled_call_impl", "generate"):
        block.__dict__[name] = Recorder()
    block.inner.register_forward_hook(Recorder())
    assert not before.diff(Manifest.of(block))


def test_wrappers_are_looked_through_at_the_root_and_inside(minilm):
    plain = Manifest.of(minilm)
    compiled = torch.compile(nn.DataParallel(minilm), backend="eager")
    assert unwrap(compiled) is minilm
    assert not plain.diff(Manifest.of(compiled))
    outer = nn.Sequential(Block(), nn.ReLU())
    before = Manifest.of(outer)
    wrapped = nn.Sequential(nn.DataParallel(torch.compile(outer[0], backend="eager")), outer[1])
    assert [node.name for node in walk(wrapped)] == ["", "0", "0.inner", "1"]
    assert not before.diff(Manifest.of(wrapped))
    outer.compile(backend="eager")
    assert not before.diff(Manifest.of(outer))
    assert not before.diff(Manifest.of(torch.compile(outer, backend="eager")))


def test_a_real_ddp_wrapper_is_looked_through(tmp_path):
    block = Block()
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        wrapped = nn.parallel.DistributedDataParallel(block)
        assert not Manifest.of(block).diff(Manifest.of(wrapped))
    finally:
        torch.distributed.destroy_process_group()


def test_a_module_reachable_under_two_names_has_two_lines():
    shared = nn.Linear(2, 2)
    manifest = Manifest.of(nn.ModuleDict({"a": shared, "b": shared}))
    names = [json.loads(line)["name"] for line in manifest.structure_lines[1:]]
    assert names == ["", "a", "b"]


def test_parameters_that_state_dict_leaves_out_are_committed_all_the_same():
    class AdapterOnly(nn.Module):
        def __init__(self):
            super().__init__()
            self.base = nn.Parameter(torch.ones(3))
            self.adapter = nn.Parameter(torch.zeros(3))

        def state_dict(self, *args, **kwargs):
            return {"adapter": self.adapter}

    model = AdapterOnly()
    before = Manifest.of(model)
    with torch.no_grad():
        model.base[1] = 5
    assert before.diff(Manifest.of(model)).lines == ["parameter base: values changed"]


def test_a_parametrised_module_and_a_scripted_one_have_a_structure():
    parametrised = nn.utils.parametrizations.weight_norm(nn.Linear(2, 2))
    names = [json.loads(line).get("name") for line in Manifest.of(parametrised).structure_lines]
    assert "parametrizations.weight.0" in names
    scripted = torch.jit.script(nn.Sequential(nn.Linear(2, 2), nn.ReLU()))
    manifest = Manifest.of(scripted)
    assert manifest.weights_size == 2
    assert "_c" in module_of(manifest, "")["unbound"]


@pytest.mark.parametrize(
    ("value", "expected", "shown"),
    [
        (None, None, "None"),
        (True, True, "True"),
        (3, 3, "3"),
        (2**60, {"int": str(2**60)}, str(2**60)),
        (0.1, f64(0.1), "0.1"),
        (-0.0, f64(-0.0), "-0.0"),
        (math.inf, f64(math.inf), "inf"),
        (1 + 2j, {"complex": [f64(1.0), f64(2.0)]}, "(1.0 + 2.0j)"),
        ("gelu", "gelu", "'gelu'"),
        ((1, 2), [1, 2], "[1, 2]"),
        ([None, [0.5]], [None, [f64(0.5)]], "[None, [0.5]]"),
        (torch.Size([4, 5]), [4, 5], "[4, 5]"),
        ({"b": 1, "a": 2}, {"dict": {"a": 2, "b": 1}}, "{'b': 1, 'a': 2}"),
        ({"größe": 1}, {"dict": {"gr\\u00f6\\u00dfe": 1}}, "{'größe': 1}"),
        ({1: "x", 0: "y"}, {"dict": [[0, "y"], [1, "x"]]}, "{0: 'y', 1: 'x'}"),
        ({"b", "a"}, {"set": ["a", "b"]}, "{'a', 'b'}"),
        (torch.bfloat16, {"dtype": "bfloat16"}, "bfloat16"),
        (torch.device("cpu"), {"device": "cpu"}, "cpu"),
        (torch.channels_last, {"memory_format": "channels_last"}, "channels_last"),
        (Colour.RED, {"enum": f"{__name__}.Colour.RED"}, f"{__name__}.Colour.RED"),
        (Level.HIGH, {"enum": f"{__name__}.Level.HIGH"}, f"{__name__}.Level.HIGH"),
        (np.float32(0.5), {"numpy": "float32", "value": f64(0.5)}, None),
        (F.max_pool2d, {"callable": "torch.nn.functional.max_pool2d"}, None),
        (torch.tanh, {"callable": "torch.tanh"}, "torch.tanh"),
        (torch.ops.aten.add.Tensor, {"callable": "torch.ops.aten.add.Tensor"}, None),
        (nn.ReLU, {"callable": "torch.nn.modules.activation.ReLU"}, None),
        (math.sqrt, {"callable": "math.sqrt"}, "math.sqrt"),
        (
            functools.partial(F.gelu, approximate="tanh"),
            {
                "arguments": [],
                "callable": "torch._C._nn.gelu",
                "keywords": {"approximate": "tanh"},
            },
            None,
        ),
        (
            Settings(),
            {"class": f"{__name__}.Settings", "values": {"rate": f64(0.5), "width": 4}},
            None,
        ),
        (
            argparse.Namespace(depth=2),
            {"class": "argparse.Namespace", "values": {"depth": 2}},
            None,
        ),
    ],
    ids=lambda part: str(part) if isinstance(part, (str, dict)) else type(part).__name__,
)
def test_an_attribute_value_has_one_encoding_that_people_can_read(value, expected, shown):
    encoded = encode(value)
    assert canonical(encoded) == canonical(expected)
    assert canonical(parse(canonical(encoded))) == canonical(expected)
    if shown is not None:
        assert show(encoded) == shown


@pytest.mark.parametrize(
    "value",
    [
        lambda x: x,
        functools.partial(lambda x: x),
        object(),
        torch.ones(2),
        np.ones(2),
        nn.ReLU(),
        "\ud800",
        [object()],
        10**5000,
        [].append,
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_a_name_or_a_value_does_not_determine_is_unbound(value):
    with pytest.raises(Unbound):
        encode(value)


def test_a_value_that_holds_itself_is_unbound():
    endless = []
    endless.append(endless)
    with pytest.raises(Unbound):
        encode(endless)


def test_a_long_value_is_bound_by_its_digest():
    encoded = encode(list(range(100_000)))
    assert set(encoded) == {"bytes", "sha256"}
    assert encoded != encode([*range(99_999), 0])


def test_a_function_hidden_by_another_of_its_name_is_unbound(monkeypatch):
    assert encode(double) == {"callable": f"{__name__}.double"}
    stale = double
    monkeypatch.setitem(globals(), "double", lambda: None)
    with pytest.raises(Unbound):
        encode(stale)


@pytest.mark.parametrize("name", ["eps", "größe", 'a"b\\c', "\u2028", "line\nbreak", "\ud800"])
def test_any_attribute_name_becomes_an_ascii_key_and_comes_back(name):
    assert key_of(name).isascii()
    assert name_of(key_of(name)) == name


def test_an_attribute_with_a_name_that_is_not_ascii_is_bound_and_shown_as_written():
    block, other = Block(), Block()
    other.load_state_dict(block.state_dict())
    block.größe, other.größe = 1, 2
    assert Manifest.of(block).diff(Manifest.of(other)).lines == ["the model's größe 1 → 2"]
