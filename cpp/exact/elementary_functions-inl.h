// The elementary functions on lanes of binary32: the correctly rounded result, whatever the
// argument. Included inside a namespace, as elementary_rules-inl.h is and after it. The including
// file has `Widened(d, x, rule)`, which applies a rule of binary64 lanes to the lanes of x and
// rounds.

// No include guard: every target includes this once more.

// Where x is a NaN, the NaN that results have; elsewhere y. Minima and maxima below may do with a
// NaN what they like.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V NanWhere(D d, V x, V y) {
  return hn::IfThenElse(hn::IsNaN(x), hn::Set(d, std::bit_cast<float>(kNan)), y);
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V Between(D d, V x, float low, float high) {
  return hn::Min(hn::Max(x, hn::Set(d, low)), hn::Set(d, high));
}

// y, but the result of the exception where x is one.
template <class D, size_t kCount, class V = hn::Vec<D>>
HWY_INLINE V Except(D d, V x, V y, const Exception (&exceptions)[kCount]) {
  for (const Exception& exception : exceptions) {
    y = hn::IfThenElse(x == hn::Set(d, std::bit_cast<float>(exception.argument)),
                       hn::Set(d, std::bit_cast<float>(exception.result)), y);
  }
  return y;
}
struct NoException {};
template <class D, class V = hn::Vec<D>>
HWY_INLINE V Except(D, V, V y, NoException) {
  return y;
}

#define TORCHNOTARY_RULE(Name)                \
  struct Name##Rule {                         \
    template <class D, class V = hn::Vec<D>>  \
    HWY_INLINE V operator()(D d, V x) const { \
      return Name##Lanes(d, x);               \
    }                                         \
  };

// Functions that are constant, to the last bit, outside an interval.
#define TORCHNOTARY_BETWEEN(Name, low, high, exceptions)            \
  TORCHNOTARY_RULE(Name)                                            \
  template <class D, class V = hn::Vec<D>>                          \
  HWY_INLINE V Name(D d, V x) {                                     \
    const V y = Widened(d, Between(d, x, low, high), Name##Rule()); \
    return NanWhere(d, x, Except(d, x, y, exceptions));             \
  }
TORCHNOTARY_BETWEEN(Exp, -104.0f, 89.0f, NoException())
TORCHNOTARY_BETWEEN(ExpM1, -104.0f, 89.0f, NoException())
TORCHNOTARY_BETWEEN(Exp2, -151.0f, 129.0f, kExp2Exceptions)
TORCHNOTARY_BETWEEN(Sinh, -91.0f, 91.0f, kSinhExceptions)
TORCHNOTARY_BETWEEN(Cosh, -91.0f, 91.0f, NoException())
TORCHNOTARY_BETWEEN(Tanh, -9.02f, 9.02f, NoException())
TORCHNOTARY_BETWEEN(Erf, -3.92f, 3.92f, NoException())
TORCHNOTARY_BETWEEN(Erfc, -4.0f, 10.06f, kErfcExceptions)
#undef TORCHNOTARY_BETWEEN

// y is right where pole < x < ∞.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V WithLogSpecials(D d, V x, V y, float pole) {
  const V low = hn::Set(d, pole), infinity = hn::Set(d, HUGE_VALF);
  if (HWY_LIKELY(hn::AllTrue(d, hn::And(low < x, x < infinity)))) return y;
  y = hn::IfThenElse(x == low, hn::Neg(infinity), y);
  y = hn::IfThenElse(x == infinity, infinity, y);
  return hn::IfThenElse(low <= x, y, hn::Set(d, std::bit_cast<float>(kNan)));
}

#define TORCHNOTARY_LOG(Name, pole, exceptions)                      \
  TORCHNOTARY_RULE(Name)                                             \
  template <class D, class V = hn::Vec<D>>                           \
  HWY_INLINE V Name(D d, V x) {                                      \
    const V y = Widened(d, x, Name##Rule());                         \
    return WithLogSpecials(d, x, Except(d, x, y, exceptions), pole); \
  }
TORCHNOTARY_LOG(Log, 0.0f, kLogExceptions)
TORCHNOTARY_LOG(Log2, 0.0f, NoException())
TORCHNOTARY_LOG(Log10, 0.0f, kLog10Exceptions)
TORCHNOTARY_LOG(Log1P, -1.0f, kLog1PExceptions)
#undef TORCHNOTARY_LOG

// Arguments too large for the vectors' reduction, and those without a result, go one by one.
template <class D, class V = hn::Vec<D>>
HWY_NOINLINE V WithLargeLanes(D d, V x, V y, float (*large)(float)) {
  constexpr size_t kLanes = hn::MaxLanes(D());
  alignas(64) float from[kLanes], to[kLanes];
  hn::Store(x, d, from);
  hn::Store(y, d, to);
  for (size_t i = 0; i < kLanes; ++i) {
    if (!(std::fabs(from[i]) <= kMaxReduced)) to[i] = large(from[i]);
  }
  return hn::Load(d, to);
}

#define TORCHNOTARY_PERIODIC(Name, large)                                            \
  TORCHNOTARY_RULE(Name)                                                             \
  template <class D, class V = hn::Vec<D>>                                           \
  HWY_INLINE V Name(D d, V x) {                                                      \
    const V y = Widened(d, x, Name##Rule());                                         \
    if (HWY_LIKELY(hn::AllTrue(d, hn::Abs(x) <= hn::Set(d, kMaxReduced)))) return y; \
    return WithLargeLanes(d, x, y, large);                                           \
  }
TORCHNOTARY_PERIODIC(Sin, large_sin)
TORCHNOTARY_PERIODIC(Cos, large_cos)
TORCHNOTARY_PERIODIC(Tan, large_tan)
#undef TORCHNOTARY_PERIODIC
#undef TORCHNOTARY_RULE
