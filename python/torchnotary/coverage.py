"""Whether a weights file holds what a record's model was loaded from.

A file may hold more than the module loads, and under other names: older files have buffers that
newer modules make themselves, wrappers put one prefix before all names, and of tied weights a
file keeps one. Nothing else counts as the same model: the names of all tensors must follow from
the file's by one rule, since equal contents in other places are another model.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from .statement.lines import brief, canonical, tree_of

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
)
# torch.compile puts this segment wherever it wraps; no line of a module has it.
_COMPILED = "_orig_mod."
_MAX_COMMON_SEGMENTS = 4
_SAMPLE = 1024
# Lines are hashed again under at most so many bytes of other names: five seconds' work.
_MAX_HASHED = 256 * 2**20

# Names (whole, or the end of one after a dot) under which libraries hold one tensor several
# times: the output layer and the embeddings of a language model, and the output layer's bias.
_TIES = (
    ("lm_head.weight", "embed_tokens.weight"),
    ("lm_head.weight", "wte.weight"),
    ("lm_head.weight", "word_embeddings.weight"),
    ("embed_out.weight", "embed_in.weight"),
    ("proj_out.weight", "embed_tokens.weight"),
    ("cls.predictions.decoder.weight", "word_embeddings.weight"),
    ("lm_head.decoder.weight", "word_embeddings.weight"),
    ("vocab_projector.weight", "word_embeddings.weight"),
    (
        "lm_head.weight",
        "shared.weight",
        "encoder.embed_tokens.weight",
        "decoder.embed_tokens.weight",
    ),
    ("cls.predictions.decoder.bias", "cls.predictions.bias"),
    ("lm_head.decoder.bias", "lm_head.bias"),
)
_TIED_NAMES = tuple(dict.fromkeys(suffix for tie in _TIES for suffix in tie))
_MAX_TIED = 3
# No model has more of them; every combination of three is tried.
_MAX_TIE_NAMES = 20

Line = Mapping[str, Any]
Rename = Callable[[str], "str | None"]


@dataclass(frozen=True)
class Coverage:
    """How a record's tensors were found in a file; true where the file holds that model.

    ``rule`` is the one by which the file's names give the record's ("" where they are the same).
    By it ``changed`` names have other content and ``missing`` ones are nowhere; ``misplaced``
    ones are nowhere by it either, but the file has their content under some other name. ``tied``
    names share a tensor that the file holds once, ``legacy`` are leftover buffers of the file
    that newer modules make themselves, ``extra`` all other leftovers.
    """

    matched: int
    rule: str = ""
    tied: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    misplaced: tuple[str, ...] = ()
    legacy: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return not (self.differs or self.misplaced or self.extra)

    @property
    def differs(self) -> bool:
        """Whether a tensor of the record is not in the file at all."""
        return bool(self.changed or self.missing)

    @property
    def doubt(self) -> str:
        """Why the file cannot be said to hold this model although it has every content."""
        if self.misplaced:
            return (
                "no one rule leads from the file's names to these, and equal tensors in other "
                "places are another model"
            )
        return "the record is not of all that the file holds"

    @property
    def lines(self) -> list[str]:
        """What keeps the file from being this model, one line a tensor."""
        parts = {
            "changed": self.changed,
            "missing": self.missing,
            "under another name, and no one rule leads there": self.misplaced,
            "not in the model": self.extra,
        }
        return [f"tensor {brief(name)}: {what}" for what, names in parts.items() for name in names]

    def __str__(self) -> str:
        found = self.matched + len(self.misplaced)
        total = found + len(self.changed) + len(self.missing)
        text = [f"{found} of {total} tensors found", *([self.rule] if self.rule else [])]
        parts = {
            "tied": self.tied,
            "changed": self.changed,
            "missing": self.missing,
            "under other names": self.misplaced,
            "not in the model": (*self.legacy, *self.extra),
        }
        text += [f"{len(names)} {what} ({_some(names)})" for what, names in parts.items() if names]
        return ", ".join(text)


def covers(record_lines: Sequence[bytes], file_lines: Sequence[bytes]) -> Coverage:
    """Whether the tensor lines of a record are those of a file under one rule for their names."""
    wanted = {line["name"]: line for line in map(json.loads, record_lines)}
    held = _named(map(json.loads, file_lines))
    rule, rename = _best_rule(wanted, held)
    left, found, changed, unnamed = dict(held), set(), [], []
    for name, line in wanted.items():
        target = rename(name)
        if target not in left:
            unnamed.append(name)
            continue
        del left[target]
        if _content(held[target]) == _content(line):
            found.add(name)
        else:
            changed.append(name)
    tied = _tied(set(unnamed), wanted, found)
    # Content alone says that a tensor is there, not that it is in its place.
    contents = {_content(line) for line in held.values()}
    misplaced, missing = [], []
    for name in unnamed:
        if name not in tied:
            (misplaced if _content(wanted[name]) in contents else missing).append(name)
    legacy = [name for name, line in left.items() if is_legacy(line)]
    extra = [] if misplaced else left.keys() - set(legacy)
    lists = (tied, changed, missing, misplaced, legacy, extra)
    matched = len(found) + len(tied)
    return Coverage(matched, rule, *(tuple(sorted(names)) for names in lists))


@dataclass(frozen=True)
class RootMatch:
    """How lines of a file lead to a root: true where only legacy buffers were left out, and
    ``extra`` names the other lines that were."""

    how: str
    extra: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return not self.extra


def match_root(lines: Sequence[bytes], root: str, size: int) -> RootMatch | None:
    """How weights lines of a file lead to a root of which nothing else is known, or None.

    The lines are tried as they are and without legacy buffers, under the names that each known
    rule gives, with the tied names that the file lacks. A match is proof: the root was computed
    from the tensors at hand.
    """
    held = _named(map(json.loads, lines))
    budget = _MAX_HASHED
    for how, left_out, candidate in _candidates(held, size):
        budget -= sum(150 + len(name) for name in candidate)
        if budget < 0 and how:
            return None
        if _root(candidate) == root:
            return RootMatch(how or "line by line", left_out)
    return None


def may_be_tied(lines: Sequence[bytes], size: int) -> bool:
    """Whether a file of those lines may lack only names of tied weights of ``size`` tensors."""
    names = [json.loads(line)["name"] for line in lines]
    return 0 < size - len(names) <= _MAX_TIED and any(_tie_name(name) for name in names)


def is_legacy(line: Line) -> bool:
    """Whether a tensor is a buffer that older files hold and newer modules make themselves, by
    its name and by the shape that tells it from a parameter of the same name."""
    name, shape, kind = f".{line['name']}", line["shape"], line["dtype"]
    if name.endswith((".position_ids", ".token_type_ids")):
        return kind in ("int64", "int32")
    if name.endswith(".rotary_emb.inv_freq"):
        return len(shape) == 1
    if name.endswith((".attn.masked_bias", ".attention.masked_bias")):
        return shape == []
    if name.endswith((".attn.bias", ".attention.bias")):
        return len(shape) == 4 and shape[:2] == [1, 1] and shape[2] == shape[3]
    return False


def without_legacy(lines: Sequence[bytes]) -> list[bytes]:
    """The lines that are no legacy buffers."""
    return [line for line in lines if not is_legacy(json.loads(line))]


def _named(lines: Iterator[Line]) -> dict[str, Line]:
    """Lines by name, without the segments of torch.compile where that keeps the names apart."""
    held = {line["name"]: line for line in lines}
    plain = {_without_compiled(name): line for name, line in held.items()}
    return plain if len(plain) == len(held) else held


def _without_compiled(name: str) -> str:
    if _COMPILED not in name:
        return name
    return ".".join(part for part in name.split(".") if part != _COMPILED[:-1])


def _best_rule(wanted: Mapping[str, Line], held: Mapping[str, Line]) -> tuple[str, Rename]:
    """The rule (said of the file's names) under which most names of the record are the file's."""
    names = list(wanted)
    names = names[:: len(names) // _SAMPLE + 1]
    kept = [name for name in held if not is_legacy(held[name])]
    rules: list[tuple[str, Rename]] = [("", lambda name: name)]
    for prefix in dict.fromkeys((*PREFIXES, *_common_prefixes(wanted))):
        rules.append((f"prefix {prefix} added", _stripping(prefix)))
    for prefix in dict.fromkeys((*PREFIXES, *_common_prefixes(kept))):
        rules.append((f"prefix {prefix} stripped", lambda name, p=prefix: p + name))
    return max(rules, key=lambda rule: sum(rule[1](name) in held for name in names))


def _stripping(prefix: str) -> Rename:
    # A sentence-transformers file has the first part's names bare, the others' with their number.
    numbered = prefix.startswith("0.")

    def strip(name: str) -> str | None:
        if name.startswith(prefix):
            return name[len(prefix) :]
        return name if numbered and name[:1].isdigit() and not name.startswith("0.") else None

    return strip


def _common_prefixes(names: Sequence[str] | Mapping[str, Any]) -> list[str]:
    """The dotted prefixes that all names share, shortest first."""
    if not names:
        return []
    # What the first and the last in order share, all share.
    first, last = min(names).split(".")[:-1], max(names).split(".")[:-1]
    prefixes, prefix = [], ""
    for one, other in zip(first[:_MAX_COMMON_SEGMENTS], last, strict=False):
        if one != other:
            break
        prefix += f"{one}."
        prefixes.append(prefix)
    return prefixes


def _tied(missing: set[str], wanted: Mapping[str, Line], found: set[str]) -> set[str]:
    """The missing names that are known to be tied to a found one and have its content.

    A found tensor answers for one tie only, and a tie for one name of each kind, so that no
    tensor is taken for more copies than a model has.
    """
    if not missing:
        return set()
    by_suffix: dict[str, list[str]] = {suffix: [] for suffix in _TIED_NAMES}
    for name in wanted:
        for suffix in _tie_name(name):
            by_suffix[suffix].append(name)
    explained: set[str] = set()
    used: set[str] = set()
    for tie in _TIES:
        members = [by_suffix[suffix][0] for suffix in tie if len(by_suffix[suffix]) == 1]
        anchors = [name for name in members if name in found and name not in used]
        copies = [name for name in members if name in missing - explained]
        for anchor in anchors[:1]:
            alike = [n for n in copies if _content(wanted[n]) == _content(wanted[anchor])]
            if alike:
                explained.update(alike)
                used.update(anchors)
    return explained


def _tie_name(name: str) -> list[str]:
    """The known tied names that a tensor's name is or ends with."""
    dotted = f".{name}"
    if not dotted.endswith((".weight", ".bias")):
        return []
    return [suffix for suffix in _TIED_NAMES if dotted.endswith(f".{suffix}")]


def _candidates(
    held: dict[str, Line], size: int
) -> Iterator[tuple[str, tuple[str, ...], dict[str, Line]]]:
    """Sets of named lines of that size that a record of the file's model may have: how they came
    about, the names left out that are no legacy buffers, and the lines by name."""
    kept = {name: line for name, line in held.items() if not is_legacy(line)}
    selections = [("", held)]
    if len(kept) < len(held):
        selections.append((f"without {_some([n for n in held if n not in kept])}", kept))
    for ties in (False, True):
        for selected, lines in selections:
            for renamed, count, left_out, build in _renamings(lines, kept):
                lacking = size - count
                if lacking if not ties else not 0 < lacking <= _MAX_TIED:
                    continue
                described = ", ".join(step for step in (selected, renamed) if step)
                candidate = build()
                if not ties:
                    yield described, left_out, candidate
                    continue
                for names, completed in _with_ties(candidate, lacking):
                    steps = (described, f"with {', '.join(names)} tied")
                    yield ", ".join(step for step in steps if step), left_out, completed


def _renamings(
    lines: dict[str, Line], kept: dict[str, Line]
) -> Iterator[tuple[str, int, tuple[str, ...], Callable[[], dict[str, Line]]]]:
    """Known renamings of lines: a description, how many lines it gives, the names it leaves out
    beside legacy buffers, and a function that builds them."""
    yield "", len(lines), (), lambda: lines
    for prefix in PREFIXES:
        yield f"prefix {prefix} added", len(lines), (), lambda p=prefix: _added(lines, p)
    for prefix in dict.fromkeys((*PREFIXES, *_common_prefixes(kept))):
        under = [name for name in lines if name.startswith(prefix)]
        if under:
            left_out = tuple(name for name in kept if not name.startswith(prefix))
            yield (
                f"prefix {prefix} stripped",
                len(under),
                left_out,
                lambda u=under, p=prefix: {name[len(p) :]: lines[name] for name in u},
            )


def _added(lines: dict[str, Line], prefix: str) -> dict[str, Line]:
    strip = _stripping(prefix)
    return {
        # The numbered parts of a sentence-transformers folder have their whole names already.
        name if strip(name) == name else prefix + name: line
        for name, line in lines.items()
    }


def _with_ties(
    lines: dict[str, Line], lacking: int
) -> Iterator[tuple[tuple[str, ...], dict[str, Line]]]:
    """The lines with so many tied names added that they lack."""
    members = {name: line for name, line in lines.items() if _tie_name(name)}
    if len(members) > _MAX_TIE_NAMES:
        return
    options: dict[str, Line] = {}
    for name, line in members.items():
        for suffix in _tie_name(name):
            stem = name[: -len(suffix)]
            others = {other for tie in _TIES if suffix in tie for other in tie}
            added = {*others, *(stem + other for other in others)} - lines.keys()
            options.update(dict.fromkeys(added - options.keys(), line))
    if len(options) > _MAX_TIE_NAMES:
        return
    for names in combinations(sorted(options), lacking):
        copies = {name: options[name] for name in names}
        if _tied(set(names), {**members, **copies}, set(members)) == set(names):
            yield names, {**lines, **copies}


def _root(lines: Mapping[str, Line]) -> str:
    ordered = sorted(lines.items(), key=lambda item: item[0].encode())
    return tree_of([canonical({**line, "name": name}) for name, line in ordered]).root


def _content(line: Line) -> tuple[str, str, tuple[int, ...], str | None]:
    return line["digest"], line["dtype"], tuple(line["shape"]), line.get("layout")


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(map(brief, names[:3]))
    return f"{shown}, …" if len(names) > 3 else shown
