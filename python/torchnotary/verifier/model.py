"""Steps about the model: its weights and structure against the roots that were signed.

What is needed to compare a model is imported where there is one: most of the time there is none.
"""

from __future__ import annotations

from ..errors import MalformedRecord, RootMismatch, VerificationFailed
from ..statement.lines import Tree, brief, tree_of
from ..statement.record import Record
from .case import Case, Finding, not_checked
from .integrity import check_file
from .policy import Policy


def check_weights(case: Case) -> Finding:
    """The model's tensors, against weights.jsonl and its root."""
    recorded = travelling(case.record, "weights")
    claimed = claimed_tree(case.record, "weights")
    allowed = _check_root(case.policy, claimed)
    if case.model is None:
        return not_checked(f"no model given to compare{allowed}")
    if claimed is None:
        return not_checked("the record commits to no weights")
    from .model_comparison import compare_weights

    return compare_weights(case, claimed, recorded)


def check_structure(case: Case) -> Finding:
    """The model's modules, attributes and other buffers, against structure.jsonl and its root."""
    recorded = travelling(case.record, "structure")
    claimed = claimed_tree(case.record, "structure")
    allowed = _check_profile(case.policy, case.record)
    if case.model is None:
        return not_checked(f"no model given to compare{allowed}")
    if claimed is None:
        return not_checked("the record commits to no structure")
    from .model_comparison import compare_structure

    return compare_structure(case, claimed, recorded)


def _check_root(policy: Policy, claimed: Tree | None) -> str:
    """What to add where the policy allows the root that the record claims, whoever compares it
    with tensors; raises VerificationFailed where it does not."""
    if policy.models is None:
        return ""
    if claimed is None or claimed.root not in policy.models:
        raise VerificationFailed(
            "weights that the policy does not allow",
            expected=" or ".join(sorted(policy.models)) or "no weights at all",
            actual=claimed.root if claimed is not None else "none",
            next_step="ask which model that is, then add its root to the policy's models",
        )
    return "; the policy allows the root it claims"


def _check_profile(policy: Policy, record: Record) -> str:
    """Likewise for the profile: which kernels stand behind the modules' names."""
    if policy.profiles is None:
        return ""
    profile = record.predicate["execution"].get("profile")
    if not isinstance(profile, str) or profile not in policy.profiles:
        raise VerificationFailed(
            "made under a profile that the policy does not allow",
            expected=" or ".join(sorted(policy.profiles)) or "no profile at all",
            actual=brief(profile),
            next_step="ask for a record made under one of them",
        )
    return f"; the policy allows the profile it claims, {profile}"


def travelling(record: Record, part: str) -> list[bytes] | None:
    """The lines of weights.jsonl or structure.jsonl (``part`` is its stem) where that file travels.

    Raises `VerificationFailed` or `RootMismatch` where it contradicts the statement.
    """
    name = f"{part}.jsonl"
    data = record.files.get(name)
    if data is None:
        return None
    subjects = {s["name"]: s["digest"]["sha256"] for s in record.statement["subject"]}
    check_file(name, data, subjects[name])
    from ..manifest import weights_claimed
    from .model_comparison import parsed

    lines = parsed(name, data)
    claimed, actual = claimed_tree(record, part), tree_of(lines)
    if actual != claimed:
        raise RootMismatch(
            f"{name} does not have the root and size that were signed",
            expected=f"{claimed.root} of {claimed.size} lines",
            actual=f"{actual.root} of {actual.size} lines",
            next_step="ask its maker for the record again; this file was changed",
        )
    if part == "structure" and weights_claimed(lines) != claimed_tree(record, "weights"):
        raise MalformedRecord(
            f"{name} belongs to other weights than the statement speaks of",
            next_step="ask its maker for a record made by torchnotary",
        )
    return lines


def claimed_tree(record: Record, part: str) -> Tree | None:
    """Root and size the statement gives for ``weights`` or ``structure``."""
    claimed = (record.predicate["model"] or {}).get(part)
    return Tree(claimed["root"], claimed["size"]) if claimed else None
