// The elementary functions on lanes of binary64, included inside a namespace whose `hn` has the
// operations: Highway's of one target (elementary-inl.h), or those of one plain lane
// (elementary_portable.cpp).
//
// Each function takes binary32 values, widened, and gives a binary64 value so near the exact one
// that rounding it to binary32 gives the correctly rounded result, but for the arguments of
// elementary_exceptions.h: `make exhaustive` has checked all 2^32, so that no error is estimated
// here. What it has checked is these operations in this order with these coefficients; after any
// change it must run again.

// No include guard: every target includes this once more.

// c[0] + c[1] x + … + c[kCount - 1] x^(kCount - 1).
template <class D, size_t kCount, class V = hn::Vec<D>>
HWY_INLINE V Polynomial(D d, V x, const double (&c)[kCount]) {
  V sum = hn::Set(d, c[kCount - 1]);
  for (size_t i = kCount - 1; i-- > 0;) sum = hn::MulAdd(sum, x, hn::Set(d, c[i]));
  return sum;
}

// v × 2^k, where the low 12 bits of `k` hold the integer k; both v and the result are normal.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V TimesPowerOfTwo(D d, V v, V k) {
  const hn::RebindToUnsigned<D> du;
  return hn::BitCast(d, hn::BitCast(du, v) + hn::ShiftLeft<52>(hn::BitCast(du, k)));
}

// x + kRounding is the integer nearest x, in the low bits of its representation.
inline constexpr double kRounding = 0x1.8p52;

// x = k ln2 + r, |r| ≤ ln2 / 2. `shifted` has k in its low bits.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V ReduceByLn2(D d, V x, V& shifted) {
  shifted = hn::MulAdd(x, hn::Set(d, kLog2E), hn::Set(d, kRounding));
  const V k = shifted - hn::Set(d, kRounding);
  return hn::NegMulAdd(k, hn::Set(d, kLn2Low), hn::NegMulAdd(k, hn::Set(d, kLn2High), x));
}

// e^r - 1.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V SmallExpM1(D d, V r) {
  return hn::MulAdd(r * r, Polynomial(d, r, kExp), r);
}

// -104 ≤ x ≤ 91, as for the other functions of this family.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V ExpLanes(D d, V x) {
  V k;
  const V r = ReduceByLn2(d, x, k);
  return TimesPowerOfTwo(d, SmallExpM1(d, r) + hn::Set(d, 1.0), k);
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V ExpM1Lanes(D d, V x) {
  V k;
  const V r = ReduceByLn2(d, x, k);
  const V one = hn::Set(d, 1.0);
  const V scale = TimesPowerOfTwo(d, one, k);
  return hn::CopySign(hn::MulAdd(scale, SmallExpM1(d, r), scale - one), x);  // for -0
}

// -151 ≤ x ≤ 129.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V Exp2Lanes(D d, V x) {
  const V k = x + hn::Set(d, kRounding);
  const V r = (x - (k - hn::Set(d, kRounding))) * hn::Set(d, kLn2High);
  return TimesPowerOfTwo(d, SmallExpM1(d, r) + hn::Set(d, 1.0), k);
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V SinhLanes(D d, V x) {
  const V e = ExpM1Lanes(d, hn::Abs(x));
  const V size = (e + e / (e + hn::Set(d, 1.0))) * hn::Set(d, 0.5);
  return hn::CopySign(size, x);
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V CoshLanes(D d, V x) {
  const V e = ExpLanes(d, x);
  return (e + hn::Set(d, 1.0) / e) * hn::Set(d, 0.5);
}

// x = 2^exponent (1 + fraction), √½ ≤ 1 + fraction < √2, for positive normal x.
template <class D, class V = hn::Vec<D>>
HWY_INLINE void SplitExponent(D d, V x, V& exponent, V& fraction) {
  const hn::RebindToUnsigned<D> du;
  constexpr uint64_t kRootHalf = 0x3fe6a09e667f3bcdULL;
  constexpr uint64_t kBias = 1024, kTwo52 = 0x4330000000000000ULL;
  const auto bits = hn::BitCast(du, x) - hn::Set(du, kRootHalf);
  const auto biased = hn::ShiftRight<52>(bits + hn::Set(du, kBias << 52));
  exponent = hn::BitCast(d, biased | hn::Set(du, kTwo52)) - hn::Set(d, 0x1p52 + kBias);
  const auto mantissa = (bits & hn::Set(du, (1ULL << 52) - 1)) + hn::Set(du, kRootHalf);
  fraction = hn::BitCast(d, mantissa) - hn::Set(d, 1.0);
}

// log(1 + f), √½ ≤ 1 + f < √2: 2 atanh(f / (2 + f)).
template <class D, class V = hn::Vec<D>>
HWY_INLINE V SmallLog1P(D d, V f) {
  const V s = f / (f + hn::Set(d, 2.0));
  const V square = s * s;
  return hn::MulAdd(s * square, Polynomial(d, square, kAtanh), s + s);
}

// x > 0.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V LogLanes(D d, V x) {
  V exponent, fraction;
  SplitExponent(d, x, exponent, fraction);
  return hn::MulAdd(exponent, hn::Set(d, kLn2High), SmallLog1P(d, fraction));
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V Log2Lanes(D d, V x) {
  V exponent, fraction;
  SplitExponent(d, x, exponent, fraction);
  return hn::MulAdd(SmallLog1P(d, fraction), hn::Set(d, kLog2E), exponent);
}

// x^y to within 2^-41 of itself, for finite x > 0 and finite y; a power that rounds to ∞ or 0
// becomes another that does. log2(x) is within 2^-49 of itself, as tests/exhaustive/powers.cpp
// checks for all x; so is its product with y within 2^-48.9, or 151 × 2^-48.9 ln2 < 2^-42 of the
// power; the exponential adds 2^-48.
inline constexpr double kPowSlack = 0x1p-41;
template <class D, class V = hn::Vec<D>>
HWY_INLINE V PowLanes(D d, V x, V y) {
  const V exponent = Log2Lanes(d, x) * y;
  return Exp2Lanes(d, hn::Min(hn::Max(exponent, hn::Set(d, -151.0)), hn::Set(d, 129.0)));
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V Log10Lanes(D d, V x) {
  V exponent, fraction;
  SplitExponent(d, x, exponent, fraction);
  return hn::MulAdd(exponent, hn::Set(d, kLog10Two), SmallLog1P(d, fraction) * hn::Set(d, kLog10E));
}

// x > -1. Where 1 + x keeps the exponent 0, x itself is the fraction, not rounded by the sum.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V Log1PLanes(D d, V x) {
  V exponent, fraction;
  SplitExponent(d, x + hn::Set(d, 1.0), exponent, fraction);
  fraction = hn::IfThenElse(exponent == hn::Zero(d), x, fraction);
  const V log = hn::MulAdd(exponent, hn::Set(d, kLn2High), SmallLog1P(d, fraction));
  return hn::CopySign(log, x);  // for -0
}

// |x| ≤ 9.02, from where on tanh(x) is ±1.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V TanhLanes(D d, V x) {
  const V square = x * x;
  return x * Polynomial(d, square, kTanhP) / Polynomial(d, square, kTanhQ);
}

// |x| ≤ 3.92, from where on erf(x) is ±1.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V ErfLanes(D d, V x) {
  const V square = x * x;
  return x * Polynomial(d, square, kErfP) / Polynomial(d, square, kErfQ);
}

// -4 ≤ x ≤ 10.06.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V ErfcLanes(D d, V x) {
  const V size = hn::Abs(x);
  const V quotient = Polynomial(d, size, kErfcP) / Polynomial(d, size, kErfcQ);
  const V erfc = ExpLanes(d, hn::Neg(size * size)) * quotient;
  return hn::IfThenElse(x < hn::Zero(d), hn::Set(d, 2.0) - erfc, erfc);
}

// sin(r) with the sign changed where the lowest bit of `shifted` is set; |r| ≤ π/2.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V SinOfReduced(D d, V r, V shifted) {
  const hn::RebindToUnsigned<D> du;
  const V square = r * r;
  const V sine = hn::MulAdd(r * square, Polynomial(d, square, kSin), r);
  const V sign = hn::BitCast(d, hn::ShiftLeft<63>(hn::BitCast(du, shifted)));
  return hn::Xor(hn::CopySign(sine, r), sign);  // for -0
}

// x - k π.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V MinusPi(D d, V x, V k) {
  return hn::NegMulAdd(k, hn::Set(d, kPiLow), hn::NegMulAdd(k, hn::Set(d, kPiHigh), x));
}

// |x| ≤ kMaxReduced, as for cos and tan.
inline constexpr float kMaxReduced = 0x1p24f;

template <class D, class V = hn::Vec<D>>
HWY_INLINE V SinLanes(D d, V x) {
  const V shifted = hn::MulAdd(x, hn::Set(d, kInvPi), hn::Set(d, kRounding));
  return SinOfReduced(d, MinusPi(d, x, shifted - hn::Set(d, kRounding)), shifted);
}

// x = (k - ½) π + r, so that cos(x) = sin(r + k π).
template <class D, class V = hn::Vec<D>>
HWY_INLINE V CosLanes(D d, V x) {
  const V half = hn::Set(d, 0.5);
  const V shifted = hn::MulAdd(x, hn::Set(d, kInvPi), half) + hn::Set(d, kRounding);
  const V k = shifted - hn::Set(d, kRounding);
  return SinOfReduced(d, MinusPi(d, x, k - half), shifted);
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V TanLanes(D d, V x) {
  return SinLanes(d, x) / CosLanes(d, x);
}
