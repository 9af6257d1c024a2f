// What only C++ can time: our own calls without Python around them, and the machine's two limits,
// how fast memory is read and how fast vector instructions are issued.
#include <chrono>
#include <cstdint>
#include <thread>
#include <vector>

#include "hashing/blake3.h"
#include "hwy/highway.h"

namespace tn = torchnotary;
namespace hn = hwy::HWY_NAMESPACE;

namespace {

using Clock = std::chrono::steady_clock;

std::uint64_t since(Clock::time_point begun) {
  const auto spent = Clock::now() - begun;
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(spent).count());
}

std::uint64_t sum_of(const std::uint64_t* words, std::size_t count) {
  const hn::ScalableTag<std::uint64_t> d;
  const std::size_t lanes = hn::Lanes(d);
  auto a = hn::Zero(d), b = a, c = a, e = a;
  std::size_t i = 0;
  for (; i + 4 * lanes <= count; i += 4 * lanes) {
    a = hn::Add(a, hn::LoadU(d, words + i));
    b = hn::Add(b, hn::LoadU(d, words + i + lanes));
    c = hn::Add(c, hn::LoadU(d, words + i + 2 * lanes));
    e = hn::Add(e, hn::LoadU(d, words + i + 3 * lanes));
  }
  return hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(a, b), hn::Add(c, e))));
}

}  // namespace

extern "C" {

// `calls` hashes of `size` bytes; one byte of the digests in `out`, so that none is left out.
std::uint64_t blake3_calls(const std::byte* data, std::size_t size, std::size_t calls,
                           std::uint8_t* out) {
  const auto begun = Clock::now();
  for (std::size_t i = 0; i < calls; ++i) {
    const tn::Digest digest = tn::blake3(tn::Blake3Mode::hash(), {data, size});
    *out = static_cast<std::uint8_t>(*out + static_cast<std::uint8_t>(digest[0]));
  }
  return since(begun);
}

// Every word of `size` bytes read once, in equal parts by `threads` threads.
std::uint64_t read_memory(const std::byte* data, std::size_t size, std::size_t threads,
                          std::uint64_t* out) {
  const auto* words = reinterpret_cast<const std::uint64_t*>(data);
  const std::size_t part = size / 8 / threads;
  std::vector<std::uint64_t> sums(threads);
  const auto read = [&](std::size_t i) { sums[i] = sum_of(words + i * part, part); };
  const auto begun = Clock::now();
  std::vector<std::thread> others;
  for (std::size_t i = 1; i < threads; ++i) others.emplace_back(read, i);
  read(0);
  for (std::thread& other : others) other.join();
  const std::uint64_t spent = since(begun);
  for (const std::uint64_t sum : sums) *out += sum;
  return spent;
}

// 8 * `rounds` vector additions of 32-bit lanes that do not wait for each other: what a hash made
// of additions, exclusive ors and rotations can at best issue. The lanes of a vector in `lanes`.
std::uint64_t vector_additions(std::size_t rounds, std::uint32_t* out, std::size_t* lanes) {
  const hn::ScalableTag<std::uint32_t> d;
  using V = hn::Vec<decltype(d)>;
  const V one = hn::Set(d, *out | 1);
  V a = one, b = one, c = one, e = one, f = one, g = one, h = one, i = one;
  const auto add = [&one](V& sum) HWY_ATTR {
    sum = hn::Add(sum, one);
#if HWY_ARCH_X86
    __asm__("" : "+v"(sum.raw));  // each addition is made, not their sum
#else
    __asm__("" : "+w"(sum.raw));
#endif
  };
  const auto begun = Clock::now();
  for (std::size_t round = 0; round < rounds; ++round) {
    add(a), add(b), add(c), add(e), add(f), add(g), add(h), add(i);
  }
  const std::uint64_t spent = since(begun);
  for (const V& sum : {a, b, c, e, f, g, h, i}) *out += hn::GetLane(sum);
  *lanes = hn::Lanes(d);
  return spent;
}

}  // extern "C"
