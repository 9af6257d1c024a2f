// The elementary functions on one lane in plain C++, for portable kernels: Exp(d, x) and so on,
// with the names that elementary-inl.h has for vectors.
#pragma once

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "exact/elementary_coefficients.h"
#include "exact/elementary_exceptions.h"
#include "exact/elementary_large.h"
#include "exact/portable_lanes.h"
#include "exact/storage.h"
#include "hwy/base.h"

namespace torchnotary::exact::portable {

template <class Rule>
float Widened(hn::Lane<float>, float x, Rule rule) {
  return static_cast<float>(rule(hn::Lane<double>(), static_cast<double>(x)));
}

#include "exact/elementary_rules-inl.h"
//
#include "exact/elementary_functions-inl.h"

}  // namespace torchnotary::exact::portable
