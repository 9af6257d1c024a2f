"""Reading what other programs wrote: JSON in any layout, base64 in either alphabet.

Looser than a record in its spelling alone. What two readers could take for different things (a
member given twice, alphabets mixed, bits behind the last byte) is refused here too.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ..errors import MalformedRecord
from ..statement.envelope import decode_base64
from ..statement.lines import brief

_URL_SAFE = str.maketrans("-_", "+/")


def parse_json(data: bytes, what: str) -> Any:
    """The value of one JSON document in UTF-8; MalformedRecord for a member given twice, for NaN
    and infinities, and for what is not JSON."""
    try:
        return json.loads(
            data.decode("utf-8"), object_pairs_hook=_members, parse_constant=_no_number
        )
    except (ValueError, RecursionError) as error:
        raise MalformedRecord(f"{what} is not JSON: {brief(str(error))}") from None


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object has a member twice")
    return found


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def decode_either_base64(text: Any, what: str, limit: int) -> bytes:
    """At most ``limit`` bytes from padded base64, in the standard or in the URL-safe alphabet
    (RFC 4648 §4, §5), as DSSE leaves it to the signer."""
    if type(text) is str and ("-" in text or "_" in text):
        if "+" in text or "/" in text:
            raise MalformedRecord(f"{what} mixes the two alphabets of base64")
        text = text.translate(_URL_SAFE)
    return decode_base64(text, what, limit)


def member(value: Any, name: str, kind: type, what: str) -> Any:
    """``value[name]``, which must be a ``kind``; other members are nobody's business here."""
    if type(value) is not dict:
        raise MalformedRecord(f"{what} is not a JSON object", actual=type(value).__name__)
    if name not in value:
        raise MalformedRecord(f"{what} has no {name}", actual=brief(sorted(value)))
    if type(value[name]) is not kind:
        raise MalformedRecord(
            f"{name} of {what} is of another type",
            expected=kind.__name__,
            actual=type(value[name]).__name__,
        )
    return value[name]


def require_known(value: dict[str, Any], names: Sequence[str], what: str) -> None:
    """MalformedRecord where ``value`` has a member that is none of ``names``: of a Protobuf message
    in JSON, whose readers refuse what they do not know."""
    if unknown := sorted(value.keys() - set(names)):
        raise MalformedRecord(f"{what} has unknown members", expected=names, actual=brief(unknown))


def the_one(values: list[Any], what: str) -> Any:
    """The only element of a list; MalformedRecord where there are none or several."""
    if len(values) != 1:
        raise MalformedRecord(f"there must be one {what}", expected=1, actual=len(values))
    return values[0]
