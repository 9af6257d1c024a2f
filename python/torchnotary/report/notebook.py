"""A record as a small card of HTML, self-contained and escaped: its text is other people's."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from ..statement.record import Record
from ..verifier.verdict import Claims, printable, short_root

_CARD = (
    "border:1px solid currentColor;border-radius:6px;padding:.6em .9em;display:inline-block;"
    "font-family:sans-serif;font-size:90%;line-height:1.5"
)
_CODE = "font-family:monospace"


def html(record: Record) -> str:
    """The card of a record: what its signer claims and how to check it.

    Waits until a record in the making is durable. Nothing on the card has been verified.
    """
    predicate = record.predicate
    claims = Claims.of(predicate)
    rows = [
        ("record", _code(record.id[:16])),
        ("call", _text(str(claims).partition(",")[0])),
        ("model", _model(claims, predicate.get("model"))),
        ("time", _text(f"{claims.time} (signer's clock)")),
        ("signer", _code(record.public_key.short)),
    ]
    labels = predicate["record"]["labels"]
    if labels:
        rows.append(("labels", _text(", ".join(f"{k}={v}" for k, v in sorted(labels.items())))))
    cells = "".join(
        f'<tr><td style="text-align:left;opacity:.7">{name}</td>'
        f'<td style="text-align:left">{value}</td></tr>'
        for name, value in rows
    )
    return (
        f'<div style="{_CARD}"><b>torchnotary record</b><table>{cells}</table>'
        f"<div>not verified here: {_code('record.save(&quot;run.tnr&quot;)', escaped=True)}, then "
        f"{_code('torchnotary verify run.tnr')}</div></div>"
    )


def _model(claims: Claims, model: Any) -> str:
    if not isinstance(model, Mapping):
        return "none"
    text = _text(claims.model or "model")
    for part in ("weights", "structure"):
        tree = model.get(part)
        if tree:
            text += f" · {part} {_code(short_root(tree['root']))}"
    return text


def _text(value: str) -> str:
    return escape(printable(value))


def _code(value: str, *, escaped: bool = False) -> str:
    return f'<span style="{_CODE}">{value if escaped else _text(value)}</span>'
