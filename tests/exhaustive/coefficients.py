"""Writes cpp/exact/elementary_coefficients.h: python coefficients.py > elementary_coefficients.h

Every polynomial or quotient of two goes through the function at Chebyshev's nodes, which is within
a bit or two of the best. Needs mpmath, and `clang-format -i` afterwards. Nothing is proved here:
that the coefficients are good enough is what `make exhaustive` checks.
"""

import mpmath as m
from mpmath import mp, mpf

mp.prec = 320


def nodes(low, high, count, crowding=1):
    """Chebyshev's nodes; a crowding above 1 moves them towards `low`."""
    unit = [(1 + m.cos(m.pi * (2 * i + 1) / (2 * count))) / 2 for i in range(count)]
    return [low + (high - low) * u ** mpf(crowding) for u in unit]


def polynomial(f, low, high, degree):
    return quotient(f, nodes(low, high, degree + 1), degree, 0)[0]


def quotient(f, points, above, below, first=None):
    """P and Q of the given degrees with P / Q = f at the points, Q(0) = 1 and P(0) = first."""
    powers = list(range(first is not None, above + 1))
    n = len(powers) + below
    assert len(points) == n
    rows, values = m.matrix(n, n), m.matrix(n, 1)
    for i, x in enumerate(points):
        y = f(x)
        for j, power in enumerate(powers):
            rows[i, j] = x**power
        for j in range(below):
            rows[i, len(powers) + j] = -y * x ** (j + 1)
        values[i] = y - (first or 0)
    solved = list(m.lu_solve(rows, values))
    above_coefficients = ([] if first is None else [first]) + solved[: len(powers)]
    return above_coefficients, [mpf(1)] + solved[len(powers) :]


def of_square(f, at_zero):
    """f as a function of its argument's square."""
    return lambda u: f(m.sqrt(u)) if u > mpf(10) ** -30 else at_zero


def exp_rest(r):
    return (m.exp(r) - 1 - r) / r**2 if abs(r) > mpf(10) ** -30 else mpf(1) / 2


def print_array(name, coefficients, comment=None):
    if comment:
        print(f"// {comment}")
    print(f"inline constexpr double {name}[] = {{", end="")
    print(", ".join(float(c).hex() for c in coefficients), end="};\n")


def print_parts(name, value, parts=("High", "Low")):
    for part in parts:
        print(f"inline constexpr double {name}{part} = {float(value).hex()};")
        value -= mpf(float(value))


def print_polynomials():
    half = m.log(2) / 2
    print_array("kExp", polynomial(exp_rest, -half, half, 8), "(e^r - 1 - r) / r^2")
    atanh = of_square(lambda s: (2 * m.atanh(s) / s - 2) / s**2, mpf(2) / 3)
    widest = ((m.sqrt(2) - 1) / (m.sqrt(2) + 1)) ** 2
    print_array("kAtanh", polynomial(atanh, 0, widest, 5), "(2 atanh(s) / s - 2) / s^2, in s^2")
    sine = polynomial(
        of_square(lambda r: (m.sin(r) / r - 1) / r**2, mpf(-1) / 6), 0, m.pi**2 / 4, 7
    )
    # Moved so that the sine of 0x46199998, 2^-54 from a boundary, falls on the right side of it.
    sine[0] -= mpf(2) ** -52
    sine[1] += mpf(2) ** -53
    print_array("kSin", sine, "(sin(r) / r - 1) / r^2, in r^2")


def print_quotients():
    tanh = of_square(lambda x: m.tanh(x) / x, mpf(1))
    p, q = quotient(tanh, nodes(0, mpf("9.02") ** 2, 16), 8, 7)
    print_array("kTanhP", p, "tanh(x) / x = P(x^2) / Q(x^2)")
    print_array("kTanhQ", q)
    slope = 2 / m.sqrt(m.pi)
    erf = of_square(lambda x: m.erf(x) / x, slope)
    p, q = quotient(erf, nodes(0, mpf("3.92") ** 2, 18, 1.25), 9, 9, first=mpf(float(slope)))
    print_array("kErfP", p, "erf(x) / x = P(x^2) / Q(x^2)")
    print_array("kErfQ", q)
    p, q = quotient(lambda x: m.exp(x * x) * m.erfc(x), nodes(0, mpf("10.06"), 20, 1.6), 9, 10)
    print_array("kErfcP", p, "e^(x^2) erfc(x) = P(x) / Q(x)")
    print_array("kErfcQ", q)


print("""// Written by tests/exhaustive/coefficients.py: the constants of the elementary functions.
#pragma once

namespace torchnotary::exact {
""")
print_polynomials()
print_quotients()
print()
print_parts("kLn2", m.log(2))
print_parts("kPi", m.pi)
print_parts("kLog2E", 1 / m.log(2), [""])
print_parts("kInvPi", 1 / m.pi, [""])
print_parts("kLog10Two", m.log10(2), [""])
print_parts("kLog10E", 1 / m.log(10), [""])
print("\n}  // namespace torchnotary::exact")
