"""Manifests: what the weights lines of a model are, and what makes two of them differ."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import textwrap

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from torchnotary import commit, merkle
from torchnotary.coverage import covers, match_root
from torchnotary.errors import MalformedRecord, NotaryError, UnsupportedTensor
from torchnotary.manifest import Manifest
from torchnotary.statement.lines import canonical


class Tied(nn.Module):
    """A language model in small: the output layer is the embedding, transposed."""

    def __init__(self):
        super().__init__()
        self.embed_tokens = nn.Embedding(5, 3)
        self.lm_head = nn.Linear(3, 5, bias=False)
        self.lm_head.weight = self.embed_tokens.weight


def names_of(manifest: Manifest) -> list[str]:
    return [json.loads(line)["name"] for line in manifest.weights_lines]


def line_of(manifest: Manifest, name: str) -> dict:
    return next(x for x in map(json.loads, manifest.weights_lines) if x["name"] == name)


def test_every_entry_of_the_state_dict_is_one_line_with_its_digest_sorted_by_utf8_bytes():
    state = {"z": torch.arange(6).reshape(2, 3), "é": torch.ones(()), "Z": torch.zeros(0, 4)}
    manifest = Manifest.of(state)
    assert names_of(manifest) == ["Z", "z", "é"]
    for name, tensor in state.items():
        line = line_of(manifest, name)
        assert line == {
            "digest": commit(tensor).digest,
            "dtype": str(tensor.dtype).removeprefix("torch."),
            "name": name,
            "shape": list(tensor.shape),
            "type": "tensor",
        }
    assert manifest.weights_root == merkle.root(manifest.weights_lines).hex()
    assert (manifest.weights_size, manifest.structure_root, manifest.structure_size) == (3, None, 0)


def test_minilm_and_its_file_agree_tensor_by_tensor_but_for_the_position_ids(minilm, minilm_folder):
    module, file = Manifest.of(minilm), Manifest.of(minilm_folder / "model.safetensors")
    assert len(module.weights_lines) == 103
    extra = set(file.weights_lines) - set(module.weights_lines)
    assert [json.loads(line)["name"] for line in extra] == ["embeddings.position_ids"]
    assert set(module.weights_lines) < set(file.weights_lines)
    assert file.structure_root is None
    assert Manifest.of(minilm_folder).weights_lines == file.weights_lines


def test_the_manifest_of_a_file_needs_neither_torch_nor_numpy(minilm, minilm_folder):
    program = """
        import sys
        class Refuse:
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] in ("torch", "numpy", "safetensors"):
                    raise ImportError(name)
        sys.meta_path.insert(0, Refuse())
        from torchnotary import Manifest
        print(Manifest.of(sys.argv[1]).weights_root)
    """
    found = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), str(minilm_folder)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == Manifest.of(minilm_folder).weights_root


def test_one_changed_element_changes_one_line_and_the_diff_names_it(minilm):
    changed = copy.deepcopy(minilm)
    with torch.no_grad():
        changed.encoder.layer[3].output.dense.weight[7, 11] += 1e-3
    before, after = Manifest.of(minilm), Manifest.of(changed)
    assert len(set(before.weights_lines) ^ set(after.weights_lines)) == 2
    assert before.weights_root != after.weights_root
    assert before.diff(after).lines == [
        "tensor encoder.layer.3.output.dense.weight: values changed"
    ]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 11), st.integers(0, 31))
def test_any_single_bit_of_a_weight_changes_the_root(element, bit):
    weight = torch.arange(12, dtype=torch.float32)
    flipped = weight.clone()
    flipped.view(torch.int32)[element] ^= (1 << bit) - (1 << 32 if bit == 31 else 0)
    assert Manifest.of({"w": weight}).weights_root != Manifest.of({"w": flipped}).weights_root


def test_a_relabelled_dtype_is_another_tensor(minilm):
    state = dict(minilm.state_dict())
    name = "pooler.dense.bias"
    state[name] = state[name].view(torch.int32)
    difference = Manifest.of(minilm.state_dict()).diff(Manifest.of(state))
    assert difference.lines == [f"tensor {name}: dtype float32 → int32"]


def test_a_transposed_weight_is_another_tensor_and_its_layout_in_memory_is_not():
    weight = torch.arange(6.0).reshape(2, 3)
    root = Manifest.of({"w": weight}).weights_root
    assert Manifest.of({"w": weight.t().contiguous().t()}).weights_root == root
    difference = Manifest.of({"w": weight}).diff(Manifest.of({"w": weight.t()}))
    assert difference.lines == ["tensor w: shape [2, 3] → [3, 2]"]


def test_swapped_tensors_are_told_apart_from_edited_ones():
    a, b = torch.ones(3), torch.zeros(3)
    difference = Manifest.of({"a": a, "b": b}).diff(Manifest.of({"a": b, "b": a}))
    assert difference.lines == [
        "tensor a: now holds what b held",
        "tensor b: now holds what a held",
    ]


def test_a_renamed_tensor_is_found_by_its_content():
    a, b = torch.ones(3), torch.zeros(3)
    before = Manifest.of({"a": a, "b": b})
    assert before.diff(Manifest.of({"a": a, "c": b})).lines == ["tensor b renamed to c"]
    assert before.diff(Manifest.of({"m.a": a, "m.b": b})).lines == [
        "2 tensors renamed, otherwise the same: prefix '' → 'm.'"
    ]
    assert before.diff(Manifest.of({"a": a, "d": b + 2})).lines == [
        "tensor b removed (float32 [3])",
        "tensor d added (float32 [3])",
    ]


def test_equal_manifests_do_not_differ():
    manifest = Manifest.of(nn.Linear(2, 2))
    assert not manifest.diff(manifest)
    assert str(manifest.diff(manifest)) == "nothing differs"


def test_a_diff_with_a_file_says_that_the_structure_was_not_compared():
    model = nn.Linear(2, 2)
    difference = Manifest.of(model).diff(Manifest.of(model.state_dict()))
    assert not difference
    assert "not compared: structure" in str(difference)


def test_a_long_diff_shows_its_beginning_and_counts_the_rest():
    before = Manifest.of({f"t{i:02}": torch.tensor(i) for i in range(40)})
    after = Manifest.of({f"t{i:02}": torch.tensor(i + 100) for i in range(40)})
    difference = before.diff(after)
    assert len(difference.lines) == 40
    assert str(difference).endswith("… and 28 more")


def test_tied_weights_are_two_lines_and_hashed_once(monkeypatch):
    from torchnotary import model_lines

    hashed = []
    one, many = model_lines.commit, model_lines.commit_many
    monkeypatch.setattr(model_lines, "commit", lambda x: (hashed.append(x), one(x))[1])
    monkeypatch.setattr(
        model_lines, "commit_many", lambda xs: (hashed.extend(xs := list(xs)), many(xs))[1]
    )
    manifest = Manifest.of(Tied())
    assert names_of(manifest) == ["embed_tokens.weight", "lm_head.weight"]
    assert len(hashed) == 1
    first, second = map(json.loads, manifest.weights_lines)
    assert first["digest"] == second["digest"]


def test_views_of_one_storage_that_differ_in_shape_or_offset_are_not_taken_for_tied():
    base = torch.arange(12.0)
    state = {"a": base[:6], "b": base[6:], "c": base[:6].reshape(2, 3), "d": base[::2]}
    manifest = Manifest.of(state)
    for name, tensor in state.items():
        assert line_of(manifest, name)["digest"] == commit(tensor.clone()).digest


def test_several_modules_are_committed_under_their_names():
    encoder, head = nn.Linear(2, 3), nn.Linear(3, 1)
    manifest = Manifest.of({"encoder": encoder, "head": head})
    assert names_of(manifest) == ["encoder.bias", "encoder.weight", "head.bias", "head.weight"]
    modules = [json.loads(x) for x in manifest.structure_lines]
    assert [x["name"] for x in modules if x["type"] == "module"] == ["encoder", "head"]


def test_several_modules_whose_names_collide_are_refused():
    inner = nn.ModuleDict({"b": nn.Linear(2, 2)})
    with pytest.raises(NotaryError, match=r"a\.b"):
        Manifest.of({"a": inner, "a.b": nn.Linear(2, 2)})


def test_a_weight_without_a_rule_is_refused_by_its_name():
    with pytest.raises(UnsupportedTensor, match=r"head\.weight.*_mkldnn.*Next: "):
        Manifest.of({"head.weight": torch.eye(3).to_mkldnn()})


@pytest.mark.parametrize("source", [3, None, [torch.ones(2)], {"a": nn.ReLU(), "b": torch.ones(2)}])
def test_what_is_no_model_is_refused_naming_what_is(source):
    with pytest.raises(TypeError, match=r"torch\.nn\.Module, a state_dict"):
        Manifest.of(source)


def test_a_model_without_weights_has_no_weights_root():
    manifest = Manifest.of(nn.ReLU())
    assert (manifest.weights_root, manifest.weights_lines) == (None, [])
    assert [json.loads(line)["type"] for line in manifest.structure_lines] == ["module"]


def test_reused_weights_lines_are_not_hashed_again(monkeypatch):
    from torchnotary import model_lines

    model = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3, eps=1e-5))
    earlier = Manifest.of(model)
    model[1].eps = 1e-3
    monkeypatch.setattr(model_lines, "commit", None)
    assert earlier.diff(Manifest.of(model, reuse=earlier)).lines == ["1.eps 1e-05 → 0.001"]


def test_progress_counts_the_bytes_of_every_tensor(minilm_folder):
    seen = []
    Manifest.of(minilm_folder, progress=lambda done, total, name: seen.append((done, total)))
    total = 90_868_376 - 8 - 11_408
    assert len(seen) == 104
    assert seen[-1] == (total, total)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_a_saved_manifest_is_the_bytes_of_its_lines_and_loads_again(tmp_path):
    manifest = Manifest.of(nn.Sequential(nn.Linear(2, 2), nn.ReLU()))
    manifest.save(tmp_path / "new" / "folder")
    folder = tmp_path / "new" / "folder"
    assert sorted(path.name for path in folder.iterdir()) == ["structure.jsonl", "weights.jsonl"]
    assert (folder / "weights.jsonl").read_bytes() == b"\n".join(manifest.weights_lines) + b"\n"
    assert Manifest.load(folder) == manifest


def test_saving_a_file_manifest_leaves_no_structure_of_an_earlier_one(tmp_path):
    model = nn.Linear(2, 2)
    Manifest.of(model).save(tmp_path)
    Manifest.of(model.state_dict()).save(tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.suffix] == ["weights.jsonl"]
    assert Manifest.load(tmp_path).structure_root is None


def test_a_structure_beside_other_weights_is_refused(tmp_path):
    Manifest.of(nn.Linear(2, 2)).save(tmp_path / "a")
    Manifest.of(nn.Linear(2, 2)).save(tmp_path / "b")
    (tmp_path / "b" / "weights.jsonl").replace(tmp_path / "a" / "weights.jsonl")
    with pytest.raises(MalformedRecord, match="belongs to other weights"):
        Manifest.load(tmp_path / "a")


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("cut-short", lambda data: data[:-1]),
        ("line-twice", lambda data: data + data.splitlines(keepends=True)[-1]),
        ("unsorted", lambda data: b"".join(reversed(data.splitlines(keepends=True)))),
        ("blank-line", lambda data: data + b"\n"),
        ("digest-shortened", lambda data: data.replace(b'{"digest":"', b'{"digest":"0', 1)),
        ("negative-shape", lambda data: data.replace(b'"shape":[2', b'"shape":[-2', 1)),
        ("other-type", lambda data: data.replace(b'"tensor"', b'"tensors"', 1)),
        ("member-added", lambda data: data.replace(b'"type"', b'"tape":1,"type"', 1)),
        ("space", lambda data: data.replace(b":", b": ", 1)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_damaged_weights_file_is_refused(tmp_path, name, damage):
    Manifest.of(nn.Linear(2, 2)).save(tmp_path)
    path = tmp_path / "weights.jsonl"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(MalformedRecord):
        Manifest.load(tmp_path)


def test_a_folder_without_a_manifest_cannot_be_loaded(tmp_path):
    with pytest.raises(FileNotFoundError):
        Manifest.load(tmp_path)


def test_a_file_covers_the_model_loaded_from_it_though_it_holds_more(minilm, minilm_folder):
    file = Manifest.of(minilm_folder)
    coverage = covers(Manifest.of(minilm).weights_lines, file.weights_lines)
    assert coverage
    assert (coverage.matched, coverage.legacy) == (103, ("embeddings.position_ids",))


def test_a_file_covers_a_model_that_names_its_tensors_otherwise(minilm, minilm_folder):
    file = Manifest.of(minilm_folder)
    wrapped = Manifest.of({f"0.model.{k}": v for k, v in minilm.state_dict().items()})
    coverage = covers(wrapped.weights_lines, file.weights_lines)
    assert coverage
    assert coverage.rule == "prefix 0.model. added"


def test_names_that_no_one_rule_gives_leave_open_whether_the_model_is_the_files(
    minilm, minilm_folder
):
    odd = Manifest.of({k.replace("encoder", "trunk"): v for k, v in minilm.state_dict().items()})
    coverage = covers(odd.weights_lines, Manifest.of(minilm_folder).weights_lines)
    assert not coverage and not coverage.differs
    assert len(coverage.misplaced) == 96 and "no one rule" in coverage.doubt


def test_one_tensor_under_many_names_is_not_taken_for_tied_weights():
    table = torch.ones(5, 3)
    file = Manifest.of({"embed_tokens.weight": table, "b": torch.zeros(1)}).weights_lines
    for copies in (["x0", "x1", "x2"], ["lm_head.weight", "proj_out.weight"], ["a.lm_head.weight"]):
        names = ["embed_tokens.weight", "lm_head.weight", *copies]
        record = Manifest.of({**{name: table for name in names}, "b": torch.zeros(1)})
        assert not covers(record.weights_lines, file)
        assert match_root(file, record.weights_root, record.weights_size) is None


def test_what_a_file_holds_beside_the_model_is_never_passed_over():
    state = {"a": torch.ones(2), "b": torch.zeros(3)}
    coverage = covers(
        Manifest.of({"a": state["a"]}).weights_lines, Manifest.of(state).weights_lines
    )
    assert not coverage and not coverage.differs
    assert coverage.extra == ("b",)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("attn.bias", torch.ones(4)),
        ("embeddings.position_ids", torch.ones(1, 4)),
        ("attn.masked_bias", torch.ones(2)),
    ],
)
def test_a_parameter_named_like_a_legacy_buffer_is_not_left_out(name, value):
    state = {"a": torch.ones(2), name: value}
    model, file = Manifest.of({"a": state["a"]}), Manifest.of(state)
    assert not covers(model.weights_lines, file.weights_lines)
    assert match_root(file.weights_lines, model.weights_root, 1) is None


def test_names_that_torch_compile_changed_inside_a_model_are_the_same_names():
    state = {"encoder.0.weight": torch.ones(2), "head.bias": torch.zeros(3)}
    compiled = {"encoder._orig_mod.0.weight": torch.ones(2), "head.bias": torch.zeros(3)}
    model, file = Manifest.of(state), Manifest.of({f"module.{k}": v for k, v in compiled.items()})
    assert covers(model.weights_lines, file.weights_lines)
    assert match_root(file.weights_lines, model.weights_root, 2)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("saved_by", ["save_pretrained", "save_model", "torch.save"])
def test_files_of_a_language_model_cover_it_whichever_tied_name_they_keep(tmp_path, saved_by):
    from safetensors.torch import save_model
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    sizes = dict(n_layer=2, n_embd=8, n_head=2, vocab_size=11, n_positions=6)
    model = GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=0, eos_token_id=0))
    path = {"save_pretrained": tmp_path / "folder", "save_model": tmp_path / "m.safetensors"}.get(
        saved_by, tmp_path / "m.pt"
    )
    if saved_by == "save_pretrained":
        model.save_pretrained(path)
    elif saved_by == "save_model":
        save_model(model, str(path))
    else:
        torch.save(torch.compile(model).state_dict(), path)
    own, file = Manifest.of(model), Manifest.of(path)
    assert covers(own.weights_lines, file.weights_lines)
    if saved_by != "save_model":  # which leaves out the name that the others' names tell
        assert match_root(file.weights_lines, own.weights_root, own.weights_size)
    with torch.no_grad():
        model.transformer.wte.weight[0, 0] += 1
    other = Manifest.of(model)
    assert covers(other.weights_lines, file.weights_lines).differs
    assert match_root(file.weights_lines, other.weights_root, other.weights_size) is None


def test_a_file_of_many_hostile_names_is_answered():
    names = [f"a{index}.wte.weight" for index in range(20_000)]
    line = {"digest": "0" * 64, "dtype": "float32", "shape": [1], "type": "tensor"}
    lines = [canonical({**line, "name": name}) for name in names]
    assert match_root(lines, "0" * 64, len(lines) + 1) is None
    assert match_root(lines, "0" * 64, len(lines) - 1) is None


def test_a_file_does_not_cover_a_model_with_one_changed_tensor(minilm, minilm_folder):
    state = dict(minilm.state_dict())
    state["pooler.dense.bias"] = state["pooler.dense.bias"] + 1
    file = Manifest.of(minilm_folder)
    coverage = covers(Manifest.of(state).weights_lines, file.weights_lines)
    assert not coverage
    assert coverage.changed == ("pooler.dense.bias",)
    assert "pooler.dense.bias" in str(coverage)
    prefixed = Manifest.of({f"0.model.{k}": v for k, v in state.items()})
    assert covers(prefixed.weights_lines, file.weights_lines).changed == (
        "0.model.pooler.dense.bias",
    )


def test_two_swapped_tensors_are_not_covered_although_all_content_is_there():
    a, b = torch.ones(3), torch.zeros(3)
    file = Manifest.of({"a": a, "b": b})
    coverage = covers(Manifest.of({"a": b, "b": a}).weights_lines, file.weights_lines)
    assert not coverage
    assert coverage.changed == ("a", "b")


def test_a_file_without_the_second_name_of_a_tied_weight_covers_the_model():
    model = Tied()
    file = Manifest.of({"embed_tokens.weight": model.embed_tokens.weight})
    coverage = covers(Manifest.of(model).weights_lines, file.weights_lines)
    assert coverage
    assert coverage.tied == ("lm_head.weight",)


def test_a_tensor_that_the_file_lacks_is_missing():
    file = Manifest.of({"a": torch.ones(3)})
    coverage = covers(
        Manifest.of({"a": torch.ones(3), "b": torch.zeros(2)}).weights_lines, file.weights_lines
    )
    assert not coverage
    assert coverage.missing == ("b",)


def test_a_root_alone_is_matched_through_known_names_and_leftover_buffers(minilm, minilm_folder):
    file = Manifest.of(minilm_folder).weights_lines
    own = Manifest.of(minilm)
    assert match_root(file, own.weights_root, 103).how == "without embeddings.position_ids"
    wrapped = Manifest.of({f"0.model.{k}": v for k, v in minilm.state_dict().items()})
    assert match_root(file, wrapped.weights_root, 103).how == (
        "without embeddings.position_ids, prefix 0.model. added"
    )
    back = match_root(wrapped.weights_lines, own.weights_root, 103)
    assert back.how == "prefix 0.model. stripped"
    assert match_root(own.weights_lines, own.weights_root, 103).how == "line by line"


def test_a_root_is_matched_with_a_tied_output_layer_but_not_without_some_line():
    state = {"a": torch.ones(2), "b": torch.zeros(3), "c": torch.ones(())}
    root = Manifest.of({"a": state["a"], "c": state["c"]}).weights_root
    assert match_root(Manifest.of(state).weights_lines, root, 2) is None
    model = Tied()
    file = Manifest.of({"embed_tokens.weight": model.embed_tokens.weight}).weights_lines
    tied = match_root(file, Manifest.of(model).weights_root, 2)
    assert tied.how == "with lm_head.weight tied"


def test_a_root_over_one_part_of_a_file_is_no_answer_about_the_whole():
    state = {"bert.a": torch.ones(2), "bert.b": torch.zeros(3), "head.c": torch.ones(())}
    part = Manifest.of({"a": state["bert.a"], "b": state["bert.b"]})
    matched = match_root(Manifest.of(state).weights_lines, part.weights_root, 2)
    assert not matched and matched.extra == ("head.c",)


def test_a_root_over_other_content_is_not_matched(minilm, minilm_folder):
    state = dict(minilm.state_dict())
    state["pooler.dense.bias"] = state["pooler.dense.bias"] + 1
    file = Manifest.of(minilm_folder).weights_lines
    assert match_root(file, Manifest.of(state).weights_root, 103) is None
    own = Manifest.of(minilm)
    assert match_root(file, own.weights_root, 104) is None


@pytest.mark.filterwarnings("ignore")
def test_an_int8_model_behind_the_same_interface_is_another_model(minilm):
    quantised = torch.ao.quantization.quantize_dynamic(
        copy.deepcopy(minilm), {nn.Linear}, dtype=torch.qint8
    )
    before, after = Manifest.of(minilm), Manifest.of(quantised)
    assert before.weights_root != after.weights_root
    assert before.structure_root != after.structure_root
    packed = "encoder.layer.0.attention.self.query._packed_params._packed_params"
    assert line_of(after, f"{packed}[0]")["dtype"] == "qint8"
    assert line_of(after, f"{packed}[0]")["layout"] == "quantized_per_tensor"
    assert line_of(after, f"{packed}[1]")["dtype"] == "float32"
    difference = str(before.diff(after))
    assert "class torch.nn.modules.linear.Linear → torch.ao.nn.quantized.dynamic" in difference


@pytest.mark.filterwarnings("ignore")
def test_one_step_of_a_quantised_weight_or_of_its_scale_changes_the_root():
    real = torch.linspace(-1, 1, 12).reshape(3, 4)
    roots = set()
    for scale, zero_point in ((0.1, 0), (0.11, 0), (0.1, 1)):
        quantised = torch.quantize_per_tensor(real, scale, zero_point, torch.qint8)
        roots.add(Manifest.of({"w": quantised}).weights_root)
    scales, zeros = torch.full((3,), 0.1), torch.zeros(3, dtype=torch.int64)
    by_channel = torch.quantize_per_channel(real, scales, zeros, 0, torch.qint8)
    manifest = Manifest.of({"w": by_channel})
    assert line_of(manifest, "w")["layout"] == "quantized_per_channel"
    roots.add(manifest.weights_root)
    assert len(roots) == 4


@pytest.mark.filterwarnings("ignore")
def test_a_composite_weight_is_one_line_with_the_digest_that_commit_gives():
    sparse = torch.eye(3).to_sparse()
    first = torch.quantize_per_tensor(torch.eye(3), 0.1, 0, torch.qint8)
    # The same memory under another scale: not the same tensor.
    second = torch._empty_affine_quantized((3, 3), scale=0.2, zero_point=0, dtype=torch.qint8)
    second.set_(first.untyped_storage(), 0, (3, 3), (3, 1))
    assert second.data_ptr() == first.data_ptr()
    weights = {"a": sparse, "b": first, "c": second, "d": torch.eye(3).to_sparse_csr()}
    manifest = Manifest.of(weights)
    for name, tensor in weights.items():
        made, line = commit(tensor), line_of(manifest, name)
        assert line == {
            "digest": made.digest,
            "dtype": made.dtype,
            "layout": made.layout,
            "name": name,
            "shape": list(made.shape),
            "type": "tensor",
        }
    assert line_of(manifest, "b")["digest"] != line_of(manifest, "c")["digest"]


@pytest.mark.filterwarnings("ignore")
def test_a_weight_that_was_made_sparse_is_told_by_its_layout():
    before, after = Manifest.of({"w": torch.eye(3)}), Manifest.of({"w": torch.eye(3).to_sparse()})
    assert before.diff(after).lines == ["tensor w: layout strided → sparse_coo"]
    assert after.diff(Manifest.of({"v": torch.eye(2).to_sparse()})).lines == [
        "tensor w removed (sparse_coo float32 [3, 3])",
        "tensor v added (sparse_coo float32 [2, 2])",
    ]


@pytest.mark.parametrize("layout", ["strided", "sparse", "nested", 3, None, ["sparse_coo"]])
def test_a_line_whose_layout_no_composite_tensor_has_is_malformed(tmp_path, layout):
    Manifest.of({"w": torch.eye(3).to_sparse()}).save(tmp_path)
    line = json.loads((tmp_path / "weights.jsonl").read_bytes())
    assert Manifest.load(tmp_path).weights_root
    (tmp_path / "weights.jsonl").write_bytes(canonical({**line, "layout": layout}) + b"\n")
    with pytest.raises(MalformedRecord, match="not a tensor line"):
        Manifest.load(tmp_path)


def test_an_extra_state_is_committed_where_it_is_tensors_and_admitted_where_not():
    class Extra(nn.Module):
        def __init__(self, state):
            super().__init__()
            self._kept = [state]
            self.weight = nn.Parameter(torch.ones(2))

        def get_extra_state(self):
            return self._kept[0]

        def set_extra_state(self, state):
            self._kept[0] = state

    tensors = Manifest.of(Extra({"scale": torch.ones(1), "history": [torch.zeros(2)]}))
    assert names_of(tensors) == [
        '_extra_state["history"][0]',
        '_extra_state["scale"]',
        "weight",
    ]
    module = json.loads(Manifest.of(Extra(object())).structure_lines[-1])
    assert "state:_extra_state" in module["unbound"]
    module = json.loads(Manifest.of(Extra(7)).structure_lines[-1])
    assert module["attributes"]["state:_extra_state"] == 7
    assert Manifest.of({"a": torch.ones(1), "b": object()}).unbound == ("b",)
