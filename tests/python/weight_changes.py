"""Every way of changing a weight that we know of, tried against each way of recording a model.

``python weight_changes.py`` tries each in a process of its own, since some end it, and prints the
outcomes as JSON: ``{way: {mode: outcome}}``. docs/weights.md says what the outcomes mean.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import torchnotary
from torchnotary import Manifest, NotaryError, WeightsChanged, sealing

MODES = {
    "native": {"strict": False, "seal": False},
    "strict": {"strict": True, "seal": False},
    "sealed": {"strict": False, "seal": True},
}
X = torch.arange(12, dtype=torch.float32).reshape(4, 3)

Way = Callable[["Net"], Iterator[None]]
WAYS: dict[str, Way] = {}


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.norm = nn.BatchNorm1d(3, eps=1e-5)
        self.register_buffer("table", torch.ones(64))

    def forward(self, x):
        return self.norm(self.linear(x.to(self.linear.weight.dtype)))

    @property
    def weight(self) -> nn.Parameter:
        return self.linear.weight


def way(name: str) -> Callable[[Way], Way]:
    """Registers a generator function: what it does before its ``yield`` happens before the model
    is attached and called, what it does afterwards is the change."""

    def register(function: Way) -> Way:
        WAYS[name] = function
        return function

    return register


def plain(name: str, change: Callable[[Net], Any]) -> None:
    """Registers a change that needs no preparation, made without gradients."""

    def steps(net: Net) -> Iterator[None]:
        yield
        with torch.no_grad():
            change(net)

    WAYS[name] = steps


OTHER = torch.full((3, 3), 5.0)

plain("`weight.copy_(other)` under `no_grad`", lambda net: net.weight.copy_(OTHER))
plain("`weight.fill_(0)`", lambda net: net.weight.fill_(0))
plain("`weight[0, 0] = 1`", lambda net: net.weight.__setitem__((0, 0), 1.0))
plain(
    "`weight.index_put_(…)`",
    lambda net: net.weight.index_put_((torch.tensor([0]),), torch.zeros(3)),
)
plain("a view of it: `weight.view(-1).add_(1)`", lambda net: net.weight.view(-1).add_(1))
plain("`torch.add(a, b, out=weight)`", lambda net: torch.add(OTHER, 1, out=net.weight))
plain("`torch._foreach_add_([weight], 1)`", lambda net: torch._foreach_add_([net.weight], 1))
plain("`weight.data.add_(1)`", lambda net: net.weight.data.add_(1))
plain("`weight.detach().add_(1)`", lambda net: net.weight.detach().add_(1))
plain("`weight.data = other`", lambda net: setattr(net.weight, "data", OTHER.clone()))
plain("`weight.set_(other)`", lambda net: net.weight.set_(OTHER.clone()))
plain("`buffer.resize_(1000)`", lambda net: net.table.resize_(1000))
plain(
    "`torch.utils.swap_tensors(weight, other)`",
    lambda net: torch.utils.swap_tensors(net.weight, nn.Parameter(OTHER.clone())),
)
plain(
    "a Parameter replaced in `_parameters`",
    lambda net: net.linear._parameters.update(weight=nn.Parameter(OTHER.clone())),
)
plain(
    "`_parameters` replaced in `__dict__`",
    lambda net: net.linear.__dict__.update(
        _parameters={"weight": nn.Parameter(OTHER.clone()), "bias": net.linear.bias}
    ),
)
plain(
    '`__dict__["weight"] = other`, which hides the Parameter',
    lambda net: net.linear.__dict__.update(weight=OTHER.clone()),
)
plain("`load_state_dict(other)`", lambda net: net.load_state_dict(_others()))
plain(
    "`load_state_dict(other, assign=True)`",
    lambda net: net.load_state_dict(_others(), assign=True),
)
plain("`model.double()`", lambda net: net.double())
plain("a new buffer: `register_buffer`", lambda net: net.register_buffer("new", OTHER.clone()))
plain("batch norm in training mode", lambda net: net.norm.train()(X))
plain("an attribute: `norm.eps = 1e-3`", lambda net: setattr(net.norm, "eps", 1e-3))
plain(
    "a forward hook that edits the output",
    lambda net: net.linear.register_forward_hook(lambda module, inputs, output: output * 2),
)
plain("a NumPy view: `weight.numpy()`", lambda net: net.weight.detach().numpy().fill(7))
plain("DLPack: `from_dlpack(weight)`", lambda net: torch.from_dlpack(net.weight.detach()).fill_(7))
plain(
    "`ctypes.memset` at `weight.data_ptr()`",
    lambda net: ctypes.memset(net.weight.data_ptr(), 1, 8),
)
plain(
    "its storage's bytes: `untyped_storage()[0] = 1`",
    lambda net: net.weight.untyped_storage().__setitem__(0, 1),
)
plain(
    "another tensor on its storage: `torch.empty(0).set_(storage)`",
    lambda net: torch.empty(0).set_(net.weight.untyped_storage()).fill_(7),
)


@way("an optimizer's step")
def optimizer_step(net: Net) -> Iterator[None]:
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    yield
    net.forward(X).square().sum().backward()
    optimizer.step()


@way("`weight.fill_(0)` in inference mode")
def inference_mode(net: Net) -> Iterator[None]:
    yield
    with torch.inference_mode():
        net.weight.fill_(0)


@way("the same, to a tensor made in inference mode")
def inference_tensor(net: Net) -> Iterator[None]:
    with torch.inference_mode():
        net.table = torch.ones(64)
    yield
    with torch.inference_mode():
        net.table.fill_(0)


@way("the array it was made of: `from_numpy(array)`")
def numpy_alias(net: Net) -> Iterator[None]:
    array = np.ones((3, 3), dtype=np.float32)
    net.weight.data = torch.from_numpy(array)
    yield
    array.fill(7)


@way("the file it is mapped from, edited on disk")
def mapped_file(net: Net) -> Iterator[None]:
    path = Path(tempfile.mkdtemp()) / "weights"
    path.write_bytes(bytes(36))
    net.weight.data = torch.from_file(str(path), shared=True, size=9).reshape(3, 3)
    yield
    with path.open("r+b") as file:
        file.write(np.ones(9, dtype=np.float32).tobytes())


@way("shared memory, written by a child process")
def shared_memory(net: Net) -> Iterator[None]:
    theirs = net.weight.share_memory_().detach()
    yield
    if os.fork() == 0:
        theirs.numpy().fill(7)
        os._exit(0)
    os.wait()


def _others() -> dict[str, torch.Tensor]:
    return {name: tensor + 1 for name, tensor in Net().state_dict().items()}


def outcome(change: Way, folder: Path, *, strict: bool, seal: bool) -> str:
    """What becomes of a change, in this process."""
    torch.manual_seed(0)
    net = Net().eval()
    steps = change(net)
    next(steps)
    notary = torchnotary.Notary(folder, strict=strict)
    notary.attach(net, seal=seal)
    net(X)
    before = _roots(Manifest.of(net))
    failure = None
    try:
        next(steps, None)
    except (NotaryError, RuntimeError) as error:
        failure = error
    net.eval()
    try:
        net(X)
    except WeightsChanged:
        return "refused"
    now, committed = _roots(Manifest.of(net)), notary.last.predicate["model"]
    lies_sealed = sealing.is_sealed([*net.parameters(), *net.buffers()])
    assert committed["sealed"] == lies_sealed
    if failure is not None:
        assert "would write to sealed memory" in str(failure), failure
        assert now == before and not committed["changed"]
        return "raises"
    if [committed[part]["root"] for part in ("weights", "structure")] != now:
        return "not seen"
    assert committed["changed"] == (now != before)
    notary.close()
    return "noticed" if now != before else "no effect"


def _roots(manifest: Manifest) -> list[str | None]:
    return [manifest.weights_root, manifest.structure_root]


def outcome_in_a_child(change: Way, mode: str) -> str:
    """The same in a process of its own, which the change may end: ``faults``."""
    folder = Path(tempfile.mkdtemp())
    child = os.fork()
    if child == 0:
        try:
            (folder / "outcome").write_text(outcome(change, folder / "log", **MODES[mode]))
        except BaseException as error:
            (folder / "outcome").write_text(f"{type(error).__name__}: {error}")
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGSEGV, signal.SIGBUS):
        return "faults"
    return (folder / "outcome").read_text()


def main() -> None:
    torch.set_num_threads(1)  # a forked child has no other threads
    with tempfile.TemporaryDirectory() as scratch:
        tempfile.tempdir = scratch
        os.environ["TORCHNOTARY_HOME"] = scratch
        outcome(numpy_alias, Path(scratch) / "warm", strict=False, seal=True)  # before the forks
        found = {
            name: {mode: outcome_in_a_child(change, mode) for mode in MODES}
            for name, change in WAYS.items()
        }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
