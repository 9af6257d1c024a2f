// The tiles of matrix products in plain C++: what every machine can run.
#include <cmath>
#include <utility>

#include "exact/gemm_kernels.h"

namespace torchnotary::exact {
namespace {

constexpr std::size_t kRows = 4;

template <Storage kStorage, std::size_t kHeight>
void run_tile(const Tile& tile) {
  float sum[kHeight][kUnit] = {};
  for (std::size_t k = 0; k < tile.k; ++k) {
    float across[kUnit];
    for (std::size_t j = 0; j < kUnit; ++j) {
      across[j] = widen_element(
          tile.b, kStorage,
          static_cast<std::ptrdiff_t>(k) * tile.b_stride + static_cast<std::ptrdiff_t>(j));
    }
    for (std::size_t row = 0; row < kHeight; ++row) {
      const float x =
          tile.a[static_cast<std::ptrdiff_t>(row) * tile.a_stride + static_cast<std::ptrdiff_t>(k)];
      for (std::size_t j = 0; j < kUnit; ++j) sum[row][j] = std::fma(x, across[j], sum[row][j]);
    }
  }
  for (std::size_t row = 0; row < kHeight; ++row) {
    float* c = tile.c + static_cast<std::ptrdiff_t>(row) * tile.c_stride;
    for (std::size_t j = 0; j < kUnit; ++j) {
      float value = tile.first ? sum[row][j] : c[j] + sum[row][j];
      if (tile.last && tile.bias != nullptr) value = value + tile.bias[j];
      c[j] = tile.last ? canonical(value) : value;
    }
  }
}

void widen(const void* from, Storage storage, std::size_t count, float* to) {
  for (std::size_t i = 0; i < count; ++i) {
    to[i] = widen_element(from, storage, static_cast<std::ptrdiff_t>(i));
  }
}

template <Storage kStorage, std::size_t... kRow>
constexpr std::array<TileKernel, kMaxRows> heights(std::index_sequence<kRow...>) {
  return {run_tile<kStorage, kRow + 1>...};
}

template <Storage kStorage, std::size_t... kRow>
constexpr std::array<std::array<TileKernel, kMaxSide>, kMaxRows> alone(
    std::index_sequence<kRow...>) {
  return {std::array<TileKernel, kMaxSide>{run_tile<kStorage, kRow + 1>}...};
}

constexpr auto kHeights = std::make_index_sequence<kRows>();
constexpr auto kFloat32 = heights<Storage::float32>(kHeights);
constexpr auto kBfloat16 = heights<Storage::bfloat16>(kHeights);
constexpr auto kFloat16 = heights<Storage::float16>(kHeights);

}  // namespace

constinit const GemmKernels kGemmPortable = {
    .rows = kRows,
    .units = 1,
    .tile = {{{kFloat32}, {kBfloat16}, {kFloat16}}},
    .side_by_side = {1, 1, 1, 1},
    .wide = {alone<Storage::float32>(kHeights), alone<Storage::bfloat16>(kHeights),
             alone<Storage::float16>(kHeights)},
    .widen = widen};

}  // namespace torchnotary::exact
