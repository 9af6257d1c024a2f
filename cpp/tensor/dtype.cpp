// The table of element types.
#include "tensor/dtype.h"

#include <algorithm>
#include <array>
#include <string>

#include "hashing/errors.h"

namespace torchnotary {
namespace {

constexpr std::array kDTypes = {
    DType{"float32", 4, Kind::floating},
    DType{"float64", 8, Kind::floating},
    DType{"float16", 2, Kind::floating},
    DType{"bfloat16", 2, Kind::floating},
    DType{"int64", 8, Kind::integer},
    DType{"int32", 4, Kind::integer},
    DType{"int16", 2, Kind::integer},
    DType{"int8", 1, Kind::integer},
    DType{"uint8", 1, Kind::integer},
    DType{"uint16", 2, Kind::integer},
    DType{"uint32", 4, Kind::integer},
    DType{"uint64", 8, Kind::integer},
    DType{"bool", 1, Kind::boolean},
    DType{"complex32", 4, Kind::complex},
    DType{"complex64", 8, Kind::complex},
    DType{"complex128", 16, Kind::complex},
    DType{"float8_e4m3fn", 1, Kind::floating},
    DType{"float8_e5m2", 1, Kind::floating},
    // In these the sign bit alone is NaN, or there is none: flipping it does not negate.
    DType{"float8_e4m3fnuz", 1, Kind::opaque},
    DType{"float8_e5m2fnuz", 1, Kind::opaque},
    DType{"float8_e8m0fnu", 1, Kind::opaque},
    // Two 4-bit values in one element of one byte.
    DType{"float4_e2m1fn_x2", 1, Kind::opaque},
    // Bits whose meaning torch leaves to others; integers of 1 to 7 bits take a byte each.
    DType{"bits1x8", 1, Kind::opaque},
    DType{"bits2x4", 1, Kind::opaque},
    DType{"bits4x2", 1, Kind::opaque},
    DType{"bits8", 1, Kind::opaque},
    DType{"bits16", 2, Kind::opaque},
    DType{"int1", 1, Kind::opaque},
    DType{"int2", 1, Kind::opaque},
    DType{"int3", 1, Kind::opaque},
    DType{"int4", 1, Kind::opaque},
    DType{"int5", 1, Kind::opaque},
    DType{"int6", 1, Kind::opaque},
    DType{"int7", 1, Kind::opaque},
    DType{"uint1", 1, Kind::opaque},
    DType{"uint2", 1, Kind::opaque},
    DType{"uint3", 1, Kind::opaque},
    DType{"uint4", 1, Kind::opaque},
    DType{"uint5", 1, Kind::opaque},
    DType{"uint6", 1, Kind::opaque},
    DType{"uint7", 1, Kind::opaque},
};

}  // namespace

const DType& dtype_of(std::string_view name) {
  const auto found = std::find_if(kDTypes.begin(), kDTypes.end(),
                                  [name](const DType& entry) { return entry.name == name; });
  if (found == kDTypes.end()) {
    throw UnsupportedTensor("no commitment rule for this dtype", "", std::string(name),
                            "convert the tensor to a dtype that torch names and that holds plain "
                            "numbers, such as float32 or int64");
  }
  return *found;
}

}  // namespace torchnotary
