"""The genuine records that the cases are variations of."""

from __future__ import annotations

from trace_reference import ReferenceTrace, operator, tensor

from .cases import Beside
from .draft import EVERYTHING, Draft
from .identities import OTHER_LOG, fixed
from .values import WEIGHTS, X, Y, leaves, safetensors, structure_lines, weights_lines

TRACE = ReferenceTrace(
    [
        operator(
            "aten::linear",
            "",
            {
                "bias": tensor(WEIGHTS["bias"], {"parameter": "bias"}),
                "input": tensor(X, {"input": "x"}),
                "weight": tensor(WEIGHTS["weight"], {"parameter": "weight"}),
            },
            [tensor(Y)],
        ),
        operator("aten::relu", None, {"self": tensor(Y, {"line": 0, "output": 0})}, [tensor(Y)]),
    ],
    fixed("secret of the trace"),
)

# No model, nothing disclosed.
CALL = Draft(inputs=leaves(x=X, k=5), outputs=leaves(output=Y))
# The same without arguments: the smallest record.
PLAIN = CALL.but(name="plain", inputs=())
# The same call in a log of 13 entries, others before and after it.
LOGGED = PLAIN.but(name="logged", index=5, size=13)
# Everything a record can have and disclose.
FULL = CALL.but(name="full", weights=WEIGHTS, trace=TRACE, disclose=EVERYTHING, index=2, size=3)
# A trace, and a model's files, each alone.
TRACED = FULL.but(name="traced", disclose=("trace",), weights=None, index=0, size=1)
MODELLED = TRACED.but(
    name="modelled", disclose=("weights", "structure"), weights=WEIGHTS, trace=None
)
# Inputs and outputs with their values.
OPEN = CALL.but(name="open", disclose=("inputs", "outputs", "evidence"))
# Inputs and outputs without their values.
DIGESTS = CALL.but(name="digests", disclose=("inputs", "outputs"))
# Another call by the same signer, in the same log and alone in another one.
OTHER = LOGGED.but(name="other call", index=7, inputs=leaves(x=Y, k=6), outputs=leaves(output=X))
ELSEWHERE = OTHER.but(log=OTHER_LOG, index=0, size=1)

MODEL = Beside("model.safetensors", safetensors(WEIGHTS))
MANIFEST = Beside(
    "manifest",
    {
        f"{name}.jsonl": b"".join(line + b"\n" for line in lines)
        for name, lines in (
            ("weights", weights_lines(WEIGHTS)),
            ("structure", structure_lines(WEIGHTS)),
        )
    },
)
INPUTS = Beside("inputs.safetensors", safetensors({"x": X}))
OUTPUTS = Beside("outputs.safetensors", safetensors({"output": Y}))
