// The expressions of docs/exact-profile.md, section 6, over vectors x, y, z and scalars s.
//
// Included inside the namespace of a CPU path, which says what `hn` is: Highway for one of its
// targets, or portable_lanes.h. Operators stand as in the page: nothing is fused, since GCC is told
// so.

// Makes vectors of one number: c(0.5f).
template <class D>
struct Constant {
  D d;
  HWY_INLINE auto operator()(float value) const { return hn::Set(d, value); }
};

template <class D, class V>
HWY_INLINE V Nan(D d) {
  return hn::Set(d, std::bit_cast<float>(kNan));
}

template <class D, class V>
HWY_INLINE V Canonical(D d, V v) {
  return hn::IfThenElse(v == v, v, Nan<D, V>(d));
}

// Section 1: a NaN wins (their sum is one), and of equal operands, which differ in a zero's sign at
// most, the one that is positive if either is. (Not Max and Min: argument-dependent lookup would
// find Highway's.)
template <class V>
HWY_INLINE V Larger(V a, V b) {
  return hn::IfThenElse(a > b, a,
                        hn::IfThenElse(b > a, b, hn::IfThenElse(a == b, hn::And(a, b), a + b)));
}

template <class V>
HWY_INLINE V Smaller(V a, V b) {
  return hn::IfThenElse(a < b, a,
                        hn::IfThenElse(b < a, b, hn::IfThenElse(a == b, hn::Or(a, b), a + b)));
}

template <class D, class V>
HWY_INLINE V ReluSix(D d, V x) {
  return Smaller(Larger(x, hn::Zero(d)), hn::Set(d, 6.0f));
}

template <class D, class M>
HWY_INLINE auto Truth(D d, M mask) {
  return hn::IfThenElse(mask, hn::Set(d, 1.0f), hn::Zero(d));
}

template <class D, class V>
HWY_INLINE auto IsTrue(D d, V x) {
  return hn::Not(x == hn::Zero(d));
}

// pow(x, 1/2): +0 for −0 and +∞ for −∞, unlike √.
template <class D, class V>
HWY_INLINE V Root(D d, V x) {
  const V infinity = hn::Set(d, std::numeric_limits<float>::infinity());
  return hn::IfThenElse(x == hn::Neg(infinity), infinity, hn::Sqrt(x + hn::Zero(d)));
}

// scalars: β and the threshold.
template <class D, class V>
HWY_INLINE V Softplus(D d, V x, const float* scalars) {
  const V beta = hn::Set(d, scalars[0]), z = x * beta;
  return hn::IfThenElse(z > hn::Set(d, scalars[1]), x, Log1P(d, Exp(d, z)) / beta);
}

// The constants are those of section 6: fl(0.044715) and fl(√(2/π)).
template <class D, class V>
HWY_INLINE V GeluTanh(D d, V x) {
  const V cubic = hn::Set(d, std::bit_cast<float>(0x3d372713u));
  const V scale = hn::Set(d, std::bit_cast<float>(0x3f4c422au));
  const V u = x + (cubic * ((x * x) * x));
  return (x * hn::Set(d, 0.5f)) * (hn::Set(d, 1.0f) + Tanh(d, scale * u));
}

template <class D, class V>
HWY_INLINE V NanToNum(D d, V x, const float* scalars) {
  const V infinity = hn::Set(d, std::numeric_limits<float>::infinity());
  const V number =
      hn::IfThenElse(x == infinity, hn::Set(d, scalars[1]),
                     hn::IfThenElse(x == hn::Neg(infinity), hn::Set(d, scalars[2]), x));
  return hn::IfThenElse(x == x, number, hn::Set(d, scalars[0]));
}

template <class D, class V>
HWY_INLINE V SoftShrink(D d, V x, V size) {
  return hn::IfThenElse(x > size, x - size,
                        hn::IfThenElse(x < hn::Neg(size), x + size, x * hn::Zero(d)));
}

// A function of one lane after the other.
template <class D, class V>
HWY_INLINE V OneByOne(D d, V x, V y, float (*function)(float, float)) {
  float xs[kFloatLanes], ys[kFloatLanes];
  hn::StoreU(x, d, xs);
  hn::StoreU(y, d, ys);
  for (size_t i = 0; i < kFloatLanes; ++i) xs[i] = function(xs[i], ys[i]);
  return hn::LoadU(d, xs);
}

#define TORCHNOTARY_OP(name, expression)                                                     \
  struct name##_op {                                                                         \
    template <class D, class V>                                                              \
    static HWY_INLINE V Apply(D d, [[maybe_unused]] V x, [[maybe_unused]] V y,               \
                              [[maybe_unused]] V z, [[maybe_unused]] const float* scalars) { \
      [[maybe_unused]] const Constant<D> c{d};                                               \
      return expression;                                                                     \
    }                                                                                        \
  };

TORCHNOTARY_OP(identity, x)
TORCHNOTARY_OP(add, x + (c(scalars[0]) * y))  // times 1 is exact
TORCHNOTARY_OP(sub, x - (c(scalars[0]) * y))
TORCHNOTARY_OP(mul, x* y)
TORCHNOTARY_OP(div, x / y)
TORCHNOTARY_OP(trunc_divide, OneByOne(d, x, y, &divided_by_truncation))
TORCHNOTARY_OP(floor_divide, OneByOne(d, x, y, &divided_by_floor))
TORCHNOTARY_OP(fmod, OneByOne(d, x, y, &remainder_by_truncation))
TORCHNOTARY_OP(remainder, OneByOne(d, x, y, &remainder_by_floor))
TORCHNOTARY_OP(addcmul, x + (c(scalars[0]) * (y * z)))
TORCHNOTARY_OP(addcdiv, x + (c(scalars[0]) * (y / z)))
TORCHNOTARY_OP(lerp, x + (z * (y - x)))
TORCHNOTARY_OP(sqrt, hn::Sqrt(x))
TORCHNOTARY_OP(reciprocal, c(1) / x)
TORCHNOTARY_OP(rsqrt, c(1) / hn::Sqrt(x))
TORCHNOTARY_OP(square, x* x)
TORCHNOTARY_OP(one, c(1))
TORCHNOTARY_OP(cube, (x * x) * x)
TORCHNOTARY_OP(root, Root(d, x))
TORCHNOTARY_OP(reciprocal_root, c(1) / Root(d, x))
TORCHNOTARY_OP(reciprocal_square, c(1) / (x * x))
TORCHNOTARY_OP(maximum, Larger(x, y))
TORCHNOTARY_OP(minimum, Smaller(x, y))
TORCHNOTARY_OP(fmax, hn::IfThenElse(x == x, hn::IfThenElse(y == y, Larger(x, y), x), y))
TORCHNOTARY_OP(fmin, hn::IfThenElse(x == x, hn::IfThenElse(y == y, Smaller(x, y), x), y))
TORCHNOTARY_OP(clamp, Smaller(Larger(x, y), z))
TORCHNOTARY_OP(relu, Larger(x, c(0)))
TORCHNOTARY_OP(relu6, ReluSix(d, x))
TORCHNOTARY_OP(hardtanh, Smaller(Larger(x, c(scalars[0])), c(scalars[1])))
TORCHNOTARY_OP(leaky_relu, hn::IfThenElse(x > c(0), x, x* c(scalars[0])))
TORCHNOTARY_OP(hardsigmoid, ReluSix(d, x + c(3)) / c(6))
TORCHNOTARY_OP(hardswish, (x * ReluSix(d, x + c(3))) / c(6))
TORCHNOTARY_OP(softsign, x / (c(1) + hn::Abs(x)))
TORCHNOTARY_OP(threshold, hn::IfThenElse(x <= c(scalars[0]), c(scalars[1]), x))
TORCHNOTARY_OP(hardshrink,
               hn::IfThenElse(hn::And(x >= c(-scalars[0]), x <= c(scalars[0])), c(0), x))
TORCHNOTARY_OP(softshrink, SoftShrink(d, x, c(scalars[0])))
TORCHNOTARY_OP(nan_to_num, NanToNum(d, x, scalars))
TORCHNOTARY_OP(floor, hn::Floor(x))
TORCHNOTARY_OP(ceil, hn::Ceil(x))
TORCHNOTARY_OP(round, hn::Round(x))
TORCHNOTARY_OP(trunc, hn::Trunc(x))
TORCHNOTARY_OP(frac, x - hn::Trunc(x))
TORCHNOTARY_OP(sign,
               hn::IfThenElse(x > c(0), c(1), hn::IfThenElse(x < c(0), c(-1), x* c(0) + c(0))))
TORCHNOTARY_OP(eq, Truth(d, x == y))
TORCHNOTARY_OP(ne, Truth(d, hn::Not(x == y)))
TORCHNOTARY_OP(lt, Truth(d, x < y))
TORCHNOTARY_OP(le, Truth(d, x <= y))
TORCHNOTARY_OP(gt, Truth(d, x > y))
TORCHNOTARY_OP(ge, Truth(d, x >= y))
TORCHNOTARY_OP(isnan, Truth(d, hn::Not(x == x)))
TORCHNOTARY_OP(isinf, Truth(d, hn::Abs(x) == c(std::numeric_limits<float>::infinity())))
TORCHNOTARY_OP(isfinite, Truth(d, hn::Abs(x) < c(std::numeric_limits<float>::infinity())))
TORCHNOTARY_OP(logical_not, Truth(d, x == c(0)))
TORCHNOTARY_OP(logical_and, Truth(d, hn::And(IsTrue(d, x), IsTrue(d, y))))
TORCHNOTARY_OP(logical_or, Truth(d, hn::Or(IsTrue(d, x), IsTrue(d, y))))
TORCHNOTARY_OP(logical_xor, Truth(d, hn::Xor(IsTrue(d, x), IsTrue(d, y))))

#define TORCHNOTARY_FUNCTION(name, Name) TORCHNOTARY_OP(name, Name(d, x))
TORCHNOTARY_ELEMENTARY(TORCHNOTARY_FUNCTION)
#undef TORCHNOTARY_FUNCTION
TORCHNOTARY_OP(elu, hn::IfThenElse(x > c(0), x* c(scalars[0]),
                                   ExpM1(d, x* c(scalars[1])) * c(scalars[2])))
TORCHNOTARY_OP(sigmoid, c(1) / (c(1) + Exp(d, hn::Neg(x))))
TORCHNOTARY_OP(silu, x / (c(1) + Exp(d, hn::Neg(x))))
TORCHNOTARY_OP(log_sigmoid, Smaller(x, c(0)) - Log1P(d, Exp(d, hn::Neg(hn::Abs(x)))))
TORCHNOTARY_OP(softplus, Softplus(d, x, scalars))
TORCHNOTARY_OP(mish, x* Tanh(d, Log1P(d, Exp(d, x))))
TORCHNOTARY_OP(gelu, (x * c(0.5f)) * (c(1) + Erf(d, x* c(0x1.6a09e6p-1f))))
TORCHNOTARY_OP(gelu_tanh, GeluTanh(d, x))
#undef TORCHNOTARY_OP

template <class Op, size_t kInputs, class D>
HWY_INLINE void ApplyAt(D d, const float* x, const float* y, const float* z, float* out,
                        const float* scalars) {
  const auto first = hn::LoadU(d, x);
  const auto second = kInputs > 1 ? hn::LoadU(d, y) : first;
  const auto third = kInputs > 2 ? hn::LoadU(d, z) : first;
  hn::StoreU(Canonical(d, Op::Apply(d, first, second, third, scalars)), d, out);
}

// The last, partial vector goes through memory of its own.
template <class Op, size_t kInputs>
void Arithmetic(const float* const inputs[3], float* out, size_t n, const float* scalars) {
  const FloatTag d;
  const float *const x = inputs[0], *const y = inputs[1], *const z = inputs[2];
  size_t i = 0;
  for (; i + kFloatLanes <= n; i += kFloatLanes) {
    ApplyAt<Op, kInputs>(d, x + i, kInputs > 1 ? y + i : x, kInputs > 2 ? z + i : x, out + i,
                         scalars);
  }
  if (i == n) return;
  float tail[4][kFloatLanes] = {};
  for (size_t k = 0; k < kInputs; ++k) std::copy(inputs[k] + i, inputs[k] + n, tail[k]);
  ApplyAt<Op, kInputs>(d, tail[0], tail[1], tail[2], tail[3], scalars);
  std::copy_n(tail[3], n - i, out + i);
}

#define TORCHNOTARY_KERNEL(name, inputs) &Arithmetic<name##_op, inputs>,
#define TORCHNOTARY_FUNCTION_KERNEL(name, Name) &Arithmetic<name##_op, 1>,
// By ElementOp.
constexpr ArithmeticKernel kArithmetic[kArithmeticOps] = {TORCHNOTARY_ELEMENT_OPS(
    TORCHNOTARY_KERNEL) TORCHNOTARY_ELEMENTARY(TORCHNOTARY_FUNCTION_KERNEL)};
#undef TORCHNOTARY_FUNCTION_KERNEL
#undef TORCHNOTARY_KERNEL
