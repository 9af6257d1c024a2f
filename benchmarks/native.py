"""The part of the benchmarks that Python cannot time (benchmarks/cpp), through ctypes."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy

LIBRARY = Path(__file__).parents[1] / "build/cpp/benchmarks/cpp/libtn_bench.so"
# Vector instructions for 1 KiB of BLAKE3 in 16 lanes: 7 rounds of 8 quarter rounds of 14, and the
# turning of 16 messages' words into lanes.
_INSTRUCTIONS_A_KIB = 850


class Native:
    """Raises FileNotFoundError where `make bench` or `make test-cpp` has not built the library."""

    def __init__(self) -> None:
        if not LIBRARY.is_file():
            raise FileNotFoundError(f"no {LIBRARY}. Next: make bench")
        self._library = ctypes.CDLL(str(LIBRARY))
        for name in ("blake3_calls", "read_memory", "vector_additions"):
            getattr(self._library, name).restype = ctypes.c_uint64

    def blake3(self, data: numpy.ndarray, calls: int) -> int:
        """Nanoseconds of ``calls`` hashes of the array's bytes."""
        out = ctypes.c_uint8()
        return self._library.blake3_calls(
            ctypes.c_void_p(data.ctypes.data),
            ctypes.c_size_t(data.nbytes),
            ctypes.c_size_t(calls),
            ctypes.byref(out),
        )

    def read(self, data: numpy.ndarray, threads: int) -> int:
        """Nanoseconds to read the array's bytes once."""
        out = ctypes.c_uint64()
        return self._library.read_memory(
            ctypes.c_void_p(data.ctypes.data),
            ctypes.c_size_t(data.nbytes),
            ctypes.c_size_t(threads),
            ctypes.byref(out),
        )

    def instruction_bound(self, rounds: int = 100_000) -> float:
        """Bytes a nanosecond that BLAKE3 could hash if nothing but its instructions took time.

        Right for AVX-512; narrower vectors need more instructions (they have no rotation).
        """
        out, lanes = ctypes.c_uint32(), ctypes.c_size_t()
        spent = self._library.vector_additions(
            ctypes.c_size_t(rounds), ctypes.byref(out), ctypes.byref(lanes)
        )
        kib = 8 * rounds / _INSTRUCTIONS_A_KIB * lanes.value / 16
        return 1024 * kib / spent
