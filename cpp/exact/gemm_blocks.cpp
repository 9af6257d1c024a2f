// The loops round the tiles: columns that fit a cache, blocks of k, rows.
#include "exact/gemm_blocks.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <new>
#include <thread>

namespace torchnotary::exact {
namespace {

// Some 20 µs, in multiplications: below that, handing out tasks costs more than it gains.
constexpr double kTaskCost = 1e6;
// Reading a weight from memory takes as long as so many multiplications.
constexpr double kReadCost = 16;

// Where the sums of one block of columns are kept: in the result itself where it can hold them.
struct Sums {
  float* values;  // of the block's first row and column
  std::ptrdiff_t stride;
  bool in_place;
};

void narrow_row(const float* from, Storage storage, std::size_t count, void* to) {
  switch (storage) {
    case Storage::float32:
      std::memcpy(to, from, count * sizeof(float));
      return;
    case Storage::bfloat16:
      for (std::size_t i = 0; i < count; ++i) {
        static_cast<std::uint16_t*>(to)[i] = narrow_bfloat16(from[i]);
      }
      return;
    case Storage::float16:
      for (std::size_t i = 0; i < count; ++i) {
        static_cast<std::uint16_t*>(to)[i] = narrow_float16(from[i]);
      }
      return;
  }
}

// One block of columns, of panels [first, first + count).
class Block {
 public:
  Block(const Product& product, Range rows, std::size_t first, std::size_t count)
      : product_(product), rows_(rows), first_(first), count_(count) {
    const Panels& panels = product.panels;
    column_ = panels.begin(first) * kUnit;
    const std::size_t padded = (panels.begin(first + count) - panels.begin(first)) * kUnit;
    columns_ = std::min(padded, product.n - column_);
    char* out = static_cast<char*>(product.out.data);
    if (product.out.storage == Storage::float32 && columns_ == padded) {
      float* values = reinterpret_cast<float*>(out) +
                      static_cast<std::ptrdiff_t>(rows.begin) * product.out.row_stride + column_;
      sums_ = {values, product.out.row_stride, true};
    } else {
      void* values = scratch(Slot::sums, rows.size() * padded * sizeof(float));
      sums_ = {static_cast<float*>(values), static_cast<std::ptrdiff_t>(padded), false};
    }
    if (product.epilogue.bias != nullptr) widen_bias();
  }

  void run() {
    const std::size_t tiles = (rows_.size() + product_.kernels.rows - 1) / product_.kernels.rows;
    std::size_t k = 0;
    do {
      const std::size_t k_count = std::min(kDotBlock, product_.k - k);
      std::array<PanelView, kBlockPanels> views;
      product_.right(first_, count_, k, k_count, views.data());
      for (std::size_t tile = 0; tile < tiles; ++tile) {
        run_row_of_tiles(part_of(rows_.size(), tiles, tile), k, k_count, views.data());
      }
      k += k_count;
    } while (k < product_.k);
  }

 private:
  void widen_bias() {
    const Epilogue& epilogue = product_.epilogue;
    const char* bias = static_cast<const char*>(epilogue.bias);
    product_.kernels.widen(bias + column_ * element_size(epilogue.bias_storage),
                           epilogue.bias_storage, columns_, bias_);
    std::fill(bias_ + columns_, bias_ + (columns_ + kUnit - 1) / kUnit * kUnit, 0.0f);
  }

  // `rows` count from the block's first row.
  void run_row_of_tiles(Range rows, std::size_t k, std::size_t k_count, const PanelView* views) {
    const GemmKernels& kernels = product_.kernels;
    const std::size_t height = rows.size(), storage = static_cast<std::size_t>(product_.b_storage);
    alignas(64) float copy[kMaxRows * kDotBlock];
    const RowsView left = product_.left(rows_.begin + rows.begin, height, k, k_count, copy);
    float* sums = sums_.values + static_cast<std::ptrdiff_t>(rows.begin) * sums_.stride;
    const bool last = k + k_count == product_.k;
    Tile tile = {.a = left.a,
                 .a_stride = left.stride,
                 .b = nullptr,
                 .b_stride = 0,
                 .panel_stride = 0,
                 .k = k_count,
                 .c = nullptr,
                 .c_stride = sums_.stride,
                 .first = k == 0,
                 .last = last,
                 .bias = nullptr};

    for (std::size_t i = 0; i < count_;) {
      const std::size_t width = product_.panels.width(first_ + i);
      const std::size_t column = product_.panels.begin(first_ + i) * kUnit - column_;
      const std::size_t side = side_by_side(views, i, kernels.side_by_side[height - 1]);
      tile.b = views[i].b;
      tile.b_stride = views[i].stride;
      tile.c = sums + column;
      if (last && product_.epilogue.bias != nullptr) tile.bias = bias_ + column;
      if (side > 1) {
        tile.panel_stride =
            apart(views, i) / static_cast<std::ptrdiff_t>(element_size(product_.b_storage));
        kernels.wide[storage][height - 1][side - 1](tile);
      } else {
        kernels.tile[storage][width - 1][height - 1](tile);
      }
      i += side;
    }
    if (last) finish(rows, sums);
  }

  // Bytes from a panel to the next.
  static std::ptrdiff_t apart(const PanelView* views, std::size_t i) {
    return static_cast<const char*>(views[i + 1].b) - static_cast<const char*>(views[i].b);
  }

  // How many panels from the i-th on, `most` at most, one kernel can take: of the greatest width
  // and equally far apart.
  std::size_t side_by_side(const PanelView* views, std::size_t i, std::size_t most) const {
    const auto full = [&](std::size_t panel) {
      return product_.panels.width(first_ + panel) == product_.kernels.units;
    };
    std::size_t side = 1;
    while (side < most && i + side < count_ && full(i + side) && full(i) &&
           views[i + side].stride == views[i].stride &&
           apart(views, i + side - 1) == apart(views, i)) {
      ++side;
    }
    return side;
  }

  void finish(Range rows, float* sums) {
    const Epilogue& epilogue = product_.epilogue;
    if (sums_.in_place && epilogue.function == nullptr) return;
    const std::size_t item = element_size(product_.out.storage);
    for (std::size_t row = rows_.begin + rows.begin; row < rows_.begin + rows.end; ++row) {
      char* out = static_cast<char*>(product_.out.data) +
                  (static_cast<std::ptrdiff_t>(row) * product_.out.row_stride +
                   static_cast<std::ptrdiff_t>(column_)) *
                      static_cast<std::ptrdiff_t>(item);
      if (epilogue.function != nullptr) {
        if (epilogue.of_stored && item == 2) {
          narrow_row(sums, product_.out.storage, columns_, out);
          product_.kernels.widen(out, product_.out.storage, columns_, sums);
        }
        epilogue.function(epilogue.context, row, column_, columns_, sums);
      }
      if (!sums_.in_place) narrow_row(sums, product_.out.storage, columns_, out);
      sums += sums_.stride;
    }
  }

  const Product& product_;
  const Range rows_;
  const std::size_t first_, count_;
  std::size_t column_, columns_;
  Sums sums_;
  alignas(64) float bias_[kBlockColumns];
};

}  // namespace

void compute(const Product& product, Range rows, Range panels) {
  const std::size_t most = kBlockColumns / (product.kernels.units * kUnit);
  const std::size_t blocks = (panels.size() + most - 1) / most;
  for (std::size_t i = 0; i < blocks; ++i) {
    const Range part = part_of(panels.size(), blocks, i);
    Block(product, rows, panels.begin + part.begin, part.size()).run();
  }
}

Parts::Parts(const GemmKernels& kernels, std::size_t m, const Panels& panels, std::size_t k,
             std::size_t most_rows, std::size_t row_weight)
    : m(m), tiles((m + kernels.rows - 1) / kernels.rows), panel_count(panels.count) {
  // A few for each processor, so that none waits long for another. It is a number of tasks, on
  // which no result depends.
  static const double most = 4.0 * std::max(1u, std::thread::hardware_concurrency());
  const double weights = static_cast<double>(panels.units * kUnit) * static_cast<double>(k + 16);
  cost = weights * (static_cast<double>(m) + kReadCost) / kTaskCost;
  row_parts = (m + most_rows - 1) / most_rows;
  // Low tiles need several panels.
  const std::size_t least = kernels.side_by_side[std::min(m, kernels.rows) - 1] > 1 ? 2 : 1;
  while (static_cast<double>(count() * 2) <= std::min(cost, most)) {
    const bool rows_can = row_parts * 2 <= tiles;
    const bool panels_can = panel_parts * 2 * least <= panel_count;
    if (!rows_can && !panels_can) break;
    const bool rows_longer = m * panel_parts > panels.units * kUnit * row_parts * row_weight;
    if (rows_can && (rows_longer || !panels_can)) {
      row_parts *= 2;
    } else {
      panel_parts *= 2;
    }
  }
}

Range Parts::rows(std::size_t part) const {
  const Range tile = part_of(tiles, row_parts, part % row_parts);
  return {m * tile.begin / tiles, m * tile.end / tiles};
}

Range Parts::panels(std::size_t part) const {
  return part_of(panel_count, panel_parts, part / row_parts);
}

void* scratch(Slot slot, std::size_t bytes) {
  constexpr std::align_val_t kAlignment{64};
  struct Free {
    void operator()(void* memory) const { ::operator delete(memory, kAlignment); }
  };
  struct Buffer {
    std::unique_ptr<void, Free> memory;
    std::size_t bytes = 0;
  };
  thread_local Buffer buffers[2];
  Buffer& buffer = buffers[static_cast<std::size_t>(slot)];
  if (buffer.bytes < bytes) {
    buffer.memory.reset();
    buffer.memory.reset(::operator new(bytes, kAlignment));
    buffer.bytes = bytes;
  }
  return buffer.memory.get();
}

void place_panels(const Panels& panels, std::size_t first, std::size_t count, std::size_t item,
                  std::byte** to) {
  const auto offset = [&](std::size_t panel) {
    return (panels.begin(panel) - panels.begin(first)) * kUnit * kDotBlock * item;
  };
  auto* const bytes = static_cast<std::byte*>(scratch(Slot::panels, offset(first + count)));
  for (std::size_t i = 0; i < count; ++i) to[i] = bytes + offset(first + i);
}

}  // namespace torchnotary::exact
