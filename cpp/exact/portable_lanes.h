// The operations of Highway that the elementary functions use, on one lane in plain C++: what the
// portable path is compiled from.
#pragma once

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace torchnotary::exact::portable::hn {

// The tag of one lane.
template <class T>
struct Lane {
  using Type = T;
};
template <class D>
using Vec = typename D::Type;
template <class D>
using RebindToUnsigned =
    Lane<std::conditional_t<sizeof(Vec<D>) == 8, std::uint64_t, std::uint32_t>>;
template <class D>
constexpr std::size_t MaxLanes(D) {
  return 1;
}

template <class D>
Vec<D> Set(D, Vec<D> x) {
  return x;
}
template <class D>
Vec<D> Zero(D) {
  return 0;
}
template <class D>
Vec<D> Load(D, const Vec<D>* from) {
  return *from;
}
template <class D>
void Store(Vec<D> x, D, Vec<D>* to) {
  *to = x;
}
template <class D, class T>
Vec<D> BitCast(D, T x) {
  return std::bit_cast<Vec<D>>(x);
}

template <class T>
T MulAdd(T a, T b, T c) {
  return std::fma(a, b, c);
}
template <class T>
T NegMulAdd(T a, T b, T c) {
  return std::fma(-a, b, c);
}
template <class T>
T Abs(T x) {
  return std::fabs(x);
}
template <class T>
T Neg(T x) {
  return -x;
}
template <class T>
T CopySign(T size, T sign) {
  return std::copysign(size, sign);
}
template <class T>
T Min(T a, T b) {
  return a < b ? a : b;
}
template <class T>
T Max(T a, T b) {
  return a > b ? a : b;
}
template <class D>
Vec<D> LoadU(D, const Vec<D>* from) {
  return *from;
}
template <class D>
void StoreU(Vec<D> x, D, Vec<D>* to) {
  *to = x;
}
inline float Sqrt(float x) { return std::sqrt(x); }
inline float Floor(float x) { return std::floor(x); }
inline float Ceil(float x) { return std::ceil(x); }
inline float Trunc(float x) { return std::trunc(x); }
inline float Round(float x) { return std::nearbyint(x); }
inline float And(float a, float b) {
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(a) & std::bit_cast<std::uint32_t>(b));
}
inline float Or(float a, float b) {
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(a) | std::bit_cast<std::uint32_t>(b));
}
inline double Xor(double a, double b) {
  return std::bit_cast<double>(std::bit_cast<std::uint64_t>(a) ^ std::bit_cast<std::uint64_t>(b));
}
template <int kBits, class T>
T ShiftLeft(T x) {
  return x << kBits;
}
template <int kBits, class T>
T ShiftRight(T x) {
  return x >> kBits;
}

inline bool And(bool a, bool b) { return a && b; }
inline bool Or(bool a, bool b) { return a || b; }
inline bool Xor(bool a, bool b) { return a != b; }
inline bool Not(bool a) { return !a; }
template <class D>
bool AllTrue(D, bool mask) {
  return mask;
}
template <class T>
bool IsNaN(T x) {
  return x != x;
}
template <class T>
T IfThenElse(bool mask, T yes, T no) {
  return mask ? yes : no;
}

}  // namespace torchnotary::exact::portable::hn
