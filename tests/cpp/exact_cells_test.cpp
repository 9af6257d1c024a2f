// Recurrent cells against the formulas of docs/exact-profile.md, section 9, unit by unit.
#include "exact/cells.h"

#include <gtest/gtest.h>

#include <cmath>

#include "exact/elementary.h"
#include "exact/environment.h"
#include "exact_support.h"
#include "support.h"

namespace torchnotary::exact {
namespace {

// From the portable elementary functions, whose tests are elsewhere.
float sigmoid(float x) {
  float e;
  x = -x;
  kElementaryPortable.exp(&x, &e, 1);
  return 1 / (1 + e);
}
float tanh_of(float x) {
  float y;
  kElementaryPortable.tanh(&x, &y, 1);
  return y;
}

std::vector<float> numbers(std::size_t n, unsigned seed) {
  HardNumbers hard(seed);
  std::vector<float> values(n);
  for (float& value : values) value = hard.next();
  return values;
}

std::uint32_t bits(float x) { return stored_bits(x, Element::float32); }

class Cells : public EveryCpuPath {};

struct Steps {
  std::size_t batch, hidden;
};
constexpr Steps kSteps[] = {{0, 4}, {1, 1}, {3, 255}, {2, 257}, {5, 600}};

TEST_P(Cells, AnLstmStepFollowsItsFormulas) {
  for (const auto& [batch, hidden] : kSteps) {
    const auto gi = numbers(batch * 4 * hidden, 1), gh = numbers(batch * 4 * hidden, 2);
    const auto c = numbers(batch * hidden, 3);
    std::vector<float> h2(batch * (hidden + 3)), c2 = c;
    lstm_cell(batch, hidden, {gi.data(), 4 * hidden}, {gh.data(), 4 * hidden}, {c2.data(), hidden},
              {h2.data(), hidden + 3}, {c2.data(), hidden}, Threads(2));
    const FloatEnvironment environment;
    for (std::size_t b = 0; b < batch; ++b) {
      for (std::size_t u = 0; u < hidden; ++u) {
        const auto gate = [&](std::size_t g) {
          const std::size_t at = (4 * b + g) * hidden + u;
          return gi[at] + gh[at];
        };
        const float cell =
            (sigmoid(gate(1)) * c[b * hidden + u]) + (sigmoid(gate(0)) * tanh_of(gate(2)));
        ASSERT_EQ(bits(c2[b * hidden + u]), bits(cell));
        ASSERT_EQ(bits(h2[b * (hidden + 3) + u]), bits(sigmoid(gate(3)) * tanh_of(cell)));
      }
    }
  }
}

TEST_P(Cells, AGruStepFollowsItsFormulas) {
  for (const auto& [batch, hidden] : kSteps) {
    const auto gi = numbers(batch * 3 * hidden, 4), gh = numbers(batch * 3 * hidden, 5);
    const auto h = numbers(batch * hidden, 6);
    std::vector<float> h2 = h;
    gru_cell(batch, hidden, {gi.data(), 3 * hidden}, {gh.data(), 3 * hidden}, {h2.data(), hidden},
             {h2.data(), hidden}, Threads(3));
    const FloatEnvironment environment;
    for (std::size_t b = 0; b < batch; ++b) {
      for (std::size_t u = 0; u < hidden; ++u) {
        const std::size_t r = 3 * b * hidden + u, z = r + hidden, n = z + hidden;
        const float reset = sigmoid(gi[r] + gh[r]), update = sigmoid(gi[z] + gh[z]);
        const float fresh = tanh_of(gi[n] + (reset * gh[n]));
        ASSERT_EQ(bits(h2[b * hidden + u]), bits(((h[b * hidden + u] - fresh) * update) + fresh));
      }
    }
  }
}

TEST_P(Cells, AnRnnStepIsTanhOrReluOfTheSum) {
  for (const auto& [batch, hidden] : kSteps) {
    const auto gi = numbers(batch * hidden, 7), gh = numbers(batch * hidden, 8);
    std::vector<float> tanh(batch * hidden), relu(batch * hidden);
    rnn_cell(RnnActivation::tanh, batch, hidden, {gi.data(), hidden}, {gh.data(), hidden},
             {tanh.data(), hidden}, kSerial);
    rnn_cell(RnnActivation::relu, batch, hidden, {gi.data(), hidden}, {gh.data(), hidden},
             {relu.data(), hidden}, kSerial);
    const FloatEnvironment environment;
    for (std::size_t i = 0; i < batch * hidden; ++i) {
      const float sum = gi[i] + gh[i];
      ASSERT_EQ(bits(tanh[i]), bits(tanh_of(sum)));
      ASSERT_EQ(bits(relu[i]), bits(sum != sum ? NAN : sum > 0 ? sum : 0.0f));
    }
  }
}

TORCHNOTARY_ON_EVERY_CPU_PATH(Cells);

}  // namespace
}  // namespace torchnotary::exact
