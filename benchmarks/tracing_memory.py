"""Prints the peak memory, in bytes, of a process that records one call of so many forwards.

`python tracing_memory.py LEVEL FORWARDS`; an empty LEVEL records without a trace.
"""

from __future__ import annotations

import resource
import sys
import tempfile

import torch

import torchnotary
from models import minilm


def main(level: str, forwards: int) -> None:
    model, inputs = minilm()
    # Outputs of megabytes come from the system each time, whatever was freed before.
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        notary = torchnotary.Notary(folder, trace=level or False)

        @notary.record(model=model)
        def repeated(input_ids: torch.Tensor, attention_mask: torch.Tensor):
            for _ in range(forwards):
                result = model(input_ids, attention_mask)
            return result

        repeated(**inputs)
        notary.close()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
