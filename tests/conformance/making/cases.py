"""A case: a record, what it is checked with, and what a verifier must answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torchnotary.statement.lines import canonical

from .draft import Draft
from .identities import SIGNER

# How a file of that option ends, where it is text and where it is bytes.
_SUFFIXES = {
    "checkpoint": (".checkpoint", ".checkpoint"),
    "consistency": (".consistency", ".consistency"),
    "inputs": (".json", ".safetensors"),
    "model": (None, ".safetensors"),
    "outputs": (".json", ".safetensors"),
    "policy": (".toml", ".toml"),
}


@dataclass(frozen=True)
class Beside:
    """A file, or a folder of files by name, that lies beside the records."""

    name: str
    content: bytes | dict[str, bytes]

    @property
    def path(self) -> str:
        return f"beside/{self.name}"

    @property
    def files(self) -> dict[str, bytes]:
        """Every file by its path in the suite."""
        if isinstance(self.content, bytes):
            return {self.path: self.content}
        return {f"{self.path}/{name}": data for name, data in self.content.items()}


KNOWN_SIGNER = Beside("signer.pem", SIGNER.public.to_pem())


@dataclass(frozen=True)
class Case:
    """``folder`` says which way it ends: ``good`` (exit code 0), ``bad`` (1), ``unproven`` (3).

    ``steps`` are outcomes by step; exactly those steps fail that are ``failed`` there. ``options``
    are those of ``torchnotary verify``: text for the nonce, else files. Files that these name lie
    ``beside`` them.
    """

    folder: str
    name: str
    why: str
    record: Draft | bytes
    steps: dict[str, str]
    options: dict[str, Any] = field(default_factory=dict)
    beside: tuple[Beside, ...] = ()

    @property
    def file(self) -> str:
        return f"{self.folder}/{self.name}.tnr"

    @property
    def files(self) -> dict[str, bytes]:
        """Every file of the case by its path in the suite."""
        record = self.record.tnr if isinstance(self.record, Draft) else self.record
        made = {self.file: record}
        for value in (*self._given().values(), *self.beside):
            if isinstance(value, Beside):
                made |= value.files
        return made

    @property
    def line(self) -> bytes:
        """The case in cases.jsonl."""
        given = self._given()
        return canonical(
            {
                "exit_code": {"good": 0, "bad": 1, "unproven": 3}[self.folder],
                "file": self.file,
                "options": {k: v.path if isinstance(v, Beside) else v for k, v in given.items()},
                "steps": self.steps,
                "type": "case/1",
                "why": self.why,
            }
        )

    def _given(self) -> dict[str, str | Beside]:
        given = {"signer": KNOWN_SIGNER, **self.options}
        return {k: self._beside(k, v) for k, v in given.items() if v is not None}

    def _beside(self, option: str, value: Any) -> str | Beside:
        """Content under a name of its own, but for what has one."""
        if option == "nonce" or isinstance(value, Beside):
            return value
        text, binary = _SUFFIXES[option]
        suffix = text if isinstance(value, str) else binary
        content = value.encode() if isinstance(value, str) else value
        return Beside(f"{self.name}{suffix}", content)


def good(name: str, why: str, record: Draft, passes: str = "", **options: Any) -> Case:
    """A record that is valid, and the steps (after a comma each) that must pass besides the first
    four."""
    steps = ["format", "signature", "signer", "log inclusion", *_listed(passes)]
    return Case("good", name, why, record, dict.fromkeys(steps, "passed"), options)


def bad(name: str, step: str, why: str, record: Draft | bytes, **options: Any) -> Case:
    """A record that is refused, and the steps that must do it, and no others."""
    return Case("bad", name, why, record, dict.fromkeys(_listed(step), "failed"), options)


def unproven(name: str, step: str, why: str, record: Draft | bytes, **options: Any) -> Case:
    """A record in which nothing is wrong, and the steps that do not say it is right either."""
    steps = dict.fromkeys(_listed(step), "not checked")
    return Case("unproven", name, why, record, steps, options)


def _listed(steps: str) -> list[str]:
    return [step.strip() for step in steps.split(",") if step]
