// The arguments for which the binary64 value of elementary_rules-inl.h rounds to the wrong binary32
// number: the exact value is nearer a rounding boundary than binary64 tells. Found by
// `make exhaustive`, which also shows that there are no more.
#pragma once

#include <cstdint>

namespace torchnotary::exact {

struct Exception {
  std::uint32_t argument, result;
};

inline constexpr Exception kExp2Exceptions[] = {{0x3b429d37, 0x3f804385}, {0xbcf3a937, 0x3f7ac6b1}};
inline constexpr Exception kLogExceptions[] = {{0x3c413d3a, 0xc08e158f},
                                               {0x41178feb, 0x400fe5e7},
                                               {0x4c5d65a5, 0x418f034b},
                                               {0x65d890d3, 0x4254d1f9},
                                               {0x6f31a8ec, 0x42845a89}};
inline constexpr Exception kLog10Exceptions[] = {{0x0efeee7a, 0xc1e99d23}};
inline constexpr Exception kLog1PExceptions[] = {
    {0x35400003, 0x353fffff}, {0x3710001b, 0x370ffff3}, {0x3efd81ad, 0x3ecdeee1},
    {0x41078feb, 0x400fe5e7}, {0x65d890d3, 0x4254d1f9}, {0x6f31a8ec, 0x42845a89},
    {0xb53ffffd, 0xb5400001}, {0xb70fffe5, 0xb710000d}, {0xbb0ec8c4, 0xbb0ef0a5}};
inline constexpr Exception kSinhExceptions[] = {{0x3a1285ff, 0x3a1285ff}, {0xba1285ff, 0xba1285ff}};
inline constexpr Exception kErfcExceptions[] = {{0xb76c9f62, 0x3f800085}};
// Of abs(x), which is beyond kMaxReduced.
inline constexpr Exception kCosExceptions[] = {{0x5922aa80, 0x3f08aebf},
                                               {0x5f18b878, 0x3f7f14bb},
                                               {0x6115cb11, 0x3f78142f},
                                               {0x7908cd73, 0x3f798bb5}};
inline constexpr Exception kTanExceptions[] = {{0x5ffd33a4, 0x3fd06c8c}};

}  // namespace torchnotary::exact
