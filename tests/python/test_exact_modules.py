"""torch's own modules under exact/1: against torch within a tolerance, laid out as torch lays
results out; recurrent layers bitwise against the operators that section 9 composes them of."""

from __future__ import annotations

import threading

import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402

import torchnotary as tn  # noqa: E402
from torchnotary import _libtorch  # noqa: E402
from torchnotary.errors import NotExact  # noqa: E402
from torchnotary.exact import exact_scope, prepare  # noqa: E402

if _libtorch.available() is None:
    pytest.skip("_torch is not built for this torch", allow_module_level=True)

LAST = torch.channels_last
DTYPES = (torch.float32, torch.bfloat16, torch.float16)


@pytest.fixture(autouse=True)
def inference():
    torch.manual_seed(0)
    with torch.inference_mode():
        yield


def tensors(value):
    if isinstance(value, torch.Tensor):
        return [value]
    return [each for part in value for each in tensors(part)] if isinstance(value, tuple) else []


def exactly(function, *inputs):
    with exact_scope():
        return tensors(function(*inputs))


def assert_like_torch(function, *inputs, tolerance=1e-5):
    expected, actual = tensors(function(*inputs)), exactly(function, *inputs)
    assert len(expected) == len(actual)
    for theirs, ours in zip(expected, actual, strict=True):
        assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
        assert ours.stride() == theirs.stride()
        torch.testing.assert_close(ours, theirs, atol=tolerance, rtol=tolerance, equal_nan=True)


def conv_net():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, 1),
        nn.Conv2d(8, 8, 3, groups=2, padding="same", padding_mode="reflect"),
        nn.GroupNorm(2, 8),
        nn.SiLU(inplace=True),
        nn.AdaptiveAvgPool2d(2),
    )


MODULES = {
    "MultiheadAttention": (
        lambda: nn.MultiheadAttention(16, 4, batch_first=True),
        [(2, 5, 16)] * 3,
    ),
    "MultiheadAttention of other widths": (
        lambda: nn.MultiheadAttention(16, 4, kdim=8, vdim=12),
        [(5, 2, 16), (7, 2, 8), (7, 2, 12)],
    ),
    "MultiheadAttention with added keys": (
        lambda: nn.MultiheadAttention(16, 4, add_bias_kv=True, add_zero_attn=True),
        [(5, 2, 16)] * 3,
    ),
    "TransformerEncoderLayer": (
        lambda: nn.TransformerEncoderLayer(16, 4, 32, batch_first=True),
        [(2, 5, 16)],
    ),
    "Transformer": (
        lambda: nn.Transformer(16, 4, 1, 1, 32, batch_first=True),
        [(2, 5, 16), (2, 4, 16)],
    ),
    "a convolutional network": (conv_net, [(2, 3, 12, 12)]),
    "ConvTranspose2d": (
        lambda: nn.ConvTranspose2d(
            4, 6, 3, stride=2, padding=1, output_padding=1, groups=2, dilation=2
        ),
        [(2, 4, 5, 5)],
    ),
    "ConvTranspose1d without a batch": (lambda: nn.ConvTranspose1d(4, 6, 3, stride=2), [(4, 5)]),
    "Conv1d, circular": (
        lambda: nn.Conv1d(4, 6, 3, padding=2, padding_mode="circular"),
        [(2, 4, 9)],
    ),
    "Upsample": (lambda: nn.Upsample(scale_factor=1.7, mode="bilinear"), [(2, 3, 5, 5)]),
    "InstanceNorm2d with statistics": (
        lambda: nn.InstanceNorm2d(3, affine=True, track_running_stats=True),
        [(2, 3, 4, 4)],
    ),
    "ELU": (lambda: nn.ELU(alpha=2.5), [(3, 8)]),
    "SELU": (nn.SELU, [(3, 8)]),
    "CELU": (lambda: nn.CELU(0.7), [(3, 8)]),
    "PReLU": (lambda: nn.PReLU(4), [(3, 4, 2)]),
    "GLU": (nn.GLU, [(3, 8)]),
    "CosineSimilarity": (nn.CosineSimilarity, [(3, 5), (3, 5)]),
    "PairwiseDistance": (nn.PairwiseDistance, [(3, 5), (3, 5)]),
    "LSTM": (lambda: nn.LSTM(6, 7, 2, bidirectional=True, batch_first=True), [(4, 3, 6)]),
    "LSTM with a projection": (
        lambda: nn.LSTM(6, 7, 2, proj_size=3, bidirectional=True),
        [(4, 3, 6)],
    ),
    "LSTM without a batch": (lambda: nn.LSTM(6, 7), [(4, 6)]),
    "GRU": (lambda: nn.GRU(6, 7, 3, bias=False), [(4, 3, 6)]),
    "RNN": (lambda: nn.RNN(6, 7, nonlinearity="relu", bidirectional=True), [(4, 3, 6)]),
    "LSTMCell": (lambda: nn.LSTMCell(6, 7), [(3, 6)]),
    "GRUCell": (lambda: nn.GRUCell(6, 7), [(3, 6)]),
    "RNNCell": (lambda: nn.RNNCell(6, 7, nonlinearity="relu"), [(6,)]),
}


@pytest.mark.parametrize("name", MODULES)
def test_modules_give_what_torch_gives_within_a_tolerance(name):
    make, shapes = MODULES[name]
    module = make().eval()
    inputs = [torch.randn(shape) for shape in shapes]
    assert_like_torch(module, *inputs)
    assert_like_torch(module, *(x.mT.contiguous().mT if x.dim() > 1 else x for x in inputs))


FUNCTIONS = {
    "normalize": lambda x: F.normalize(x, dim=1),
    "cosine_similarity": lambda x: F.cosine_similarity(x[:, None], x[None], dim=-1),
    "einsum": lambda x: torch.einsum("ij,kj->ik", x, x),
    "softmax of a transposed matrix": lambda x: x.t().softmax(-1),
    "log_softmax of a transposed matrix": lambda x: x.t().log_softmax(-1),
    "parts of halves": lambda x: x.view(3, 2, 3).unbind(1)[0].t() * 2,
    "diag": lambda x: x[:, :3].diag(),
    "bincount, searchsorted, bucketize": lambda x: (
        torch.bincount(x.argmax(1)),
        torch.searchsorted(x[0].sort()[0], x[1].clone()),
        torch.bucketize(x, torch.tensor([0.0, 1.0])),
        x.count_nonzero(),
    ),
    "padding in three axes": lambda x: F.pad(x[None, None, None], (1, 1, 1, 1, 0, 0), "replicate"),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_give_what_torch_gives_within_a_tolerance(name):
    assert_like_torch(FUNCTIONS[name], torch.randn(3, 6))


@pytest.mark.parametrize(
    "function",
    [
        nn.Conv2d(4, 6, 3),
        nn.MaxPool2d(2, return_indices=True),
        nn.AvgPool2d(2),
        nn.AdaptiveAvgPool2d(2),
        nn.AdaptiveMaxPool2d(2),
        nn.Upsample(scale_factor=2),
        nn.Upsample(scale_factor=2, mode="bilinear"),
        nn.BatchNorm2d(4),
    ],
    ids=lambda each: str(each),
)
def test_channels_stay_last_where_they_are(function):
    assert_like_torch(function.eval(), torch.randn(2, 4, 6, 6).to(memory_format=LAST))


def test_channels_of_weights_that_are_last_make_those_of_the_result_last():
    convolution = nn.Conv2d(4, 6, 3).to(memory_format=LAST)
    assert_like_torch(convolution, torch.randn(2, 4, 6, 6))


def heads(x, count):
    return x.view(*x.shape[:2], count, -1).transpose(1, 2)


@pytest.mark.parametrize("layout", ["rows first", "parts of one", "heads first", "three axes"])
def test_attention_is_laid_out_like_its_queries(layout):
    x = torch.randn(2, 5, 48)
    q, k, v = {
        "rows first": lambda: [heads(each.contiguous(), 2) for each in x.chunk(3, -1)],
        "parts of one": lambda: [heads(each, 2) for each in x.chunk(3, -1)],
        "heads first": lambda: [heads(each, 2).contiguous() for each in x.chunk(3, -1)],
        "three axes": lambda: x.chunk(3, -1),
    }[layout]()
    assert_like_torch(F.scaled_dot_product_attention, q, k, v)
    if layout == "parts of one":
        assert_like_torch(lambda q: F.scaled_dot_product_attention(q * 0.5, k, v), q)


def test_transformers_run_the_separate_operators_and_give_what_training_mode_gives():
    """Padding too, where torch would make nested tensors."""
    layer = nn.TransformerEncoderLayer(16, 4, 32, dropout=0.0, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 2)
    x, padding = torch.randn(2, 5, 16), torch.zeros(2, 5, dtype=torch.bool)
    padding[1, 3:] = True

    def run():
        return encoder(x, src_key_padding_mask=padding)

    [training] = exactly(encoder.train() and run)
    [evaluating] = exactly(encoder.eval() and run)
    assert torch.equal(training, evaluating)


def test_fused_transformers_stay_on_for_other_threads_and_afterwards():
    mha, seen = torch.backends.mha, []
    before = mha.get_fastpath_enabled
    with exact_scope():
        assert not mha.get_fastpath_enabled()
        other = threading.Thread(target=lambda: seen.append(mha.get_fastpath_enabled()))
        other.start()
        other.join()
        with exact_scope():
            assert not mha.get_fastpath_enabled()
        assert not mha.get_fastpath_enabled()
    assert seen == [True]
    assert mha.get_fastpath_enabled is before and mha.get_fastpath_enabled()


PRINTED = {
    "float32": lambda x: x,
    "bfloat16": lambda x: x.bfloat16(),
    "large": lambda x: x.repeat(300, 50),
    "hard": lambda x: x / x[:, :1].floor(),
    "float64": lambda x: torch.tensor([1.5, -2.0], dtype=torch.float64),
    "complex": lambda x: torch.tensor([1.5, -2.0j]),
    "sparse": lambda x: torch.sparse_coo_tensor([[0, 1]], [1.5, 2.0], (3,)),
    "integers": lambda x: torch.arange(12).reshape(3, 4),
    "parameter": lambda x: nn.Parameter(x, requires_grad=True),
    "empty": lambda x: x[:0],
    "scalar": lambda x: x[0, 0],
}


@pytest.mark.parametrize("name", PRINTED)
def test_tensors_are_printed_as_elsewhere(name, capsys):
    tensor = PRINTED[name](torch.randn(3, 4))
    plain = (repr(tensor), str([tensor]), f"{tensor}", f"{tensor!r}")
    with exact_scope():
        printed = (repr(tensor), str([tensor]), f"{tensor}", f"{tensor!r}")
        print(tensor)
    assert printed == plain
    assert capsys.readouterr().out == str(tensor) + "\n"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64, torch.int64])
def test_values_leave_tensors(dtype):
    tensor = torch.tensor([[1.5, -2.0], [0.0, 4.0]]).to(dtype)
    with exact_scope():
        assert tensor.tolist() == tensor.float().tolist() if dtype != torch.float64 else True
        assert tensor[1, 1].item() == float(tensor[1, 1]) == int(tensor[1, 1]) == 4
        assert bool(tensor[1, 1]) and f"{tensor[1, 1]:.1f}" == "4.0"
        if dtype != torch.bfloat16:
            assert tensor.numpy()[1, 1] == 4


class Debugged(nn.Module):
    def __init__(self, prints):
        super().__init__()
        self.linear, self.prints = nn.Linear(4, 4), prints

    def forward(self, x):
        for _ in range(2):
            x = self.linear(x)
            if self.prints:
                print(x, f"{x}", x.tolist(), x[0, 0].item())
            x = x + 1
        return x


def test_printing_in_a_forward_changes_neither_bits_nor_trace(tmp_path):
    model, made = Debugged(True).eval().requires_grad_(False), []
    notary = tn.Notary(tmp_path / "log", profile="exact/1", trace="operators")
    notary.attach(model)
    for model.prints in (True, False):
        y = model(torch.ones(2, 4))
        lines = [line.get("operator") for line in notary.last.lines("trace.jsonl")]
        made.append((y.view(torch.int32).tolist(), [each for each in lines if each]))
    notary.close()
    (printed, lines), (silent, expected) = made
    assert printed == silent
    assert [each for each in lines if each in expected] == expected
    assert not {"aten::abs", "aten::_to_copy", "aten::max"} & set(lines)


def test_printing_is_torchs_again_after_the_last_scope():
    before = torch._tensor_str._str
    with exact_scope(), exact_scope():
        pass
    with pytest.raises(KeyError), exact_scope():
        raise KeyError
    assert torch._tensor_str._str is before


def one_step(kind, x, h, c, w):
    """Section 9 in operators of their own; w are W_ih, W_hh, b_ih, b_hh."""
    gi, gh = F.linear(x, w[0], w[2]), F.linear(h, w[1], w[3])
    if kind is nn.RNN:
        return torch.tanh(gi + gh), c
    if kind is nn.LSTM:
        i, f, g, o = (gi + gh).chunk(4, -1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c
    (ir, iz, in_), (hr, hz, hn) = gi.chunk(3, -1), gh.chunk(3, -1)
    r, z = torch.sigmoid(ir + hr), torch.sigmoid(iz + hz)
    n = torch.tanh(in_ + r * hn)
    return (h - n) * z + n, c


def one_sequence(layer, x, h, c):
    """x (steps, features) in binary32 throughout: outputs and the last h and c of every layer."""
    directions, states = 1 + layer.bidirectional, []
    for level in range(layer.num_layers):
        outs = []
        for direction in range(directions):
            index = level * directions + direction
            w = [getattr(layer, name).float() for name in layer._all_weights[index]]
            now, out = (h[index], c[index]), []
            for each in x.flip(0) if direction else x:
                now = one_step(type(layer), each, *now, w)
                if layer.proj_size:
                    now = F.linear(now[0], w[4]), now[1]
                out.append(now[0])
            states.append(now)
            outs.append(torch.stack(out[::-1] if direction else out))
        x = torch.cat(outs, -1)
    return x, *(torch.stack(each) for each in zip(*states, strict=True))


LAYERS = {
    "LSTM": lambda: nn.LSTM(6, 19, 2, bidirectional=True),
    "LSTM with a projection": lambda: nn.LSTM(6, 19, 2, proj_size=3, bidirectional=True),
    "GRU": lambda: nn.GRU(6, 19, 2, bidirectional=True),
    "RNN": lambda: nn.RNN(6, 19, 2),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", LAYERS)
def test_recurrent_layers_are_their_steps_and_packing_changes_no_sequence(name, dtype):
    layer = LAYERS[name]().to(dtype).eval()
    lengths, count = [2, 5, 3], layer.num_layers * (1 + layer.bidirectional)
    x = torch.randn(5, 3, 6).to(dtype)
    h = torch.randn(count, 3, layer.proj_size or 19).to(dtype)
    c = torch.randn(count, 3, 19).to(dtype)
    first = (h, c) if name.startswith("LSTM") else h
    packed = nn.utils.rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)

    def unpacked():
        y, last = layer(packed, first)
        return nn.utils.rnn.pad_packed_sequence(y)[0], last

    y, *last = exactly(unpacked)
    for b, length in enumerate(lengths):
        alone = exactly(one_sequence, layer, *(t[:, b].float() for t in (x[:length], h, c)))
        for ours, theirs in zip([y[:length, b], *(t[:, b] for t in last)], alone, strict=False):
            assert torch.equal(ours, theirs.to(dtype))


def test_sealed_recurrent_weights_are_packed_once_and_give_the_same_bits():
    layer, x = nn.LSTM(6, 19).eval(), torch.randn(9, 3, 6)
    loose = exactly(layer, x)
    prepare(layer)
    before = exactly(layer, x) and _libtorch.load().packed_bytes()
    for ours, theirs in zip(exactly(layer, x), loose, strict=True):
        assert torch.equal(ours, theirs)
    assert _libtorch.load().packed_bytes() == before


def test_dropout_between_recurrent_layers_is_refused_in_training_alone():
    layer, x = nn.GRU(6, 7, 2, dropout=0.5), torch.randn(4, 3, 6)
    with pytest.raises(NotExact, match=r"dropout.*GRU.*model\.eval"):
        exactly(layer, x)
    exactly(layer.eval(), x)
    exactly(nn.GRU(6, 7, 1).train(), x)


@pytest.mark.parametrize("layer", [nn.LSTM(6, 7), nn.GRU(6, 7), nn.RNN(6, 7)])
def test_recurrent_weights_that_do_not_fit_raise(layer):
    for name, tensor in list(layer.named_parameters()):
        setattr(layer, name, nn.Parameter(tensor[:3].clone(), requires_grad=False))
        with pytest.raises(RuntimeError, match="recurrent layers"):
            exactly(layer, torch.randn(4, 3, 6))
        setattr(layer, name, tensor)


def bag_of(table, rows, mode):
    if not len(rows):
        return torch.zeros(table.shape[1])
    return {
        "sum": lambda: table[rows].float().sum(0),
        "mean": lambda: table[rows].float().mean(0),
        "max": lambda: table[rows].float().amax(0),
    }[mode]()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_bags_are_sums_of_their_rows_without_padding(mode, dtype):
    table = torch.randn(9, 21).to(dtype).t().contiguous().t()
    indices, offsets = torch.tensor([3, 2, 8, 2, 1, 0, 2]), torch.tensor([0, 3, 3, 6])
    [bags] = exactly(lambda: F.embedding_bag(indices, table, offsets, mode=mode, padding_idx=-7))
    bounds = [*offsets.tolist(), 7]
    for bag, (begin, end) in zip(bags, zip(bounds, bounds[1:], strict=False), strict=True):
        rows = [row for row in indices[begin:end].tolist() if row != 2]
        [expected] = exactly(bag_of, table, rows, mode)
        assert torch.equal(bag, expected.to(dtype))


def test_weighted_bags_are_sums_of_products_and_the_last_offset_may_be_given():
    table, weights = torch.randn(9, 4), torch.randn(5)
    indices, offsets = torch.tensor([3, 2, 8, 2, 1], dtype=torch.int32), torch.tensor([0, 2, 5])
    assert_like_torch(
        lambda: F.embedding_bag(
            indices,
            table,
            offsets.int(),
            mode="sum",
            per_sample_weights=weights,
            include_last_offset=True,
        )
    )


@pytest.mark.parametrize(
    ("indices", "offsets"),
    [([0, 9], [0]), ([-1, 0], [0]), ([0, 1], [1]), ([0, 1], [0, 3]), ([0, 1], [0, 2, 1])],
)
def test_bags_out_of_bounds_raise(indices, offsets):
    with pytest.raises((RuntimeError, IndexError), match="embedding_bag"):
        exactly(
            lambda: F.embedding_bag(
                torch.tensor(indices), torch.ones(9, 4), torch.tensor(offsets), mode="sum"
            )
        )


def test_int8_products_are_exact_to_the_last_k_that_int32_holds():
    a = torch.full((17, 131071), -128, dtype=torch.int8)
    b = torch.full((131071, 8), -128, dtype=torch.int8)
    [product] = exactly(torch._int_mm, a, b)
    assert product.dtype == torch.int32 and (product == 131071 * 128 * 128).all()
    with pytest.raises(NotExact, match=r"_int_mm.*131072"):
        exactly(torch._int_mm, torch.cat([a, a[:, :1]], 1), torch.cat([b, b[:1]]))
