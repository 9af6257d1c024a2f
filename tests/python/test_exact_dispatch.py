"""What exact/1 refuses, what it leaves as torch has it, and where results go."""

from __future__ import annotations

import pickle
import threading

import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402

import torchnotary as tn  # noqa: E402
from torchnotary import _libtorch  # noqa: E402
from torchnotary.errors import NotaryError, NotExact  # noqa: E402
from torchnotary.exact import exact_scope, operators  # noqa: E402
from torchnotary.sealing import seal  # noqa: E402

if _libtorch.available() is None:
    pytest.skip("_torch is not built for this torch", allow_module_level=True)


@pytest.fixture(autouse=True)
def no_gradients():
    torch.manual_seed(0)
    with torch.no_grad():
        yield
    assert not _libtorch.load().is_exact()


class Lambda(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class Subclass(torch.Tensor):
    pass


def autocast(x):
    with torch.autocast("cpu", torch.bfloat16):
        return F.linear(x, x)


def with_gradients(x):
    with torch.enable_grad():
        return x.clone().requires_grad_() * 2


REFUSED = {
    "autocast": (autocast, "aten::linear.*Autocast"),
    "vmap": (lambda x: torch.vmap(lambda row: row * 2)(x), "aten::mul.*FuncTorch"),
    "grad": (lambda x: torch.func.grad(lambda y: (y * y).sum())(x), "aten::mul"),
    "gradients": (with_gradients, "aten::mul.*gradients.*inference_mode"),
    "float64": (lambda x: torch.zeros(2, dtype=torch.float64) + 1, r"aten::add.*\.float\(\)"),
    "complex": (lambda x: torch.zeros(2, dtype=torch.complex64) * 2, "aten::mul.*complex"),
    "sparse": (lambda x: torch.sparse_coo_tensor([[0], [1]], [1.0], (2, 2)) * 2, "aten::"),
    "sparse rows": (lambda x: x.to_sparse_csr() @ x, "aten::"),
    "quantised": (lambda x: torch.quantize_per_tensor(x, 0.1, 0, torch.qint8), "aten::quantize"),
    "nested": (lambda x: torch.nested.nested_tensor([x, x]) * 2, "aten::"),
    "meta": (lambda x: x.to("meta") * 2, "aten::"),
    "dropout": (lambda x: F.dropout(x, 0.5, training=True), r"dropout.*model\.eval"),
    "rand": (lambda x: torch.rand(2), "aten::rand.*random"),
    "randint": (lambda x: torch.randint(9, (2,)), "aten::randint.*random"),
    "normal_": (lambda x: x.clone().normal_(), "aten::normal_.*random"),
    "multinomial": (lambda x: torch.multinomial(x.abs(), 1), "aten::multinomial.*random"),
    "an unknown operator": (lambda x: torch.linalg.inv(x), "aten::linalg_inv.*not part"),
    "batch_norm": (nn.BatchNorm1d(4), r"batch_norm.*model\.eval"),
    "linspace": (lambda x: torch.linspace(0, 1, 5), "aten::linspace"),
    "3-D": (nn.Conv3d(1, 1, 1), "convolution"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_exact_is_refused_naming_operator_module_and_next_step(name):
    function, message = REFUSED[name]
    module = function if isinstance(function, nn.Module) else Lambda(function)
    x = torch.randn(1, 1, 2, 2, 2) if name == "3-D" else torch.randn(4, 4)
    with pytest.raises(NotExact, match=message) as caught:
        with exact_scope():
            nn.Sequential(nn.Identity(), module)(x)
    error = caught.value
    assert error.next_step and error.expected is not None and error.actual is not None
    assert f"in 1, {type(module).__qualname__}" in str(error)


def test_a_subclass_of_tensors_gives_the_same_bits_or_is_refused():
    x = torch.randn(5, 300)
    with exact_scope():
        plain = x @ x.t()
        try:
            other = x.as_subclass(Subclass) @ x.t()
        except NotExact:
            return
    assert torch.equal(plain, other.as_subclass(torch.Tensor))


def target_of(x):
    return torch.full_like(x, 7.0)


IN_PLACE = {
    "add_": lambda x, y: x.add_(y, alpha=0.5),
    "mul_": lambda x, y: x.mul_(y),
    "mul_ by a number": lambda x, y: x.mul_(3),
    "sub_": lambda x, y: x.sub_(y),
    "div_": lambda x, y: x.div_(y),
    "pow_": lambda x, y: x.abs_().pow_(1.5),
    "exp_": lambda x, y: x.exp_(),
    "relu_": lambda x, y: x.relu_(),
    "clamp_": lambda x, y: x.clamp_(-0.5, 0.5),
    "addcmul_": lambda x, y: x.addcmul_(y, y, value=0.5),
    "lerp_": lambda x, y: x.lerp_(y, 0.25),
    "silu, in place": lambda x, y: F.silu(x, inplace=True),
    "copy_": lambda x, y: x.copy_(y),
    "masked_fill_": lambda x, y: x.masked_fill_(y > 0, 0.1),
    "index_put_": lambda x, y: x.index_put_((torch.tensor([0, 2]),), y[:2]),
    "setitem": lambda x, y: x.__setitem__((slice(None), 1), y[:, 0]) or x,
    "fill_": lambda x, y: x.fill_(0.1),
    "zero_": lambda x, y: x.zero_(),
    "cumsum_": lambda x, y: x.cumsum_(0),
    "scatter_add_": lambda x, y: x.scatter_add_(0, torch.tensor([[1, 2, 1, 0, 4]] * 3), y),
    "index_add_": lambda x, y: x.index_add_(0, torch.tensor([0, 2]), y[:2], alpha=0.5),
    "index_put_, adding": lambda x, y: x.index_put_((torch.tensor([0, 0]),), y[:2], True),
    "remainder_": lambda x, y: x.remainder_(y),
    "addmm_": lambda x, y: x.addmm_(y, y.t() @ y),
}


@pytest.mark.parametrize("name", IN_PLACE)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("transposed", [False, True])
def test_operators_in_place_write_the_same_memory_and_bump_its_version(name, dtype, transposed):
    function = IN_PLACE[name]
    x, y = torch.randn(5, 5).to(dtype), torch.randn(5, 5).to(dtype)
    x, y = (x.t(), y.t()) if transposed else (x, y)
    theirs, ours = x.clone(), x.clone()
    pointer, version, strides = ours.data_ptr(), ours._version, ours.stride()
    function(theirs, y)
    with exact_scope():
        assert function(ours, y) is ours
    assert ours.data_ptr() == pointer and ours.stride() == strides
    assert ours._version > version
    torch.testing.assert_close(ours, theirs)


OUT = {
    "add": lambda x, y, **out: torch.add(x, y, **out),
    "mul": lambda x, y, **out: torch.mul(x, 3.0, **out),
    "exp": lambda x, y, **out: torch.exp(x, **out),
    "mm": lambda x, y, **out: torch.mm(x, y, **out),
    "matmul": lambda x, y, **out: torch.matmul(x, y, **out),
    "addmm": lambda x, y, **out: torch.addmm(x, y, y, **out),
    "sum": lambda x, y, **out: torch.sum(x, 1, **out),
    "softmax": lambda x, y, **out: torch.softmax(x, 1, **out),
    "cumsum": lambda x, y, **out: torch.cumsum(x, 1, **out),
    "where": lambda x, y, **out: torch.where(x > 0, x, y, **out),
    "cat": lambda x, y, **out: torch.cat([x, y], **out),
    "amax": lambda x, y, **out: torch.amax(x, 1, **out),
}


@pytest.mark.parametrize("name", OUT)
def test_out_arguments_hold_the_result_and_are_returned(name):
    function, x, y = OUT[name], torch.randn(5, 5), torch.randn(5, 5)
    with exact_scope():
        expected = function(x, y)
        right = torch.full_like(expected, 7.0)
        wide = torch.full((*expected.shape, 2), 7.0)
        empty, gaps = torch.empty(0), wide[..., 0]
        for out in (right, empty, gaps):
            assert function(x, y, out=out) is out
            assert torch.equal(out, expected)
    assert right._version and (wide[..., 1] == 7).all()


def test_several_results_go_to_several_out_arguments():
    x, values, indices = torch.randn(4, 6), torch.empty(0), torch.empty(0, dtype=torch.int64)
    with exact_scope():
        expected = torch.topk(x, 2)
        torch.topk(x, 2, out=(values, indices))
    assert torch.equal(values, expected[0]) and torch.equal(indices, expected[1])


@pytest.mark.parametrize("name", ["add", "exp", "mm"])
def test_out_arguments_of_another_type_raise_as_torch_does(name):
    x, y = torch.randn(5, 5), torch.randn(5, 5)
    out = torch.empty(5, 5, dtype=torch.int64)
    with pytest.raises(RuntimeError):
        OUT[name](x, y, out=out)
    with exact_scope(), pytest.raises(RuntimeError):
        OUT[name](x, y, out=out)


def test_out_arguments_that_are_arguments_too_are_read_before_they_are_written():
    x, y = torch.randn(5, 5), torch.randn(5, 5)
    memory = torch.randn(40)
    with exact_scope():
        product, total = x @ y, memory[:30] + memory[10:]
        torch.mm(x, y, out=x)
        transposed = y.t() + 1
        torch.add(y.t(), 1, out=y)
    assert torch.equal(x, product) and torch.equal(y, transposed)
    before = memory.clone()
    with exact_scope():  # memory that partly overlaps, which torch refuses
        try:
            torch.add(memory[:30], memory[10:], out=memory[:30])
        except RuntimeError:
            assert torch.equal(memory, before)
        else:
            assert torch.equal(memory[:30], total)


def test_memory_that_overlaps_itself_is_no_target():
    x = torch.zeros(1).expand(4)
    with exact_scope():
        for write in (lambda: x.add_(1), lambda: torch.exp(torch.ones(4), out=x)):
            with pytest.raises(RuntimeError):
                write()
        with pytest.raises(RuntimeError):
            x.copy_(torch.ones(4, dtype=torch.bfloat16))


@pytest.mark.parametrize(
    "function",
    [
        lambda: torch.ones(2, 3) + torch.ones(4),
        lambda: torch.ones(3).add_(torch.ones(2, 3)),
        lambda: torch.ones(2, 3) @ torch.ones(2, 3),
        lambda: torch.ones(2, 3).sum(5),
        lambda: torch.ones(2, 3).softmax(2),
        lambda: F.layer_norm(torch.ones(2, 3), (4,)),
        lambda: F.linear(torch.ones(2, 3), torch.ones(2, 3).bfloat16()),
        lambda: torch.ones(2, 3).topk(4),
        lambda: torch.ones(0).max(),
        lambda: torch.ones(2, dtype=torch.int64).add_(0.5),
        lambda: F.embedding(torch.tensor([3]), torch.ones(2, 2)),
        lambda: torch.where(torch.ones(2), torch.ones(2), torch.ones(2)),
        lambda: torch.addmm(torch.ones(3, 3), torch.ones(2, 2), torch.ones(2, 2)),
        lambda: torch.mm(torch.ones(2, 2, 2), torch.ones(2, 2, 2)),
        lambda: torch.bmm(torch.ones(2, 2), torch.ones(2, 2)),
        lambda: torch.mv(torch.ones(2, 2), torch.ones(2, 2)),
        lambda: torch.dot(torch.ones(2, 2), torch.ones(2, 2)),
        lambda: torch.bmm(torch.ones(1, 2, 2), torch.ones(3, 2, 2)),
        lambda: torch.baddbmm(torch.ones(2), torch.ones(2, 2), torch.ones(2, 2)),
        lambda: F.gelu(torch.ones(2), approximate="none at all"),
        lambda: torch.clamp(torch.ones(2)),
        lambda: torch.tensor([True]) - True,
        lambda: torch.lerp(torch.ones(2), torch.ones(2).bfloat16(), 0.5),
        lambda: torch.ones(2, 2).cumsum(3),
        lambda: torch.ones(2, 2).argmax(3),
        lambda: torch.cat([torch.ones(2), torch.ones(2, 2).bfloat16()]),
        lambda: F.conv2d(torch.ones(1, 3, 4, 4), torch.ones(2, 2, 3, 3)),
        lambda: F.conv2d(torch.ones(1, 3, 2, 2), torch.ones(2, 3, 3, 3)),
        lambda: F.conv2d(torch.ones(1, 2, 4, 4), torch.ones(2, 2, 3, 3), torch.ones(3)),
        lambda: F.conv2d(torch.ones(1, 2, 4, 4), torch.ones(2, 2, 3, 3), stride=0),
        lambda: F.conv2d(torch.ones(1, 2, 4, 4), torch.ones(2, 2, 3, 3), padding=-1),
        lambda: F.conv2d(torch.ones(1, 2, 4, 4), torch.ones(3, 1, 3, 3), groups=2),
        lambda: F.scaled_dot_product_attention(
            torch.ones(1, 2, 3, 4), torch.ones(1, 2, 3, 5), torch.ones(1, 2, 3, 4)
        ),
        lambda: F.scaled_dot_product_attention(*[torch.ones(1, 2, 3, 4)] * 3, torch.ones(2, 2)),
        lambda: F.max_pool2d(torch.ones(1, 1, 4, 4), 2, padding=2),
        lambda: F.group_norm(torch.ones(1, 3, 4), 2),
    ],
)
def test_what_torch_raises_for_is_raised_for(function):
    with pytest.raises((RuntimeError, IndexError, ValueError)):
        function()
    with exact_scope(), pytest.raises((RuntimeError, IndexError, ValueError)):
        function()


def test_sealed_tensors_are_no_targets():
    linear = nn.Linear(3, 3).requires_grad_(False)
    seal(linear)
    before = linear.weight.clone()
    with exact_scope():
        for write in (
            lambda: linear.weight.add_(1),
            lambda: torch.exp(torch.ones(3, 3), out=linear.weight),
            lambda: linear.weight.copy_(torch.ones(3, 3, dtype=torch.bfloat16)),
            lambda: linear.weight.zero_(),
            lambda: linear.weight.__setitem__(0, 1.0),
        ):
            with pytest.raises(NotaryError, match="sealed"):
                write()
    assert torch.equal(linear.weight, before)


STRIDES = {
    "exp of a transposed": lambda x: x.transpose(0, 2).exp(),
    "a sum of two transposed": lambda x: x.permute(2, 0, 1) + x.permute(2, 0, 1),
    "broadcasting": lambda x: x.permute(2, 0, 1) * x.permute(2, 0, 1)[:1],
    "a part": lambda x: x[:, ::2].transpose(0, 1) * 2,
    "an expanded": lambda x: x[:1].expand(3, -1, -1) * 2,
    "comparisons": lambda x: x.transpose(0, 1) > 0,
    "a conversion": lambda x: x.transpose(0, 1).bfloat16(),
    "a conversion of a part": lambda x: x[:, :2].transpose(0, 1).bfloat16(),
    "layer_norm": lambda x: F.layer_norm(x.transpose(0, 1), (5,)),
    "linear": lambda x: F.linear(x.transpose(0, 1), x[0]),
    "matmul": lambda x: x.transpose(0, 1) @ x.transpose(1, 2)[:1],
    "sum": lambda x: x.transpose(0, 1).sum(-1, keepdim=True),
    "softmax": lambda x: x.transpose(0, 1).softmax(-1),
    "cumsum": lambda x: x.transpose(0, 1).cumsum(0),
    "topk": lambda x: x.transpose(0, 1).topk(2)[0],
    "sort": lambda x: x.transpose(0, 1).sort(0)[0],
    "where": lambda x: torch.where(x.transpose(0, 1) > 0, x.transpose(0, 1), 0.0),
    "pow": lambda x: x.transpose(0, 1) ** 2,
    "masked_fill": lambda x: x.transpose(0, 1).masked_fill(x.transpose(0, 1) > 0, 0.0),
    "clone": lambda x: x.transpose(0, 1).clone(),
}


@pytest.mark.parametrize("name", STRIDES)
def test_results_have_the_strides_that_torch_gives_them(name):
    x = torch.randn(3, 4, 5)
    with exact_scope():
        ours = STRIDES[name](x)
    theirs = STRIDES[name](x)
    assert ours.stride() == theirs.stride()
    torch.testing.assert_close(ours, theirs)


def test_strides_change_no_bit():
    x = torch.randn(6, 300)
    loose = torch.empty(300, 6, 2)[..., 1].t().copy_(x)
    w = torch.randn(7, 300)
    for function in (
        lambda x: F.linear(x, w),
        lambda x: x @ w.t(),
        lambda x: x.sum(1),
        lambda x: x.softmax(1),
        lambda x: F.layer_norm(x, (300,)),
        lambda x: F.gelu(x),
        lambda x: x.cumsum(1),
        lambda x: x.topk(5)[0],
        lambda x: F.scaled_dot_product_attention(x, x, x),
        lambda x: F.conv1d(x[None], w[:, :6, None]),
    ):
        with exact_scope():
            assert torch.equal(function(loose), function(x))


def test_operators_of_integers_are_torchs():
    i = torch.arange(-6, 6).reshape(3, 4)
    functions = [
        lambda: i + i * 2 - 1,
        lambda: i // 5,
        lambda: i % 5,
        lambda: i @ i.t(),
        lambda: i.sum(1),
        lambda: i.cumsum(0),
        lambda: i.clamp(-2, 2),
        lambda: i.max(),
        lambda: (i + 6).flatten().bincount(),
        lambda: (i > 0) & (i < 3),
        lambda: i << 1,
        lambda: i.abs().float().int(),
        lambda: torch.vmap(lambda row: row * 2)(i),
        lambda: torch.arange(5)[torch.arange(5) % 2 == 0],
        lambda: i.index_put((torch.tensor([0, 0]),), i[:2], accumulate=True),
        lambda: i.scatter_add(0, i.clamp(0, 2), i),
        lambda: i.unique(),
    ]
    for function in functions:
        with exact_scope():
            ours = function()
        assert torch.equal(ours, function())


def test_scopes_nest_and_exceptions_leave_them():
    extension = _libtorch.load()
    with pytest.raises(KeyError), exact_scope():
        with exact_scope():
            pass
        assert extension.is_exact()
        with pytest.raises(NotExact), exact_scope():
            torch.rand(1)
        assert extension.is_exact()
        with pytest.raises(NotExact):
            torch.rand(1)
        raise KeyError
    assert not extension.is_exact()
    torch.rand(1)


def test_threads_are_under_the_profile_each_for_itself():
    seen = {}
    inside, checked = threading.Event(), threading.Event()

    def exact():
        with exact_scope():
            inside.set()
            checked.wait(30)
            try:
                torch.rand(1)
            except NotExact:
                seen["exact"] = True

    thread = threading.Thread(target=exact)
    thread.start()
    assert inside.wait(30)
    seen["here"] = torch.rand(1).numel()
    checked.set()
    thread.join()
    assert seen == {"here": 1, "exact": True}


def test_results_are_ordinary_tensors(tmp_path):
    extension = _libtorch.load()
    with exact_scope():
        small, large = torch.ones(8) * 2, torch.ones(1 << 20) * 2
    for result in (small, large):
        assert torch.equal(pickle.loads(pickle.dumps(result)), result)
        torch.save(result, tmp_path / "result.pt")
        assert torch.equal(torch.load(tmp_path / "result.pt"), result)
        count = result.numel()
        result.resize_(3 * count)
        assert (result[:count] == 2).all()
        result.resize_(4).add_(1)
        assert result.numpy().tolist() == [3.0] * 4
        with torch.enable_grad():
            leaf = result.clone().requires_grad_()
            (leaf * leaf).sum().backward()
        assert result.share_memory_().is_shared() and result.tolist() == [3.0] * 4
    held = [exactly_ones() for _ in range(4)]
    thread = threading.Thread(target=held.clear)
    thread.start()
    thread.join()
    assert extension.arena_bytes() > 0
    extension.trim_arena()
    assert extension.arena_bytes() == 0


def exactly_ones():
    with exact_scope():
        return torch.ones(1 << 20) * 1


def test_denormals_survive_a_library_that_flushes_them():
    tiny = torch.full((64, 64), 1e-39)
    eye = torch.eye(64)
    functions = (
        lambda: tiny + tiny,
        lambda: tiny @ eye,
        lambda: F.linear(tiny, eye),
        lambda: tiny.sum(1),
        lambda: (tiny > 0).sum(),
        lambda: torch.exp(torch.full((8,), -90.0)),
        lambda: tiny.bfloat16(),
        lambda: tiny.amax(1),
        lambda: F.conv1d(tiny[None], eye[..., None]),
        lambda: tiny.sort(1)[0],
        lambda: tiny.masked_fill(tiny == 0, 1.0),
        lambda: tiny.nonzero(),
        lambda: tiny.bool().sum(),
        lambda: torch.equal(tiny, torch.zeros(64, 64)) or tiny,
        lambda: (tiny != 0).any(),
        lambda: tiny.any(),
        lambda: tiny.count_nonzero(),
        lambda: tiny[:1] * 1.0,
        lambda: torch.bucketize(tiny[0, 0], torch.tensor([0.0, 1.0])),
        lambda: torch.arange(0, 4e-39, 1e-39),
    )
    with exact_scope():
        expected = [function() for function in functions]
    assert torch.set_flush_denormal(True)
    try:
        with exact_scope():
            flushing = [function() for function in functions]
        assert (torch.full((1,), 1e-39) * 2 == 0).all()  # put back as it was
    finally:
        torch.set_flush_denormal(False)
    assert [torch.equal(a, b) for a, b in zip(flushing, expected, strict=True)] == [True] * len(
        functions
    )
    assert all(each.any() for each in expected)


def test_a_traced_call_has_a_line_for_each_operator_that_exact_ran(tmp_path):
    model = nn.Sequential(nn.Linear(4, 4), nn.SELU(), nn.LSTM(4, 3)).eval().requires_grad_(False)
    notary = tn.Notary(tmp_path / "log", profile="exact/1", trace="operators")
    notary.attach(model)
    model(torch.ones(2, 4))
    lines = [line["operator"] for line in notary.last.lines("trace.jsonl") if "operator" in line]
    notary.close()
    assert [
        name for name in lines if name in ("aten::linear", "aten::elu", "aten::lstm.input")
    ] == [
        "aten::linear",
        "aten::elu",
        "aten::lstm.input",
    ]
    assert not {"aten::mm", "aten::addmm", "aten::sigmoid", "aten::expm1"} & set(lines)


def test_the_operators_that_have_a_rule_are_listed():
    found = operators()
    assert found["aten::linear"] == "kernel" and found["aten::add.Tensor"] == "kernel"
    assert found["aten::view"] == "moves" and found["aten::einsum"] in ("kernel", "parts")
    assert not {"aten::randn", "aten::normal_", "aten::histc", "aten::_fft_r2c"} & found.keys()
    assert set(found.values()) == {"kernel", "moves", "parts"}
