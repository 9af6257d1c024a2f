"""
What needs LibTorch: the determinism scope, the operator tracer, sealed tensors, and tensors read where they lie.
"""
from __future__ import annotations
import collections.abc
import torch
import typing
import typing_extensions
__all__: list[str] = ['DeterminismScope', 'ModuleSnapshot', 'TORCH_MINOR', 'TraceBytes', 'TracedModel', 'Tracer', 'arena_bytes', 'call_unseen', 'commit', 'cpu_random_state', 'enter_exact', 'enter_module', 'exact_operators', 'exact_scopes', 'is_exact', 'is_sealed', 'leave_exact', 'leave_module', 'note_thread', 'pack_matrix', 'packed_bytes', 'pause_tracing', 'resume_tracing', 'sample', 'seal', 'settings_fingerprint', 'small_digests', 'trim_arena', 'unseal']
class DeterminismScope:
    """
    Every deterministic setting of torch, from construction to leave() or destruction.
    
    `threads` is the number of intra-op threads (None: as it is). Raises NotaryError if an
    open scope holds another number.
    """
    def __init__(self, threads: typing.SupportsInt | typing.SupportsIndex | None = None) -> None:
        ...
    def leave(self) -> None:
        """
        Restore everything; a second call does nothing. Raises NotaryError on another thread
        than the scope began on, where that thread's own settings stay changed.
        """
    def report(self) -> dict[str, dict[str, bool | int | str]]:
        """
        Name -> {"before": value, "set": value}, in the order they were set.
        """
class TraceBytes:
    """
    Bytes of a finished trace, read-only; memoryview() gives them.
    """
class TracedModel:
    """
    What traces of calls of one model share: its tensors, modules and paths.
    """
    def __init__(self) -> None:
        ...
    def add(self, tensor: torch.Tensor, is_parameter: bool, name: str, digest: typing_extensions.Buffer | None = None) -> None:
        """
        Name a parameter or buffer, with its digest where that is known.
        """
    def add_module(self, module: typing.Any, path: str, role: typing.SupportsInt | typing.SupportsIndex) -> None:
        """
        Name a module, which must outlive the traces; role 1 plain, 2 shown, 3 opaque.
        """
class Tracer:
    """
    Writes down the operators a thread runs between enter() and leave(), as lines of
    trace.jsonl under the salts of `secret` (32 bytes). `operators=False`: only lines that
    are given; `keep`: the data of outputs too; `digests=False`: nothing is hashed, for
    measuring. Spooled bytes go to a nameless file in `folder` ("": the temporary one).
    """
    def __init__(self, secret: typing_extensions.Buffer, model: TracedModel = None, folder: str = '', operators: bool = True, keep: bool = False, digests: bool = True) -> None:
        ...
    def add_input(self, tensor: torch.Tensor, path: str) -> None:
        """
        Say that a tensor is the input of that path.
        """
    def digest(self, tensor: torch.Tensor) -> bytes | None:
        """
        The digest of a tensor (32 bytes), hashed unless it is known; None where unbound.
        """
    def enter(self) -> None:
        """
        Begin a stretch on this thread.
        """
    def finish(self) -> None:
        """
        Seal what is pending; no line may follow.
        """
    def leave(self) -> None:
        """
        End it.
        """
    def line(self, pieces: collections.abc.Sequence[str], commitments: collections.abc.Sequence[typing_extensions.Buffer]) -> None:
        """
        Add a line: pieces of JSON, with a commitment over each digest between them.
        """
    def set_root(self, path: str | None) -> None:
        """
        The path of operators in no module.
        """
    @property
    def data(self) -> TraceBytes:
        """
        The line file, after finish().
        """
    @property
    def digests(self) -> TraceBytes:
        """
        For each line u32le count and count unsalted digests, after finish().
        """
    @property
    def failure(self) -> str:
        """
        What went wrong; "" for nothing.
        """
    @property
    def kept(self) -> list:
        """
        (line, output, dtype name, shape, offset, bytes) of each kept tensor.
        """
    @property
    def kept_data(self) -> TraceBytes:
        """
        The data bytes of kept tensors, after finish().
        """
    @property
    def left_out(self) -> int:
        """
        Lines beyond what a line file may hold.
        """
    @property
    def outside(self) -> int:
        """
        Tensors that were read and came from nowhere that is known.
        """
    @property
    def root(self) -> bytes:
        """
        The RFC 9162 root over the lines, after finish().
        """
    @property
    def size(self) -> int:
        """
        Lines so far.
        """
    @property
    def threads(self) -> int:
        """
        Threads started, and modules called on other threads.
        """
class ModuleSnapshot:
    """
    What modules, tensors and attributes are at construction. Borrows everything it is given.
    
    `modules` are weak references, the root's first; `modules[i + 1]` stands under `keys[i]` in
    `modules[parents[i]]`, and None under `absent_keys[i]` in `modules[absent_parents[i]]`.
    Attribute `names[i]` of `modules[owners[i]]` is `values[i]`.
    `tables` are the dictionaries of parameters and of buffers of each module, and `tensors[i]`
    stands under `tensor_keys[i]` in `tensor_tables[i]`.
    """
    def __init__(self, modules: list, parents: list, keys: list, absent_parents: list, absent_keys: list, owners: list, names: list, values: list, tables: list, tensor_tables: list, tensor_keys: list, tensors: list) -> None:
        ...
    def holds(self) -> bool:
        """
        Whether all are the same objects in the same places, no dictionary has an entry more
        or less, and no tensor was moved or written to by torch. Raises where a module is gone.
        """
    def training(self) -> bool:
        """
        Whether any module that still exists is in training mode.
        """
def arena_bytes() -> int:
    """
    Bytes kept for the results of exact kernels.
    """
def call_unseen(function: collections.abc.Callable, *args, **kwargs) -> typing.Any:
    """
    Call it with operators that neither exact/1 nor a tracer sees.
    """
def commit(tensor: torch.Tensor, threads: typing.SupportsInt | typing.SupportsIndex = 1) -> tuple[bytes, bytes]:
    """
    (data root, digest) of a torch.Tensor, 32 bytes each, equal to torchnotary.commit's.
    
    Raises UnsupportedTensor for sparse, quantised, nested, oneDNN and meta tensors.
    """
def cpu_random_state() -> bytes:
    """
    State of torch's default CPU generator, as torch.get_rng_state() has it: the same object
    as long as it does not change.
    """
def enter_exact() -> None:
    """
    Compute this thread's operators by exact/1.
    """
def enter_module(module: typing.Any) -> int:
    """
    Tell this thread's tracers that a module is called: 0 where there is none to tell, else
    the role of the module (4: it is none of the model), and leave_module() is to follow.
    """
def exact_operators() -> dict:
    """
    The operators that have a rule, by name, each with "kernel", "moves" or "parts".
    """
def exact_scopes() -> int:
    """
    How many threads compute by exact/1.
    """
def is_exact() -> bool:
    """
    Whether this thread computes by exact/1.
    """
def is_sealed(tensor: torch.Tensor) -> bool:
    """
    Whether the memory of a tensor is sealed.
    """
def leave_exact() -> None:
    """
    End what enter_exact() began; pairs nest.
    """
def leave_module() -> None:
    """
    Tell them that it returned.
    """
def note_thread() -> None:
    """
    Tell them that a thread is started.
    """
def pack_matrix(weights: torch.Tensor) -> None:
    """
    Pack sealed weights (n, k) of a product now, and not at their first use.
    """
def packed_bytes() -> int:
    """
    Bytes of the packs of sealed weights.
    """
def pause_tracing() -> int:
    """
    Have this thread's tracers see nothing; returns what resume_tracing() takes.
    """
def resume_tracing(paused: typing.SupportsInt | typing.SupportsIndex) -> None:
    ...
def sample(probabilities: torch.Tensor, seed: typing.SupportsInt | typing.SupportsIndex, sequence: typing.SupportsInt | typing.SupportsIndex, position: typing.SupportsInt | typing.SupportsIndex) -> int:
    """
    The token that probabilities (n,) of a type of exact/1 and Philox draw; -1 for none.
    """
def seal(tensors: collections.abc.Sequence[tuple[str, torch.Tensor]]) -> None:
    """
    Move (name, tensor) pairs into sealed memory; the tensors stay the same objects, and
    those that share memory share it again. torch's operators raise NotaryError instead of
    writing to them, everything else faults.
    
    Raises UnsupportedTensor, before anything is moved, for a tensor that is not plain
    memory on the host; NotaryError where the system gives no memory.
    """
def settings_fingerprint() -> bytes:
    """
    Bytes that differ whenever a setting that settings_in_force() reads from LibTorch, or this
    thread's number of intra-op threads, differs.
    """
def small_digests(value: typing.Any, max_rows: typing.SupportsInt | typing.SupportsIndex, max_bytes: typing.SupportsInt | typing.SupportsIndex) -> typing.Any:
    """
    (dtype, shape, run, digests) of a torch.Tensor of at most `max_bytes` bytes, as a leaf
    has them: one digest for `run` rows of axis 0, or one in all (run 0) where the rank is
    below 2 or axis 0 is empty. None for other values, and for tensors that are not simply
    memory of the CPU.
    """
def trim_arena() -> None:
    """
    Give those bytes back to the system.
    """
def unseal(tensors: collections.abc.Sequence[tuple[str, torch.Tensor]]) -> None:
    """
    Put those of the (name, tensor) pairs that are sealed on ordinary copies.
    """
TORCH_MINOR: str = '2.13'
