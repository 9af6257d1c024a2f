// Golden cases of products (docs/exact-profile.md, section 3): with packed weights, of activations
// by activations, of int8.
//
// Operands: 1 is a, 2 is W or b, 3 is the bias or C.
#include "exact/gemm.h"
#include "exact_golden.h"

namespace torchnotary::exact {
namespace {

struct alignas(64) Line {
  std::byte bytes[64];
};

Storage storage_of(Element element) { return static_cast<Storage>(element); }

Matrix matrix(const TestTensor& tensor) {
  return {tensor.bytes.data(), storage_of(tensor.element), tensor.sizes.back(), 1};
}

// a (m, k) by W (n, k), with a bias where n is odd.
void add_linear(GoldenLines& lines, Element element, std::int64_t m, std::int64_t n, std::int64_t k,
                Numbers numbers) {
  const TestTensor a = operand(1, element, {m, k}, numbers), w = operand(2, element, {n, k}),
                   bias = operand(3, element, {n});
  const auto outputs = static_cast<std::size_t>(n), length = static_cast<std::size_t>(k);
  std::vector<Line> memory(PackedMatrix::size(outputs, length, storage_of(element)) / 64 + 1);
  const PackedMatrix packed =
      PackedMatrix::pack(matrix(w), outputs, length, memory.data(), lines.threads());
  Epilogue epilogue;
  if (n % 2 == 1) epilogue = {.bias = bias.bytes.data(), .bias_storage = storage_of(element)};
  TestTensor out(element, {m, n});
  linear(matrix(a), static_cast<std::size_t>(m), packed, epilogue,
         {out.bytes.data(), storage_of(element), n}, lines.threads());
  lines.add(case_name({"linear", name_of(element), name_of({m, n, k}), name_of(numbers)}), out);
}

// 2 by 3 products of a (m, k) by b (k, n); b is the same for all three.
void add_matmul(GoldenLines& lines, Element element, std::int64_t m, std::int64_t n, std::int64_t k,
                float alpha, float beta, const char* scaling) {
  const TestTensor a = operand(1, element, {2, 3, m, k}), b = operand(2, element, {2, k, n}),
                   c = operand(3, element, {n});
  TestTensor out(element, {2, 3, m, n});
  const Batch batch = {
      .sizes = {2, 3}, .a = {3 * m * k, m * k}, .b = {k * n, 0}, .out = {3 * m * n, m * n}};
  matmul(matrix(a), matrix(b), static_cast<std::size_t>(m), static_cast<std::size_t>(n),
         static_cast<std::size_t>(k), batch,
         {alpha, beta, {c.bytes.data(), storage_of(element), 0, 1}},
         {out.bytes.data(), storage_of(element), n}, lines.threads());
  lines.add(case_name({"matmul", name_of(element), name_of({m, n, k}), scaling}), out);
}

void add_int8(GoldenLines& lines, std::int64_t m, std::int64_t n, std::int64_t k) {
  const TestTensor a = operand(1, Element::int8, {m, k}), b = operand(2, Element::int8, {k, n});
  TestTensor out(Element::int32, {m, n});
  int8_matmul({reinterpret_cast<const std::int8_t*>(a.bytes.data()), k, 1},
              {reinterpret_cast<const std::int8_t*>(b.bytes.data()), n, 1},
              static_cast<std::size_t>(m), static_cast<std::size_t>(n), static_cast<std::size_t>(k),
              reinterpret_cast<std::int32_t*>(out.bytes.data()), n, lines.threads());
  lines.add(case_name({"int8", name_of({m, n, k})}), out);
}

}  // namespace

void golden_products(GoldenLines& lines) {
  for (const Element element : kFloating) {
    for (const std::int64_t k : {0, 1, 255, 256, 257, 600}) {
      for (const auto& [m, n] : {std::pair{1, 131}, {5, 48}, {17, 49}, {130, 200}}) {
        add_linear(lines, element, m, n, k, Numbers::plain);
      }
      add_matmul(lines, element, 9, 37, k, 1, 0, "");
    }
    add_linear(lines, element, 40, 33, 11, Numbers::hard);
    add_matmul(lines, element, 1, 130, 257, 1, 1, "plus");
    add_matmul(lines, element, 70, 50, 300, 0.75f, 0.3f, "scaled");
  }
  for (const std::int64_t k : {0, 1, 257, 600}) {
    add_int8(lines, 1, 33, k);
    add_int8(lines, 37, 65, k);
  }
}

}  // namespace torchnotary::exact
