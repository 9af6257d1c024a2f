"""Every dtype that torch has: documented, committed to bit for bit, and none left out."""

from __future__ import annotations

import re
from pathlib import Path

import blake3
import pytest

from torchnotary import UnsupportedTensor, _core, commit
from torchnotary.commitment import view

torch = pytest.importorskip("torch")

FORMATS = Path(__file__).parents[2] / "docs" / "formats.md"
DTYPES = {value for value in vars(torch).values() if isinstance(value, torch.dtype)}
NAMES = {str(dtype).removeprefix("torch.") for dtype in DTYPES}
QUANTISED = {"qint8", "quint8", "qint32", "quint4x2", "quint2x4"}


def documented(heading: str) -> dict[str, int]:
    """Dtype name to bytes an element, by the table of docs/formats.md under a header line."""
    table = FORMATS.read_text().partition(f"\n| {heading} |")[2].partition("\n\n")[0]
    rows = [row.split("|")[1:3] for row in table.splitlines()[2:]]
    return {name: int(cells[1]) for cells in rows for name in re.findall(r"`(\w+)`", cells[0])}


def test_each_dtype_of_torch_stands_in_exactly_one_table_of_the_documentation():
    ordinary, quantised = documented("dtype name"), documented("quantised dtype")
    assert len(NAMES) >= 46  # torch 2.13
    assert not ordinary.keys() & quantised.keys()
    assert ordinary.keys() | quantised.keys() == NAMES
    assert quantised.keys() == QUANTISED


@pytest.mark.parametrize("name", sorted(NAMES - QUANTISED))
def test_elements_of_every_ordinary_dtype_are_committed_to_bit_for_bit(name):
    dtype = getattr(torch, name)
    assert dtype.itemsize == documented("dtype name")[name]
    raw = torch.arange(96, dtype=torch.uint8)
    if dtype is torch.bool:
        raw %= 2
    data = raw.numpy().tobytes()
    tensor = raw.view(dtype)
    made = commit(tensor)
    assert made.data_root == blake3.blake3(data).hexdigest()
    assert (made.dtype, made.shape, made.nbytes) == (name, (96 // dtype.itemsize,), 96)
    # Every second element, backwards in memory: gathered.
    size = dtype.itemsize
    elements = [data[i : i + size] for i in range(0, 96, size)]
    columns = tensor.as_strided((2, 48 // size), (1, 2))
    assert view(columns).tobytes() == b"".join(elements[::2] + elements[1::2])


@pytest.mark.parametrize("name", sorted(NAMES - QUANTISED))
def test_one_bit_more_in_an_element_of_any_dtype_is_another_tensor(name):
    dtype = getattr(torch, name)
    made = set()
    bits = 1 if dtype is torch.bool else 8 * dtype.itemsize
    for bit in range(bits):
        value = (1 << bit).to_bytes(dtype.itemsize, "little")
        made.add(commit(torch.frombuffer(bytearray(value), dtype=torch.uint8).view(dtype)).digest)
    made.add(commit(torch.zeros(dtype.itemsize, dtype=torch.uint8).view(dtype)).digest)
    assert len(made) == bits + 1


@pytest.mark.parametrize("name", sorted(QUANTISED))
def test_a_quantised_dtype_without_its_scale_is_refused_by_name(name):
    with pytest.raises(UnsupportedTensor, match=f"{name}.*Next: "):
        commit(torch.empty(4, dtype=getattr(torch, name)))
    with pytest.raises(UnsupportedTensor, match=name):
        _core.View.from_buffer(bytes(64), name, (4,))


@pytest.mark.parametrize("name", ["", "float31", "Float32", "float32 ", "torch.float32", "int9"])
def test_a_dtype_that_torch_does_not_name_is_refused(name):
    with pytest.raises(UnsupportedTensor, match="no commitment rule for this dtype"):
        _core.View.from_buffer(bytes(64), name, (4,))
