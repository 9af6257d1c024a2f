// The element-by-element operators against docs/exact-profile.md, section 6, sentence by sentence
// and element by element, on every CPU path.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <string>

#include "exact/elementary.h"
#include "exact/elementary_pow.h"
#include "exact/elementwise.h"
#include "exact/environment.h"
#include "exact_support.h"
#include "hashing/errors.h"
#include "support.h"

namespace torchnotary::exact {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

float larger(float a, float b) {
  if (a != a || b != b) return NAN;
  if (a == 0 && b == 0) return std::signbit(a) ? b : a;
  return a > b ? a : b;
}
float smaller(float a, float b) { return -larger(-a, -b); }
float six(float x) { return smaller(larger(x, 0.0f), 6.0f); }
float root(float x) { return x == -kInfinity ? kInfinity : std::sqrt(x + 0.0f); }

// An elementary function of the portable path, whose tests are elsewhere.
float f(ElementaryFunction ElementaryKernels::*function, float x) {
  float y;
  (kElementaryPortable.*function)(&x, &y, 1);
  return y;
}

// As the integral part of a quotient is found at school, bit by bit: `up` is the next integer where
// something is left.
float slow_quotient(float x, float y, bool up) {
  int shift = 0;
  long double left = std::fabs(x), divisor = std::fabs(y);
  for (; divisor <= left; ++shift) divisor *= 2;
  std::string bits;
  for (; shift > 0; --shift) {
    divisor /= 2;
    bits += left >= divisor ? '1' : '0';
    if (left >= divisor) left -= divisor;
  }
  bits = "0" + bits;
  if (up && left != 0) {
    std::size_t last = bits.size() - 1;
    for (; bits[last] == '1'; --last) bits[last] = '0';
    bits[last] = '1';
  }
  // Rounded once: 60 bits, and whether there are others.
  const std::size_t first = std::min(bits.find('1'), bits.size() - 1);
  const std::size_t kept = std::min<std::size_t>(60, bits.size() - first);
  std::uint64_t whole = std::stoull(bits.substr(first, kept), nullptr, 2);
  if (bits.find('1', first + kept) != std::string::npos) whole |= 1;
  return std::ldexp(static_cast<float>(whole), static_cast<int>(bits.size() - first - kept));
}

float slow_division(float x, float y, bool floors) {
  const float quotient = x / y;
  if (std::isnan(quotient) || x == 0 || y == 0) return quotient;
  const bool negative = std::signbit(quotient);
  if (std::isinf(x)) return floors ? NAN : quotient;
  if (std::isinf(y)) return floors && negative ? -1.0f : quotient;
  return std::copysign(slow_quotient(x, y, floors && negative), quotient);
}

// x less multiples of y, the greatest first.
float slow_fmod(float x, float y) {
  if (!std::isfinite(x) || std::isnan(y) || y == 0) return NAN;
  if (std::isinf(y)) return x;
  long double left = std::fabs(x);
  for (int n = 300; n >= 0; --n) {
    const long double multiple = std::ldexp(static_cast<long double>(std::fabs(y)), n);
    if (left >= multiple) left -= multiple;
  }
  return std::copysign(static_cast<float>(left), x);
}

float expected(ElementOp op, float x, float y, float z, const Scalars& s) {
  switch (op) {
    case ElementOp::identity:
      return x;
    case ElementOp::add:
      return s[0] == 1 ? x + y : x + (s[0] * y);
    case ElementOp::sub:
      return s[0] == 1 ? x - y : x - (s[0] * y);
    case ElementOp::mul:
      return x * y;
    case ElementOp::div:
      return x / y;
    case ElementOp::trunc_divide:
      return slow_division(x, y, false);
    case ElementOp::floor_divide:
      return slow_division(x, y, true);
    case ElementOp::fmod:
      return slow_fmod(x, y);
    case ElementOp::remainder: {
      const float left = slow_fmod(x, y);
      return left != 0 && (left < 0) != (y < 0) ? left + y : left;
    }
    case ElementOp::threshold:
      return x <= s[0] ? s[1] : x;
    case ElementOp::hardshrink:
      return x >= -s[0] && x <= s[0] ? 0 : x;
    case ElementOp::softshrink:
      return x > s[0] ? x - s[0] : x < -s[0] ? x + s[0] : x * 0.0f;
    case ElementOp::nan_to_num:
      return std::isnan(x) ? s[0] : x == kInfinity ? s[1] : x == -kInfinity ? s[2] : x;
    case ElementOp::addcmul:
      return s[0] == 1 ? x + (y * z) : x + (s[0] * (y * z));
    case ElementOp::addcdiv:
      return s[0] == 1 ? x + (y / z) : x + (s[0] * (y / z));
    case ElementOp::lerp:
      return x + (z * (y - x));
    case ElementOp::sqrt:
      return std::sqrt(x);
    case ElementOp::reciprocal:
      return 1 / x;
    case ElementOp::rsqrt:
      return 1 / std::sqrt(x);
    case ElementOp::square:
      return x * x;
    case ElementOp::one:
      return 1;
    case ElementOp::cube:
      return (x * x) * x;
    case ElementOp::root:
      return root(x);
    case ElementOp::reciprocal_root:
      return 1 / root(x);
    case ElementOp::reciprocal_square:
      return 1 / (x * x);
    case ElementOp::maximum:
      return larger(x, y);
    case ElementOp::minimum:
      return smaller(x, y);
    case ElementOp::fmax:
      return std::isnan(x) ? y : std::isnan(y) ? x : larger(x, y);
    case ElementOp::fmin:
      return std::isnan(x) ? y : std::isnan(y) ? x : smaller(x, y);
    case ElementOp::clamp:
      return smaller(larger(x, y), z);
    case ElementOp::relu:
      return larger(x, 0.0f);
    case ElementOp::relu6:
      return six(x);
    case ElementOp::hardtanh:
      return smaller(larger(x, s[0]), s[1]);
    case ElementOp::leaky_relu:
      return std::isnan(x) ? NAN : x > 0 ? x : x * s[0];
    case ElementOp::hardsigmoid:
      return six(x + 3) / 6;
    case ElementOp::hardswish:
      return (x * six(x + 3)) / 6;
    case ElementOp::softsign:
      return x / (1 + std::fabs(x));
    case ElementOp::floor:
      return std::floor(x);
    case ElementOp::ceil:
      return std::ceil(x);
    case ElementOp::round:
      return std::nearbyint(x);
    case ElementOp::trunc:
      return std::trunc(x);
    case ElementOp::frac:
      return x - std::trunc(x);
    case ElementOp::sign:
      return std::isnan(x) ? NAN : x > 0 ? 1.0f : x < 0 ? -1.0f : 0.0f;
    case ElementOp::eq:
      return x == y;
    case ElementOp::ne:
      return x != y;
    case ElementOp::lt:
      return x < y;
    case ElementOp::le:
      return x <= y;
    case ElementOp::gt:
      return x > y;
    case ElementOp::ge:
      return x >= y;
    case ElementOp::isnan:
      return std::isnan(x);
    case ElementOp::isinf:
      return std::isinf(x);
    case ElementOp::isfinite:
      return std::isfinite(x);
    case ElementOp::logical_not:
      return !(x != 0);
    case ElementOp::logical_and:
      return x != 0 && y != 0;
    case ElementOp::logical_or:
      return x != 0 || y != 0;
    case ElementOp::logical_xor:
      return (x != 0) != (y != 0);
    case ElementOp::elu:
      return x > 0 ? x * s[0] : f(&ElementaryKernels::expm1, x * s[1]) * s[2];
    case ElementOp::sigmoid:
      return 1 / (1 + f(&ElementaryKernels::exp, -x));
    case ElementOp::silu:
      return x / (1 + f(&ElementaryKernels::exp, -x));
    case ElementOp::log_sigmoid:
      return smaller(x, 0) -
             f(&ElementaryKernels::log1p, f(&ElementaryKernels::exp, -std::fabs(x)));
    case ElementOp::softplus: {
      const float z = x * s[0];
      const float log1p = f(&ElementaryKernels::log1p, f(&ElementaryKernels::exp, z));
      return z > s[1] ? x : log1p / s[0];
    }
    case ElementOp::mish: {
      const float log1p = f(&ElementaryKernels::log1p, f(&ElementaryKernels::exp, x));
      return x * f(&ElementaryKernels::tanh, log1p);
    }
    case ElementOp::gelu:
      return (x * 0.5f) * (1 + f(&ElementaryKernels::erf, x * std::bit_cast<float>(0x3f3504f3u)));
    case ElementOp::gelu_tanh: {
      const float u = x + (std::bit_cast<float>(0x3d372713u) * ((x * x) * x));
      const float inner = std::bit_cast<float>(0x3f4c422au) * u;
      return (x * 0.5f) * (1 + f(&ElementaryKernels::tanh, inner));
    }
#define TORCHNOTARY_CASE(name, Name) \
  case ElementOp::name:              \
    return f(&ElementaryKernels::name, x);
      TORCHNOTARY_ELEMENTARY(TORCHNOTARY_CASE)
#undef TORCHNOTARY_CASE
    case ElementOp::pow:
      return pow_one(x, y);
    default:
      ADD_FAILURE() << "no rule";
      return 0;
  }
}

constexpr const char* kNames[] = {
#define OP(name, rest) #name,
    TORCHNOTARY_ELEMENT_OPS(OP) TORCHNOTARY_ELEMENTARY(OP) TORCHNOTARY_MOVING_OPS(OP)
#undef OP
        "pow",
};

constexpr ElementOp kFirstMoving = ElementOp::neg;

std::vector<ElementOp> arithmetic_ops() {
  std::vector<ElementOp> ops;
  for (int op = 0; op < static_cast<int>(kFirstMoving); ++op) {
    ops.push_back(static_cast<ElementOp>(op));
  }
  ops.push_back(ElementOp::pow);
  return ops;
}

std::vector<Input> inputs_of(const std::vector<TestTensor>& tensors, ElementOp op) {
  std::vector<Input> inputs;
  for (std::size_t k = 0; k < input_count(op); ++k) inputs.push_back(tensors[k].input());
  return inputs;
}

// Runs the operator on as many of three tensors as it takes, and compares every element.
void check(ElementOp op, const std::vector<TestTensor>& tensors, const Scalars& scalars,
           TestTensor out, std::size_t threads) {
  SCOPED_TRACE(std::string(kNames[static_cast<int>(op)]) + ", threads " + std::to_string(threads));
  elementwise(op, inputs_of(tensors, op), scalars, out.output(), Threads(threads));
  const FloatEnvironment environment;
  for (std::size_t i = 0; i < elements_of(out.sizes); ++i) {
    float operands[3] = {};
    for (std::size_t k = 0; k < 3; ++k) {
      operands[k] = tensors[k].value(tensors[k].place(out.sizes, i));
    }
    const float value = expected(op, operands[0], operands[1], operands[2], scalars);
    ASSERT_EQ(bits_at(out, out.place(out.sizes, i)), stored_bits(value, out.element))
        << "element " << i << ": " << operands[0] << ", " << operands[1] << ", " << operands[2];
  }
}

std::vector<TestTensor> three(Element x, Element y, Element z, const Shape& shape, unsigned seed) {
  std::vector<TestTensor> tensors = {{x, shape}, {y, shape}, {z, shape}};
  HardNumbers numbers(seed);
  for (TestTensor& tensor : tensors) numbers.fill(tensor);
  return tensors;
}

class Elementwise : public EveryCpuPath {};

TEST_P(Elementwise, EveryOperatorFollowsItsRuleOnContiguousTensorsOfAnyLength) {
  for (const ElementOp op : arithmetic_ops()) {
    for (const std::int64_t n : {0, 1, 7, 15, 16, 17, 511, 512, 513, 5000}) {
      const Scalars scalars = {n % 2 == 0 ? 1.0f : 0.3f, 2.5f, 0};
      check(op, three(Element::float32, Element::float32, Element::float32, {n}, 7),  //
            scalars, {Element::float32, {n}}, 1);
    }
  }
}

TEST_P(Elementwise, EveryStorageIsWidenedAndRoundedOnce) {
  constexpr Element kBf = Element::bfloat16, kHalf = Element::float16, kWide = Element::float32;
  constexpr Element kCases[][4] = {{kBf, kBf, kBf, kBf},
                                   {kHalf, kHalf, kHalf, kHalf},
                                   {kBf, kHalf, kWide, kWide},
                                   {kWide, kBf, kHalf, kBf},
                                   {kHalf, kWide, kBf, kHalf},
                                   {kWide, kWide, kWide, Element::boolean},
                                   {kBf, kBf, kBf, Element::boolean}};
  for (const ElementOp op : arithmetic_ops()) {
    for (const auto& types : kCases) {
      check(op, three(types[0], types[1], types[2], {3, 701}, 11), {-0.7f, 2, 0},
            {types[3], {3, 701}}, 1);
    }
  }
}

TEST_P(Elementwise, IntegersAreReadByOneRounding) {
  for (const Element element : {Element::boolean, Element::uint8, Element::int8, Element::int16,
                                Element::int32, Element::int64}) {
    for (const ElementOp op : {ElementOp::identity, ElementOp::mul, ElementOp::lt}) {
      check(op, three(element, Element::float32, Element::float32, {1000}, 13), {},
            {Element::float32, {1000}}, 1);
    }
  }
}

struct Layout {
  Shape shape;
  std::array<Shape, 3> sizes, strides;
  Shape out;
};

// Operands broadcast, transposed, spread, expanded; results in channels-last order and with gaps.
std::vector<Layout> layouts() {
  return {
      {{}, {}, {}, {}},
      {{3, 40, 50}, {{{3, 40, 50}, {50}, {}}}, {{{2000, 50, 1}, {1}, {}}}, {2000, 50, 1}},
      {{3, 40, 50},
       {{{3, 40, 50}, {40, 1}, {3, 1, 1}}},
       {{{1, 3, 120}, {1, 1}, {1, 1, 1}}},
       {4200, 105, 2}},
      {{2, 5, 6, 7},
       {{{2, 5, 6, 7}, {5, 1, 1}, {2, 5, 6, 7}}},
       {{{210, 1, 35, 5}, {1, 1, 1}, {210, 42, 7, 1}}},
       {210, 1, 35, 5}},
      {{4, 0, 3}, {{{4, 0, 3}, {1, 3}, {0, 1}}}, {{{0, 3, 1}, {3, 1}, {1, 1}}}, {0, 3, 1}},
      {{70, 2, 3}, {{{70, 2, 3}, {70, 2, 1}, {3}}}, {{{6, 3, 1}, {2, 1, 1}, {0}}}, {6, 3, 1}},
      {{33, 1100}, {{{33, 1100}, {33, 1100}, {1100}}}, {{{0, 0}, {1, 33}, {3}}}, {1100, 1}},
      {{90000}, {{{90000}, {90000}, {1}}}, {{{1}, {2}, {1}}}, {1}},
      {{2, 2, 2, 2, 2, 2, 2},
       {{{2, 2, 2, 2, 2, 2, 2}, {2, 1, 2, 1, 2, 1}, {2}}},
       {{{1, 2, 4, 8, 16, 32, 64}, {4, 4, 2, 1, 1, 1}, {1}}},
       {64, 1, 32, 2, 16, 4, 8}},
  };
}

TEST_P(Elementwise, StridesAndThreadsChangeNothing) {
  for (const Layout& layout : layouts()) {
    for (const Element element : {Element::float32, Element::bfloat16}) {
      std::vector<TestTensor> tensors;
      HardNumbers numbers(17);
      for (int k = 0; k < 3; ++k) {
        numbers.fill(tensors.emplace_back(element, layout.sizes[k], layout.strides[k]));
      }
      for (const std::size_t threads : {1, 2, 3, 7}) {
        for (const ElementOp op : {ElementOp::relu, ElementOp::add, ElementOp::addcmul}) {
          check(op, tensors, {0.1f, 0, 0}, {element, layout.shape, layout.out}, threads);
        }
      }
    }
  }
}

TEST_P(Elementwise, GapsOfTheResultStayAsTheyWere) {
  TestTensor x(Element::float32, {5, 30});
  HardNumbers(3).fill(x);
  TestTensor out(Element::float32, {5, 30}, {64, 2});
  const std::vector<std::byte> before = out.bytes;
  elementwise(ElementOp::square, std::array{x.input()}, {}, out.output(), kSerial);
  for (std::size_t i = 0; i < out.bytes.size() / 4; ++i) {
    const bool gap = i % 2 == 1 || i % 64 >= 60;
    if (gap) {
      EXPECT_EQ(std::memcmp(&out.bytes[4 * i], &before[4 * i], 4), 0);
    }
  }
}

TEST_P(Elementwise, AnInputMayBeTheOutput) {
  for (const Element element : {Element::float32, Element::float16}) {
    for (const Shape& strides : {Shape{1000, 1}, Shape{1, 70}, Shape{2000, 2}}) {
      TestTensor x(element, {70, 1000}, strides), y(element, {1000});
      HardNumbers numbers(5);
      numbers.fill(x);
      numbers.fill(y);
      TestTensor apart = x, within = x;
      elementwise(ElementOp::mul, std::array{x.input(), y.input()}, {}, apart.output(), kSerial);
      elementwise(ElementOp::mul, std::array{within.input(), y.input()}, {}, within.output(),
                  Threads(2));
      EXPECT_EQ(within.bytes, apart.bytes);
    }
  }
}

TEST_P(Elementwise, OperatorsThatMoveKeepAllOtherBits) {
  for (const Element element : {Element::float32, Element::bfloat16, Element::float16}) {
    const std::vector<TestTensor> tensors = three(element, element, element, {3000}, 23);
    const std::uint32_t sign = element == Element::float32 ? 0x80000000 : 0x8000;
    TestTensor neg(element, {3000}), abs = neg, copysign = neg;
    elementwise(ElementOp::neg, inputs_of(tensors, ElementOp::neg), {}, neg.output(), kSerial);
    elementwise(ElementOp::abs, inputs_of(tensors, ElementOp::abs), {}, abs.output(), kSerial);
    elementwise(ElementOp::copysign, inputs_of(tensors, ElementOp::copysign), {}, copysign.output(),
                kSerial);
    for (std::size_t at = 0; at < neg.bytes.size(); at += element_size(element)) {
      const std::uint32_t x = bits_at(tensors[0], at), y = bits_at(tensors[1], at);
      ASSERT_EQ(bits_at(neg, at), x ^ sign);
      ASSERT_EQ(bits_at(abs, at), x & ~sign);
      ASSERT_EQ(bits_at(copysign, at), (x & ~sign) | (y & sign));
    }
  }
}

TEST_P(Elementwise, WhereMovesWithinATypeAndConvertsBetweenTypes) {
  TestTensor condition(Element::boolean, {20, 1}), wide(Element::float32, {20, 77}),
      number(Element::float32, {}), half(Element::float16, {20, 77});
  HardNumbers numbers(29);
  for (TestTensor* tensor : {&condition, &wide, &number, &half}) numbers.fill(*tensor);
  for (const Element element : {Element::float32, Element::float16, Element::bfloat16}) {
    for (const TestTensor* no : {&number, &half}) {
      TestTensor out(element, {20, 77});
      elementwise(ElementOp::where, std::array{condition.input(), wide.input(), no->input()}, {},
                  out.output(), Threads(3));
      for (std::size_t i = 0; i < 20 * 77; ++i) {
        const bool yes = condition.value(condition.place(out.sizes, i)) != 0;
        const TestTensor& from = yes ? wide : *no;
        const std::size_t place = from.place(out.sizes, i);
        const std::uint32_t bits = from.element == element
                                       ? bits_at(from, place)
                                       : stored_bits(from.value(place), element);
        ASSERT_EQ(bits_at(out, out.place(out.sizes, i)), bits);
      }
    }
  }
}

TEST_P(Elementwise, WhereMovesIntegersToo) {
  TestTensor condition(Element::boolean, {300}), x(Element::int64, {300}), y(Element::int64, {});
  HardNumbers numbers(31);
  for (TestTensor* tensor : {&condition, &x, &y}) numbers.fill(*tensor);
  TestTensor out(Element::int64, {300});
  elementwise(ElementOp::where, std::array{condition.input(), x.input(), y.input()}, {},
              out.output(), kSerial);
  for (std::size_t i = 0; i < 300; ++i) {
    ASSERT_EQ(out.get<std::int64_t>(8 * i),
              condition.value(i) != 0 ? x.get<std::int64_t>(8 * i) : y.get<std::int64_t>(0));
  }
}

TEST(ElementwiseRefusals, ShapesTypesAndCountsThatDoNotFit) {
  TestTensor x(Element::float32, {3, 4}), y(Element::float32, {3}),
      wide(Element::float32, {2, 3, 4});
  TestTensor integers(Element::int32, {3, 4});
  EXPECT_THROW(
      elementwise(ElementOp::add, std::array{x.input(), y.input()}, {}, x.output(), kSerial),
      NotaryError);
  EXPECT_THROW(
      elementwise(ElementOp::add, std::array{x.input(), wide.input()}, {}, x.output(), kSerial),
      NotaryError);
  EXPECT_THROW(elementwise(ElementOp::add, std::array{x.input()}, {}, x.output(), kSerial),
               NotaryError);
  EXPECT_THROW(elementwise(ElementOp::relu, std::array{x.input()}, {}, integers.output(), kSerial),
               NotaryError);
}

TEST(PowOp, OnlyTheExponentsThatArePowersAndRoots) {
  EXPECT_EQ(pow_op(-0.0f), ElementOp::one);
  EXPECT_EQ(pow_op(1), ElementOp::identity);
  EXPECT_EQ(pow_op(2), ElementOp::square);
  EXPECT_EQ(pow_op(3), ElementOp::cube);
  EXPECT_EQ(pow_op(0.5f), ElementOp::root);
  EXPECT_EQ(pow_op(-0.5f), ElementOp::reciprocal_root);
  EXPECT_EQ(pow_op(-1), ElementOp::reciprocal);
  EXPECT_EQ(pow_op(-2), ElementOp::reciprocal_square);
  EXPECT_EQ(pow_op(4), ElementOp::pow);
  EXPECT_EQ(pow_op(NAN), ElementOp::pow);
}

TORCHNOTARY_ON_EVERY_CPU_PATH(Elementwise);

}  // namespace
}  // namespace torchnotary::exact
