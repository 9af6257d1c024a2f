"""The quick-start notebook, run in a real kernel: every cell shows what its text says."""

from __future__ import annotations

import nbformat
import pytest
from nbclient import NotebookClient

from documents import ROOT

NOTEBOOK = ROOT / "notebooks" / "quickstart.ipynb"


@pytest.fixture(scope="module")
def shown() -> dict[str, str]:
    """What each cell printed or returned, by its tag."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
    return {
        cell.metadata.tags[0]: "".join(
            output.get("text", "") or output.get("data", {}).get("text/plain", "")
            for output in cell.outputs
        )
        for cell in notebook.cells
        if cell.cell_type == "code"
    }


def test_the_notebook_is_kept_without_outputs():
    for cell in nbformat.read(NOTEBOOK, as_version=4).cells:
        if cell.cell_type == "code":
            assert cell.outputs == [] and cell.execution_count is None


def test_check_pin_is_silent_for_the_pinned_model_and_names_a_changed_eps(shown):
    assert "PinMismatch" not in shown["pin"]
    assert "1.eps 1e-05 → 0.001" in shown["silent-change"]


def test_the_record_verifies_with_nothing_and_with_everything_at_hand(shown):
    assert shown["verify"].startswith("VALID") and "exit 0" in shown["verify"]
    assert _steps(shown["verify"], "not checked") >= {"weights", "structure", "inputs", "outputs"}
    assert _steps(shown["verify-all"], "yes") >= {"weights", "structure", "inputs", "outputs"}


def test_each_tampering_is_refused_at_its_step(shown):
    assert shown["tamper-file"].startswith("INVALID: format failed")
    assert shown["tamper-output"].startswith("INVALID: outputs failed")
    assert "row 2" in shown["tamper-output"]
    assert shown["tamper-weight"].startswith("INVALID: weights failed")
    assert "0.weight" in shown["tamper-weight"]


def test_the_call_runs_again_to_the_same_bits_and_a_changed_model_is_named(shown):
    assert "bitwise" in shown["reproduce"].lower()
    assert "diverged" in shown["diverge"].lower()
    assert "2: bias" in shown["diverge"]


def test_diff_names_the_weights_and_the_outputs(shown):
    differ = _steps(shown["diff"], "differ")
    assert differ >= {"weights", "outputs"}
    assert "inputs" in _steps(shown["diff"], "same")


def test_a_disclosed_copy_lets_outputs_be_checked(shown):
    assert "outcome='passed'" in shown["disclose"]


def test_a_restarted_kernel_goes_on_recording_in_the_same_folder(tmp_path, home):
    from jupyter_client.manager import start_new_kernel

    from torchnotary.log.reader import LogFolder

    cell = (
        "import torchnotary as tn\n"
        f"notary = tn.Notary({str(tmp_path / 'log')!r})\n"
        "notary.record(lambda x: x + 1)(1)\n"
        "notary.flush()"
    )
    manager, client = start_new_kernel(kernel_name="python3")
    try:
        for _ in range(2):
            reply = client.execute_interactive(cell, timeout=60)
            assert reply["content"]["status"] == "ok", reply["content"]
            manager.restart_kernel(now=True)
            client.wait_for_ready(timeout=60)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    folder = LogFolder(tmp_path / "log")
    assert len(list(folder.list())) == 2
    assert len(folder.logs()) == 1


def _steps(text: str, label: str) -> set[str]:
    """The names listed after a label, continuation lines included."""
    lines = iter(text.splitlines())
    found = next((line[len(label) :] for line in lines if line.startswith(label + " ")), "")
    for line in lines:
        if not line.startswith("        "):
            break
        found += line
    return {name.strip() for name in found.replace("(", ",").split(",")} | set(found.split())
