"""Prints the peak memory, in bytes, of a process that records one call of so many forwards.

`python tracing_memory.py LEVEL FORWARDS`; an empty LEVEL records without a trace. The peak is the
kernel's VmHWM: ru_maxrss would begin at what the process that started this one had.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

import torch

import torchnotary
from models import minilm


def main(level: str, forwards: int) -> None:
    model, inputs = minilm()
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        notary = torchnotary.Notary(folder, trace=level or False)

        @notary.record(model=model)
        def repeated(input_ids: torch.Tensor, attention_mask: torch.Tensor):
            for _ in range(forwards):
                result = model(input_ids, attention_mask)
            return result

        repeated(**inputs)
        notary.close()
    status = Path("/proc/self/status").read_text()
    print(1024 * int(re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)[1]))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
