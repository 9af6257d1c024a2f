"""The commands open and check-opening: parts of tensors, made and checked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from ..verifier.verdict import INVALID
from .files import load_record, read_values
from .output import Json, UsageProblem, leave, note, result, with_next

Tensor = Annotated[str | None, typer.Option(help="The tensor's name.", metavar="NAME")]


def open_part(
    source: Annotated[
        str, typer.Argument(help="A weights file or folder, or a record.", metavar="FILE|RECORD")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The opening to write.")],
    tensor: Tensor = None,
    index: Annotated[
        str | None, typer.Option(help='What to open of a tensor: "3, :, ::2".', metavar="I")
    ] = None,
    tree: Annotated[
        str | None, typer.Option(help="Of a record: inputs or outputs.", metavar="TREE")
    ] = None,
    row: Annotated[int | None, typer.Option(help="Of a record: the row of axis 0.")] = None,
    path: Annotated[
        str | None, typer.Option(help="Of a record: the value's path, where there are several.")
    ] = None,
    values: Annotated[
        Path | None, typer.Option(help="Of a record: the recorded values, unless kept.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Open a part of a weight, or one row of a record's input or output."""
    if (tree is None) == (tensor is None):
        raise UsageProblem(
            "open needs --tensor for a weight or --tree for a record",
            'torchnotary open FILE --tensor NAME --index "3, :" -o x.opening',
        )
    if tree is not None:
        _refuse("--tree", {"--index": index})
        _open_row(source, output, tree, row, path, values, as_json)
        return
    _refuse("--tensor", {"--row": row, "--path": path, "--values": values})
    _open_tensor(source, output, tensor, index, as_json)


def _open_tensor(source: str, output: Path, name: str, index: str | None, as_json: bool) -> None:
    from ..indexing import index_text, parse_index
    from .tensors import open_tensor

    asked = parse_index(index if index is not None else "...")
    opening = open_tensor(Path(source), name, asked)
    opening.save(output)
    document = {
        "digest": opening.digest,
        "dtype": opening.dtype,
        "file": str(output),
        "index": index_text(opening.index),
        "selected_shape": list(opening.selected_shape),
        "shape": list(opening.shape),
        "tensor": name,
        "type": "opened/1",
    }
    note("it shows whole blocks of 1,024 bytes around what is opened")
    text = f"{opening.digest}  {opening.dtype}{list(opening.shape)}  {name}"
    result(f"{text}\nopened [{document['index']}]  {output}", document, as_json)


def _open_row(
    source: str,
    output: Path,
    tree: str,
    row: int | None,
    path: str | None,
    values: Path | None,
    as_json: bool,
) -> None:
    record = load_record(source)
    given = read_values(values, tree) if values is not None else None
    opening = record.open(tree, row, path, given)
    opening.save(output)
    document = {
        "file": str(output),
        "path": opening.path,
        "record": opening.record,
        "rows": [opening.rows.start, opening.rows.stop] if opening.rows else None,
        "tree": opening.tree,
        "type": "opened/1",
    }
    text = f"{opening.record[:16]}  {opening.tree}  {opening.path}"
    rows = f" rows {opening.rows.start}:{opening.rows.stop}" if opening.rows else ""
    result(f"{text}\nopened{rows}  {output}", document, as_json)


def check_opening(
    opening: Annotated[Path, typer.Argument(help="The opening.", metavar="OPENING")],
    commitment: Annotated[
        str | None, typer.Option(help="The tensor's digest that you hold.", metavar="HEX")
    ] = None,
    manifest: Annotated[
        Path | None, typer.Option(help="A weights.jsonl that you hold, or its folder.")
    ] = None,
    record: Annotated[
        str | None, typer.Option(help="The record: a .tnr file or an id.", metavar="RECORD")
    ] = None,
    tensor: Tensor = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Write the values: .safetensors or .npy."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check an opening against a commitment, a manifest or a record."""
    from ..verifier.steps import verify
    from . import opened

    sources = {"--commitment": commitment, "--manifest": manifest, "--record": record}
    named = [name for name, value in sources.items() if value is not None]
    if len(named) > 1:
        raise UsageProblem(f"{' and '.join(named)} were both given", f"give {named[0]} alone")
    opened.require_suffix(output)
    loaded = opened.load_opening(opening)
    found_record = load_record(record) if record is not None else None
    verdict = verify(found_record) if found_record is not None else None
    if verdict is not None and verdict.exit_code == INVALID:
        result(verdict, verdict.to_json(), as_json)
        leave(INVALID)
    if isinstance(loaded, opened.RowOpening):
        others = {"--commitment": commitment, "--manifest": manifest, "--tensor": tensor}
        _refuse("a row opening", others)
        found = opened.check_row(loaded, found_record, verdict)
    else:
        digest = _digest(commitment, manifest, found_record, tensor)
        found = opened.check_tensor(loaded, digest, verdict)
    _report(found, output, as_json)


def _digest(
    commitment: str | None, manifest: Path | None, record: Any, tensor: str | None
) -> str | None:
    """The digest to compare with, of whatever names one."""
    from . import opened

    if manifest is None and record is None:
        _refuse("a digest", {"--tensor": tensor})
        return _checked_digest(commitment)
    if tensor is None:
        raise UsageProblem("which of its tensors is opened was not said", "add --tensor NAME")
    if manifest is not None:
        return opened.digest_in_manifest(manifest, tensor)
    return opened.digest_in_record(record, tensor)


def _checked_digest(text: str | None) -> str | None:
    from ..statement.predicate import is_hex

    if text is None or is_hex(text.lower(), 32):
        return text and text.lower()
    raise UsageProblem(
        f"--commitment {text} is not 64 hexadecimal digits", "torchnotary commit FILE prints them"
    )


def _refuse(what: str, options: Mapping[str, Any]) -> None:
    """Raises UsageProblem where an option was given that says nothing beside ``what``."""
    for name, value in options.items():
        if value is not None:
            raise UsageProblem(f"{name} says nothing about {what}", f"leave {name} out")


def _report(found: Any, output: Path | None, as_json: bool) -> None:
    from .opened import write_values

    if output is not None and found.data is not None:
        write_values(output, found)
        note(f"written to {output}")
    elif output is not None:
        note(f"no tensor is proven: {output} is not written")
    result(with_next(found, found.next_steps), found.to_json(), as_json)
    leave(found.exit_code)
