"""Whether a weights file holds what a record's model was loaded from.

A file may hold more than the module loads, and under other names, so lines are compared one by
one: by name where the names agree (up to a common prefix), else by content.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .statement.lines import canonical, tree_of

# Prefixes that wrappers, heads and libraries put before the names of the same tensors.
PREFIXES = (
    "0.auto_model.",
    "0.model.",
    "auto_model.",
    "bert.",
    "model.",
    "module.",
    "roberta.",
    "transformer.",
    "_orig_mod.",
)
# Buffers that older files hold and newer modules make themselves.
LEGACY_BUFFERS = ("position_ids", "rotary_emb.inv_freq", "attn.bias", "attn.masked_bias")
# Names under which a language model ties its output layer to its input embedding.
_TIED = ("lm_head.weight", "embed_out.weight", "cls.predictions.decoder.weight")
_EMBEDDINGS = ("embed_tokens.weight", "wte.weight", "word_embeddings.weight", "shared.weight")
# Trying to leave out each line in turn takes a second at most.
_MAX_DROPPED = 1024

Rename = Callable[[str], "str | None"]


@dataclass(frozen=True)
class Coverage:
    """How a record's tensors were found in a file; true where every one was.

    ``renamed`` pairs record and file names of equal content, ``shared`` are record names whose
    content the file holds once for several (tied weights), ``changed`` names of both with
    different content, ``missing`` record names found nowhere, ``extra`` file names left over.
    """

    matched: int
    renamed: tuple[tuple[str, str], ...] = ()
    shared: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return not self.changed and not self.missing

    def __str__(self) -> str:
        total = self.matched + len(self.changed) + len(self.missing)
        text = [f"{self.matched} of {total} tensors found"]
        parts = {
            "under other names": [old for old, _ in self.renamed],
            "tied": self.shared,
            "changed": self.changed,
            "missing": self.missing,
            "not in the model": self.extra,
        }
        text += [f"{len(names)} {what} ({_some(names)})" for what, names in parts.items() if names]
        return ", ".join(text)


def covers(record_lines: Sequence[bytes], file_lines: Sequence[bytes]) -> Coverage:
    """Whether every tensor line of a record is found in the lines of a file.

    A tensor whose name the file knows must have that content; others are found by content, each
    line of the file once. Content that the file holds fewer times than the record counts as tied.
    """
    wanted = {line["name"]: line for line in map(json.loads, record_lines)}
    held = {line["name"]: line for line in map(json.loads, file_lines)}
    rename = _best_renaming(wanted, held)
    left, changed, unnamed, renamed = dict(held), [], [], []
    for name, line in wanted.items():
        target = rename(name)
        if target not in held:
            unnamed.append(name)
        elif _content(held[target]) != _content(line):
            changed.append(name)
        else:
            del left[target]
            if target != name:
                renamed.append((name, target))
    spare: dict[tuple, list[str]] = {}
    for name in sorted(left, reverse=True):
        spare.setdefault(_content(left[name]), []).append(name)
    contents = {_content(line) for line in held.values()}
    shared, missing = [], []
    for name in sorted(unnamed):
        content = _content(wanted[name])
        if spare.get(content):
            target = spare[content].pop()
            del left[target]
            renamed.append((name, target))
        elif content in contents:
            shared.append(name)
        else:
            missing.append(name)
    found = len(wanted) - len(changed) - len(missing)
    lists = (renamed, shared, changed, missing, left)
    return Coverage(found, *(tuple(sorted(names)) for names in lists))


def match_root(lines: Sequence[bytes], root: str, size: int) -> str | None:
    """How weights lines of a file lead to a root of which nothing else is known, or None.

    The lines are tried as they are, without legacy buffers, without any one line, with a tied
    output layer, and each with known prefixes stripped or added. A match is proof: the root was
    computed from the tensors at hand.
    """
    parsed = [json.loads(line) for line in lines]
    for described, candidate in _selections(parsed):
        for renaming, renamed in _renamings(candidate):
            if len(renamed) == size and _root(renamed) == root:
                steps = [step for step in (described, renaming) if step]
                return ", ".join(steps) or "line by line"
    if len(lines) == size + 1 <= _MAX_DROPPED:
        for index, dropped in enumerate(parsed):
            if tree_of([*lines[:index], *lines[index + 1 :]]).root == root:
                return f"without {dropped['name']}"
    return None


def _selections(lines: list[dict[str, Any]]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    yield "", lines
    kept = [line for line in lines if not is_legacy(line["name"])]
    if len(kept) < len(lines):
        yield "without " + _some([x["name"] for x in lines if is_legacy(x["name"])]), kept
    for line in kept:
        if line["name"].endswith(_EMBEDDINGS):
            for tied in _TIED:
                if all(other["name"] != tied for other in kept):
                    yield f"with {tied} tied to {line['name']}", [*kept, {**line, "name": tied}]


def _renamings(lines: list[dict[str, Any]]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    yield "", lines
    for prefix in PREFIXES:
        stripped = [
            {**line, "name": line["name"][len(prefix) :]}
            for line in lines
            if line["name"].startswith(prefix)
        ]
        if stripped:
            rest = len(lines) - len(stripped)
            more = f" and {rest} others left out" if rest else ""
            yield f"prefix {prefix} stripped{more}", stripped
        added = [{**line, "name": prefix + line["name"]} for line in lines]
        yield f"prefix {prefix} added", added


def _root(lines: list[dict[str, Any]]) -> str:
    ordered = sorted(lines, key=lambda line: line["name"].encode())
    return tree_of([canonical(line) for line in ordered]).root


def is_legacy(name: str) -> bool:
    """Whether a tensor is a buffer that older files hold and newer modules make themselves."""
    return f".{name}".endswith(tuple(f".{suffix}" for suffix in LEGACY_BUFFERS))


def _best_renaming(wanted: dict[str, Any], held: dict[str, Any]) -> Rename:
    """The prefix rule under which most names of the record are names of the file."""

    def same(name: str) -> str | None:
        return name

    rules: list[Rename] = [same]
    for prefix in PREFIXES:
        rules.append(lambda name, p=prefix: name[len(p) :] if name.startswith(p) else None)
        rules.append(lambda name, p=prefix: p + name)
    return max(rules, key=lambda rule: sum(rule(name) in held for name in wanted))


def _content(line: dict[str, Any]) -> tuple[str, str, tuple[int, ...]]:
    return line["digest"], line["dtype"], tuple(line["shape"])


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return f"{shown}, …" if len(names) > 3 else shown
