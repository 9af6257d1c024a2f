"""Composite tensors built to collide: layouts, components and headers of one another."""

from __future__ import annotations

import torch

from collision_items import Pair, Random, assembled, choice, item, raw
from torchnotary import _core
from torchnotary.commitment import view


def _sparse_matrix(rng: Random, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    dense = torch.from_numpy(rng.integers(0, 3, (4, 4)) * rng.integers(0, 2, (4, 4)))
    return dense.to(dtype)


SPARSE = [
    lambda dense: dense,
    lambda dense: dense.to_sparse(),
    lambda dense: dense.to_sparse(1),
    lambda dense: dense.to_sparse_csr(),
    lambda dense: dense.to_sparse_csc(),
    lambda dense: dense.to_sparse_bsr((1, 1)),
    lambda dense: dense.to_sparse_bsr((2, 2)),
    lambda dense: dense.to_sparse_bsc((2, 2)),
]


def the_same_numbers_in_another_layout(rng: Random) -> Pair:
    dense = _sparse_matrix(rng, choice(rng, [torch.float32, torch.int64]))
    symmetric = dense + dense.t() if rng.integers(2) else dense
    return item(choice(rng, SPARSE)(symmetric)), item(choice(rng, SPARSE)(symmetric))


def one_coo_tensor_in_two_orders(rng: Random) -> Pair:
    sparse = _sparse_matrix(rng).to_sparse()
    indices, values = sparse.indices(), sparse.values()
    order, other = (torch.from_numpy(rng.permutation(len(values))) for _ in range(2))
    first = torch.sparse_coo_tensor(indices[:, order], values[order], (4, 4))
    moved = values[order] if rng.integers(2) else values[other]
    second = torch.sparse_coo_tensor(indices[:, order], moved, (4, 4)).requires_grad_()
    again = sparse if rng.integers(2) else second
    return item(first), item(again)


def a_zero_stored_or_left_out(rng: Random) -> Pair:
    sparse = _sparse_matrix(rng).to_sparse()
    second = sparse.clone()
    if len(second.values()):
        second.values()[int(rng.integers(len(second.values())))] = choice(rng, [0.0, -0.0, 1.0])
    return item(sparse), item(choice(rng, [second, second.to_dense().to_sparse()]))


def a_composite_and_a_tensor_of_its_digests(rng: Random) -> Pair:
    """Ordinary data bytes that are all a composite digest is made of: its root, or more."""
    sparse = choice(rng, SPARSE[1:])(_sparse_matrix(rng))
    digests = b"".join(view_.commit()[1] for view_ in view(sparse).components.values())
    header = b"".join(
        bytes([len(text)]) + text.encode() for text in (view(sparse).layout, view(sparse).dtype)
    )
    header += bytes([2]) + b"".join(n.to_bytes(8, "little") for n in (4, 4, len(digests) // 32))
    root = _core.blake3(digests)
    data = choice(rng, [digests, header + root, header + digests, root])
    shape = choice(
        rng, [(len(data),), (len(data) // 32, 32) if len(data) % 32 == 0 else (1, len(data))]
    )
    return item(sparse), raw("uint8", shape, data)


def components_in_another_order(rng: Random) -> Pair:
    size = int(rng.integers(1, 4))
    parts = [
        ("strided", "int64", (size,), rng.integers(0, 2, size).astype("<i8").tobytes())
        for _ in range(3)
    ]
    layout = choice(rng, ["sparse_csr", "sparse_csc", "sparse_bsr", "nested_strided"])
    other = choice(rng, [layout, "sparse_csr", "nested_jagged"])
    moved = [parts[i] for i in rng.permutation(3)]
    shape = (size,)
    return assembled(layout, "int64", shape, parts), assembled(other, "int64", shape, moved)


def components_moved_to_the_header(rng: Random) -> Pair:
    """A nested tensor of more or fewer members, or of another one's shape."""
    members = [
        ("strided", "float32", (n,), rng.bytes(4 * n)) for n in rng.integers(0, 3, 4).tolist()
    ]
    first = assembled("nested_strided", "float32", (len(members),), members)
    count = int(rng.integers(5))
    shape = choice(rng, [(len(members),), (count,), (len(members), count), ()])
    return first, assembled("nested_strided", "float32", shape, members[:count])


def names_of_layout_and_dtype_that_run_together(rng: Random) -> Pair:
    """`sparse_csr` and `int8` against layouts and dtypes of other lengths, over equal parts."""
    part = ("strided", "uint8", (2,), rng.bytes(2))
    layouts = ["sparse_csr", "sparse_bsr", "sparse_csc", "quantized_per_tensor", "nested_strided"]
    dtypes = ["int8", "uint8", "int64", "qint8", "float8_e4m3fn", "float8_e4m3fnuz"]
    shapes = [(), (2,), (2, 2), (2, 2, 3)]
    return tuple(
        assembled(choice(rng, layouts), choice(rng, dtypes), choice(rng, shapes), [part] * 3)
        for _ in range(2)
    )


def quantised_alike(rng: Random) -> Pair:
    real = torch.from_numpy(rng.integers(0, 3, (3, 3))) * 0.5

    def made() -> torch.Tensor:
        scale, zero = choice(rng, [0.5, 0.25]), int(rng.integers(2))
        dtype = choice(rng, [torch.qint8, torch.quint8, torch.qint32])
        if rng.integers(2):
            return torch.quantize_per_tensor(real.float(), scale, zero, dtype)
        scales, zeros = torch.full((3,), scale, dtype=torch.float64), torch.full((3,), zero)
        axis = int(rng.integers(2))
        return torch.quantize_per_channel(real.float(), scales, zeros, axis, dtype)

    first = made()
    same = first.clone() if rng.integers(4) == 0 else made()
    return item(first), item(same)


def views_of_quantised_tensors(rng: Random) -> Pair:
    real = torch.from_numpy(rng.integers(0, 2, (3, 3))).float()
    tensor = torch.quantize_per_tensor(real, 1.0, 0, torch.qint8)
    looks = [
        lambda t: t,
        lambda t: t.t(),
        lambda t: t[:2],
        lambda t: t[1:],
        lambda t: t[:, ::2].t(),
    ]
    return item(choice(rng, looks)(tensor)), item(choice(rng, looks)(tensor))


def nested_tensors_cut_elsewhere(rng: Random) -> Pair:
    rows = torch.from_numpy(rng.integers(0, 2, (6, 2))).float()

    def made() -> torch.Tensor:
        cut = int(rng.integers(1, 6))
        members = [rows[:cut], rows[cut:]]
        if rng.integers(3) == 0:
            return torch.stack([rows[:3], rows[3:]])
        layout = choice(rng, [torch.strided, torch.jagged])
        return torch.nested.nested_tensor(members, layout=layout)

    return item(made()), item(made())


COMPOSITE_KINDS = [
    the_same_numbers_in_another_layout,
    one_coo_tensor_in_two_orders,
    a_zero_stored_or_left_out,
    a_composite_and_a_tensor_of_its_digests,
    components_in_another_order,
    components_moved_to_the_header,
    names_of_layout_and_dtype_that_run_together,
    quantised_alike,
    views_of_quantised_tensors,
    nested_tensors_cut_elsewhere,
]
