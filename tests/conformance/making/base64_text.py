"""Base64 that decoders read alike and no encoder writes, wherever a record has base64."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from .cases import Case, bad
from .draft import Draft
from .edits import Edit, at, last_word, line
from .genuine import LOGGED, PLAIN


def cases() -> Iterator[Case]:
    for place, step, record in (
        ("payload", "format", lambda e: PLAIN.but(envelope=at("payload", e))),
        ("signature", "format", lambda e: PLAIN.but(envelope=at("signatures", 0, "sig", e))),
        ("key", "format", lambda e: PLAIN.but(bundle=at("publicKey", e))),
        ("log-key", "format", lambda e: PLAIN.but(bundle=at("logPublicKey", e))),
        ("proof-hash", "log inclusion", lambda e: LOGGED.but(proof=line(2, e))),
        ("checkpoint-root", "log inclusion", lambda e: LOGGED.but(proof=line(9, e))),
        ("note-signature", "log inclusion", lambda e: LOGGED.but(proof=line(11, last_word(e)))),
    ):
        for name, why, edit in _tricks():
            if place == "payload" and name != "empty" or name not in ("line-end", "empty"):
                yield bad(f"base64-{place}-{name}", step, f"{place}: {why}", _first(record, edit))
        if place != "payload":  # whose base64 has no sign that differs
            yield bad(
                f"base64-{place}-urlsafe",
                step,
                f"{place}: the alphabet for URLs",
                _first(record, _urlsafe),
            )


def _first(record: Callable[[Edit], Draft], edit: Edit) -> Draft:
    """The first of a stream's records in which the edit changes anything: some base64 has no
    slack, or no sign that differs."""
    for number in range(64):
        draft = record(edit).but(record={"seq": number})
        with contextlib.suppress(ValueError):
            _ = draft.tnr
            return draft
    raise ValueError("there is no such record")


def _tricks() -> Iterator[tuple[str, str, Edit]]:
    yield "unpadded", "without its padding", _without_padding
    yield "padding-added", "with padding after the padding", lambda text: text + "===="
    yield "slack-bits", "bits in the last character that decoders ignore", _slack
    yield "space", "a space that decoders skip", lambda text: text[:4] + " " + text[4:]
    yield "line-end", "a line end that decoders skip", lambda text: text[:4] + "\n" + text[4:]
    yield "junk", "a character that lenient decoders skip", lambda text: text[:4] + "*" + text[4:]
    yield "empty", "no base64 at all", lambda text: ""


def _without_padding(text: str) -> str:
    return text.rstrip("=") if text.endswith("=") else text[:-1]


def _urlsafe(text: str) -> str:
    return text.replace("+", "-").replace("/", "_")


def _slack(text: str) -> str:
    """The last character before the padding, with a bit that stands for nothing."""
    if not text.endswith("="):
        raise ValueError("no bit of this base64 is slack")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    body = text.rstrip("=")
    return body[:-1] + alphabet[alphabet.index(body[-1]) ^ 1] + text[len(body) :]
