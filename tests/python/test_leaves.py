"""Leaves: every value has one path, one kind and one digest, and different values differ."""

from __future__ import annotations

import collections
import dataclasses
import enum
import itertools
import time
import types
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from torchnotary import _core, merkle
from torchnotary.leaves import (
    MAX_ROWS,
    MAX_VALUES,
    commitment_of,
    encode_value,
    flatten_arguments,
    flatten_given,
    flatten_output,
    line_of,
    row_run,
    top_level,
)

plain = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.binary(),
)


@given(plain, plain)
def test_different_plain_values_have_different_encodings(a, b):
    same = type(a) is type(b) and (a == b and str(a) == str(b) or a != a and b != b)
    assert (encode_value(a) == encode_value(b)) == same or (a != a and b != b)


@pytest.mark.parametrize("bits", [0, 53, 63, 4095, 4096, 20000])
def test_integers_of_any_size_have_an_encoding(bits):
    value = 2**bits
    assert len({encode_value(v) for v in (value - 1, value, value + 1, -value)}) == 4


def test_a_bool_is_not_an_int_and_a_path_is_its_text():
    assert encode_value(True) != encode_value(1)
    assert encode_value(Path("a/b")) == encode_value("a/b")


def test_enumerations_and_torch_constants_are_text():
    class Colour(enum.Enum):
        RED = object()

    assert encode_value(Colour.RED)[0] == "str"
    assert encode_value(torch.float16) == ("str", b"storch.float16")


def test_containers_of_other_kinds_do_not_collide_when_empty():
    digests = {flatten_output(empty)[0].digests for empty in ([], (), {})}
    assert len(digests) == 3


def test_paths_of_nested_values_are_unambiguous():
    Point = collections.namedtuple("Point", "x y")

    @dataclasses.dataclass
    class Box:
        a: object

    value = {"a.b": [1, (2,)], "a": {"b": 3}, 0: Point(4, Box(5)), '"]': 6}
    assert [leaf.path for leaf in flatten_output(value)] == [
        'output["a.b"][0]',
        'output["a.b"][1][0]',
        'output["a"]["b"]',
        "output[{0}].x",
        "output[{0}].y.a",
        'output["\\"]"]',
    ]


def test_a_cyclic_value_ends_as_unbound():
    loop = []
    loop.append(loop)
    (leaf,) = flatten_output(loop)
    assert leaf.kind == "unbound" and leaf.cls == "builtins.list"


@pytest.mark.parametrize(
    ("shape", "run"),
    [((), 0), ((5,), 0), ((0, 3), 0), ((1, 3), 1), ((MAX_ROWS, 2), 1), ((MAX_ROWS + 1, 2), 2)],
)
def test_rows_are_cut_into_equal_runs(shape, run):
    assert row_run(shape) == run
    (leaf,) = flatten_output(torch.zeros(shape))
    assert leaf.run == run
    assert leaf.rows == (1 if not run else -(-shape[0] // run))


def test_a_row_commitment_is_the_rfc_9162_root_over_salted_row_digests():
    x = torch.arange(12, dtype=torch.float32).reshape(3, 4)
    (leaf,) = flatten_output(x)
    secret = bytes(range(32))
    line = line_of(leaf, secret, 2, 7)
    salts = _core.salts(secret, 2, 7, 3)
    entries = []
    for row in range(3):
        (single,) = flatten_output(x[row])
        assert single.digests == leaf.digests[32 * row : 32 * row + 32]
        entries.append(_core.blake3(single.digests, key=salts[32 * row : 32 * row + 32]))
    assert line["commitment"] == merkle.root(entries).hex()
    assert commitment_of(b"".join(entries), 1) == line["commitment"]


def test_salts_depend_on_secret_tree_line_and_row():
    secret = bytes(32)
    salts = {
        _core.salts(secret, 1, 0, 2)[:32],
        _core.salts(secret, 1, 0, 2)[32:],
        _core.salts(secret, 2, 0, 1),
        _core.salts(secret, 1, 1, 1),
        _core.salts(bytes([1] * 32), 1, 0, 1),
    }
    assert len(salts) == 5


def test_torch_and_numpy_tensors_of_equal_content_agree():
    array = np.arange(6, dtype=np.int64).reshape(2, 3)
    (a,), (b,) = flatten_output(array), flatten_output(torch.from_numpy(array.copy()))
    assert a.digests == b.digests and a.dtype == b.dtype and a.shape == b.shape


def test_unsupported_tensors_are_unbound_by_class():
    (leaf,) = flatten_output(torch.eye(3).to_mkldnn())
    assert (leaf.kind, leaf.cls) == ("unbound", "torch.Tensor")


def test_given_inputs_match_by_name_or_by_position():
    recorded = flatten_arguments({"a": 1, "b": [2, 3], "c": "x"})
    lines = [{"kind": leaf.kind, "path": leaf.path} for leaf in recorded]
    by_name = flatten_given("inputs", {"a": 1, "b": [2, 3], "c": "x"}, lines)
    by_position = flatten_given("inputs", (1, [2, 3], "x"), lines)
    assert [(x.path, x.digests) for x in by_name] == [(x.path, x.digests) for x in by_position]
    assert [top_level(x.path) for x in by_name] == ["a", "b", "b", "c"]


def test_mappings_whose_keys_look_alike_are_unbound():
    class Key:
        def __repr__(self):
            return "key"

    (leaf,) = flatten_output({Key(): 1, Key(): 2})
    assert leaf.kind == "unbound" and leaf.cls == "builtins.dict"


def test_values_that_hold_themselves_many_times_over_end_as_unbound():
    shared = []
    for _ in range(40):
        shared = [shared, shared]
    loop = {}
    loop["a"] = [loop, loop]
    leaves = flatten_arguments({"x": shared, "y": 1, "z": loop})
    assert [(leaf.path, leaf.kind) for leaf in leaves] == [
        ("x", "unbound"),
        ("y", "int"),
        ('z["a"][0]', "unbound"),
        ('z["a"][1]', "unbound"),
    ]


def test_one_odd_value_costs_its_own_leaf_only():
    class Evil:
        @property
        def __class__(self):
            raise RuntimeError("no class")

    @dataclasses.dataclass
    class Unset:
        a: int = 1
        b: int = dataclasses.field(init=False)

    class BadKey:
        def __repr__(self):
            raise RuntimeError("no repr")

    Lying = collections.namedtuple("Lying", "x")
    Lying._fields = ("x", "missing")
    view = memoryview(b"abc")
    view.release()
    odd = {"e": Evil(), "u": Unset(), "k": {BadKey(): 1}, "l": Lying(1), "v": view, "fine": 5}
    kinds = {leaf.path: leaf.kind for leaf in flatten_arguments(odd)}
    assert kinds == {name: "unbound" for name in "euklv"} | {"fine": "int"}


def test_foreign_mappings_are_neither_read_nor_changed():
    grows = collections.defaultdict(list)
    chain = collections.ChainMap(grows, {"a": 1})
    (leaf,) = flatten_arguments({"x": chain})
    assert leaf.kind == "unbound" and not grows
    (leaf,) = flatten_arguments({"x": collections.UserDict(a=1)})
    assert leaf.path == 'x["a"]'


def test_only_paths_are_read_as_paths():
    class Cloud:
        def __fspath__(self):
            raise AssertionError("would download")

    (leaf,) = flatten_arguments({"x": Cloud()})
    assert leaf.kind == "unbound"


class Endless(collections.abc.Mapping):
    def __getitem__(self, key):
        return key

    def __len__(self):
        return 1

    def __iter__(self):
        return itertools.count()


def test_a_mapping_without_end_is_unbound_behind_a_proxy_too():
    for value in (Endless(), types.MappingProxyType(Endless())):
        assert [leaf.kind for leaf in flatten_output(value)] == ["unbound"]
    grows = collections.defaultdict(list)
    (leaf,) = flatten_output(types.MappingProxyType(collections.ChainMap(grows, {"a": 1})))
    assert leaf.kind == "unbound" and not grows
    (leaf,) = flatten_output(types.MappingProxyType({"a": 1}))
    assert leaf.path == 'output["a"]'


def test_subclasses_of_containers_are_read_as_what_they_hold():
    class List(list):
        def __iter__(self):
            return itertools.count()

    class Tuple(tuple):
        def __iter__(self):
            return itertools.count()

    class Dict(dict):
        def items(self):
            raise RuntimeError("no items")

        __iter__ = keys = items

    ordered = collections.OrderedDict(b=1, a=2)
    ordered.move_to_end("b")
    paths = [leaf.path for leaf in flatten_output([List("x"), Tuple("x"), Dict(a=1), ordered])]
    assert [path.removeprefix("output") for path in paths] == [
        "[0][0]",
        "[1][0]",
        '[2]["a"]',
        '[3]["a"]',
        '[3]["b"]',
    ]


def test_a_lazy_object_among_the_values_is_not_evaluated():
    asked = []

    class Lazy:
        @property
        def __class__(self):
            asked.append(self)
            return dict

    (leaf,) = flatten_output(Lazy())
    assert leaf.kind == "unbound" and not asked
    assert [leaf.kind for leaf in flatten_output(mock.call)] == ["str", "empty", "empty"]


def test_a_tensor_whose_own_functions_raise_is_read_without_them():
    class Odd(torch.Tensor):
        @classmethod
        def __torch_function__(cls, *args, **kwargs):
            raise TypeError("no function")

    x = torch.arange(2.0)
    leaves = flatten_arguments({"x": x.as_subclass(Odd), "y": 1})
    assert [leaf.kind for leaf in leaves] == ["tensor", "int"]
    assert leaves[0].digests == flatten_arguments({"x": x})[0].digests


@pytest.mark.parametrize("text", ["1}][{2", "\ud800"])
def test_a_key_whose_repr_is_no_step_of_a_path_leaves_its_mapping_unbound(text):
    class Key:
        def __repr__(self):
            return text

    leaves = flatten_output([{Key(): 0}, {1: {2: 3}}])
    assert [(leaf.path, leaf.kind) for leaf in leaves] == [
        ("output[0]", "unbound"),
        ("output[1][{1}][{2}]", "int"),
    ]


@pytest.mark.parametrize("count", [MAX_VALUES - 2, MAX_VALUES - 1])
def test_an_argument_of_too_many_values_is_one_leaf(count):
    leaves = flatten_arguments({"x": [[0] * count], "y": [0]})
    fits = count + 2 <= MAX_VALUES  # the two lists count too
    assert len(leaves) == (count if fits else 1) + 1
    assert leaves[0].kind == ("int" if fits else "unbound")
    assert leaves[-1].path == "y[0]"


def test_a_tensor_that_comes_many_times_is_hashed_once():
    tensor = nested = torch.zeros(1 << 20)
    for _ in range(12):
        nested = [nested, nested]
    start = time.perf_counter()
    once = flatten_output(tensor)
    limit = 500 * (time.perf_counter() - start) + 0.5
    start = time.perf_counter()
    leaves = flatten_output(nested)
    assert time.perf_counter() - start < limit
    assert len({leaf.path for leaf in leaves}) == len(leaves) == 4096
    assert {leaf.digests for leaf in leaves} == {once[0].digests}


def test_what_a_dataclass_makes_anew_at_each_reading_is_never_taken_for_something_else():
    class Row:
        def __get__(self, instance, owner=None):
            return torch.full((2,), float(next(numbers)))

    @dataclasses.dataclass
    class Box:
        a: object = None

    numbers = itertools.count()
    Box.a = Row()
    boxes = [object.__new__(Box) for _ in range(50)]
    leaves = flatten_arguments({f"x{i}": box for i, box in enumerate(boxes)})
    assert len({leaf.digests for leaf in leaves}) == 50


def test_an_expanded_tensor_too_large_to_hash_is_unbound_and_a_modest_one_is_not():
    leaves = flatten_output([torch.zeros(1).expand(2**33), torch.zeros(1).expand(4, 8, 64)])
    assert [leaf.kind for leaf in leaves] == ["unbound", "tensor"]
    assert leaves[1].digests == flatten_output(torch.zeros(4, 8, 64))[0].digests
