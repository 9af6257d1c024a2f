"""The models of a notary: committed once, watched at every call, committed anew when changed."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import WeightsChanged
from ..manifest import Manifest
from ..model_constants import constants_of
from ..sealing import is_sealed
from ..statement.lines import encode_file, parse
from ..structure import unwrap
from ..watch import Watch

_UNREAD = object()


class CommittedModel:
    """A model (or several, by name) with the line files and roots its records carry."""

    def __init__(
        self,
        models: Mapping[str, Any],
        name: str | None,
        *,
        prefixed: bool,
        stale: CommittedModel | None,
        forget: Callable[[Any], None],
    ) -> None:
        """Commit to ``models``; ``forget`` is called when one of them dies.

        ``stale`` is what they were before they changed. Names of tensors begin with a model's own
        name where ``prefixed``, as they must where there are several.
        """
        self.labels = list(models)
        self.key: tuple = ()  # in the book that holds it
        self.references = [weakref.ref(module, forget) for module in models.values()]
        self.watches = {key: Watch(module) for key, module in models.items()}
        self.prefixed = prefixed
        reuse = stale.manifest if stale is not None and not stale.tensors_changed() else None
        self.manifest = manifest = Manifest.of(self._subject(models), reuse=reuse)
        self.sealed = self.is_sealed_now()
        self.device = _device(models)
        self.files: dict[str, bytes] = {}
        self._constants: Any = _UNREAD
        self.traced: Any = None  # what traces of its calls share (tracing.py)
        self.section: dict[str, Any] = {
            "changed": stale is not None and not stale.is_of(manifest),
            "class": _classes(models),
            "name": name or "+".join(models),
            "sealed": self.sealed,
            "structure": None,
            "weights": None,
        }
        for part in ("weights", "structure"):
            lines = getattr(manifest, f"{part}_lines")
            if lines:
                self.files[f"{part}.jsonl"] = encode_file(lines)
                root = getattr(manifest, f"{part}_root")
                self.section[part] = {"root": root, "size": len(lines)}

    def alive(self, models: Mapping[str, Any]) -> bool:
        """Whether this still speaks of the very same module objects."""
        for reference, module in zip(self.references, models.values(), strict=True):
            if reference() is not module:
                return False
        return True

    def alive_models(self) -> list[tuple[str, Any]]:
        """The models with the prefix of the names of their tensors and modules."""
        found = zip(self.watches, self.references, strict=True)
        return [(key if self.prefixed else "", ref()) for key, ref in found if ref() is not None]

    def constants(self) -> bytes | None:
        """Floating buffers that no state dict has, as a file: see model_constants.py."""
        if self._constants is _UNREAD:
            self._constants = constants_of(self.alive_models())
        return self._constants

    def digests(self) -> dict[str, bytes]:
        """The digest of each tensor by the name its line has."""
        lines = [*self.manifest.weights_lines, *self.manifest.structure_lines]
        values = [parse(line) for line in lines if b'"digest"' in line]
        return {value["name"]: bytes.fromhex(value["digest"]) for value in values}

    def changes(self) -> list[str]:
        """What changed since the commitment, named; empty where nothing did."""
        found: list[str] = []
        for key, watch in self.watches.items():
            changes = watch.changes()
            if changes:
                found += [f"{key}.{change}" if self.prefixed else change for change in changes]
        return found

    def tensors_changed(self) -> bool:
        """Whether any tensor changed, or may have: what was hashed of them no longer stands."""
        return any(watch.tensors_changed() for watch in self.watches.values())

    def is_sealed_now(self) -> bool:
        """Whether all tensors of all models lie in sealed memory."""
        return is_sealed(tensor for watch in self.watches.values() for tensor in watch.tensors())

    def is_of(self, manifest: Manifest) -> bool:
        """Whether the commitment is to what the manifest says."""
        return manifest.weights_root == self.manifest.weights_root and (
            manifest.structure_root == self.manifest.structure_root
        )

    def require_unchanged(self, models: Mapping[str, Any], changes: list[str]) -> None:
        """Raise WeightsChanged, naming what changed, unless everything hashes as committed."""
        manifest = Manifest.of(self._subject(models))
        if self.is_of(manifest):
            return
        difference = str(self.manifest.diff(manifest))
        raise WeightsChanged(
            f"the model changed after it was committed: {', '.join(changes[:5]) or difference}",
            expected=f"weights {self.manifest.weights_root}",
            actual=f"weights {manifest.weights_root}",
            next_step="restore the model, or record the changed one with a new Notary",
        )

    def training(self) -> bool:
        for watch in self.watches.values():
            if watch.training():
                return True
        return False

    def _subject(self, models: Mapping[str, Any]) -> Any:
        return dict(models) if self.prefixed else next(iter(models.values()))


class ModelBook:
    """Every model a notary has committed to, keyed by its names and module objects."""

    def __init__(self, strict: bool) -> None:
        self._strict = strict
        self._lock = threading.RLock()
        self._committed: dict[tuple, CommittedModel] = {}

    def renew_lock(self) -> None:
        """A forked child may have inherited the lock held by a thread it does not have."""
        self._lock = threading.RLock()

    def committed(
        self,
        models: Mapping[str, Any],
        name: str | None,
        *,
        named: bool = False,
        hint: CommittedModel | None = None,
    ) -> CommittedModel | None:
        """The commitment to ``models``, made now if there is none or if they changed.

        Raises WeightsChanged in strict mode where they changed since they were committed; strict
        mode hashes them anew at every call, since writes past the version counter leave no trace,
        unless they are sealed, which leaves no way to write.
        ``named`` says that a caller gave the names, so that even a single model goes by its own.
        ``hint`` is what was returned for the same name before, which most often fits again.
        """
        if not models:
            return None
        if hint is not None and self._stands(hint, models):
            changes = hint.changes()
            if not changes and (hint.sealed or not self._strict):
                return hint
        models = {label: unwrap(module) for label, module in models.items()}
        key = (name, *models, *map(id, models.values()))
        entry = self._committed.get(key)
        if entry is None or not entry.alive(models):
            return self._commit(key, models, name, None, named)
        changes = entry.changes()
        if not changes and (entry.sealed or not self._strict):
            return entry
        if self._strict:
            entry.require_unchanged(models, changes)
        # What was moved, into sealed memory or out of it, is committed anew as what it is.
        return self._commit(key, models, name, entry, named) if changes else entry

    def _stands(self, hint: CommittedModel, models: Mapping[str, Any]) -> bool:
        current = self._committed.get(hint.key) is hint
        return current and hint.labels == list(models) and hint.alive(models)

    def _commit(
        self,
        key: tuple,
        models: Mapping[str, Any],
        name: str | None,
        stale: CommittedModel | None,
        named: bool,
    ) -> CommittedModel:
        with self._lock:
            current = self._committed.get(key)
            if current is not None and current is not stale and current.alive(models):
                return current  # another thread was first
            prefixed = named or len(models) > 1
            committed = self._committed

            def forget(_: Any) -> None:
                committed.pop(key, None)  # with it go the tensors its watches hold

            fresh = CommittedModel(models, name, prefixed=prefixed, stale=stale, forget=forget)
            fresh.key = key
            committed[key] = fresh
            return fresh


def _device(models: Mapping[str, Any]) -> str:
    """Device type that calls run on: that of the first tensor, else the CPU."""
    for module in models.values():
        tensor = next(module.parameters(), None)
        if tensor is not None:
            return tensor.device.type
    return "cpu"


def _classes(models: Mapping[str, Any]) -> str:
    names = [f"{type(m).__module__}.{type(m).__qualname__}" for m in models.values()]
    return "+".join(names)
