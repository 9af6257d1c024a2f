// SHA-256 with and without the SHA instructions: the examples of FIPS 180-4 and every boundary.
#include "hashing/sha256.h"

#include "support.h"

namespace torchnotary {
namespace {

using Sha256Test = EveryCpuPath;
TORCHNOTARY_ON_EVERY_CPU_PATH(Sha256Test);

TEST_P(Sha256Test, TheStandardsExamplesHold) {
  EXPECT_EQ(hex(sha256({})), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(hex(sha256(bytes_of("abc"))),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(hex(sha256(bytes_of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"))),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(hex(sha256(bytes_of(std::string(1000000, 'a')))),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST_P(Sha256Test, EveryLengthAndCutGivesWhatThePortablePathGives) {
  const std::vector<std::byte> data = random_bytes(300);
  for (std::size_t length = 0; length <= data.size(); ++length) {
    const Bytes input = Bytes(data).first(length);
    use_cpu_path(CpuPath::portable);
    const Digest expected = sha256(input);
    use_cpu_path(GetParam());
    for (const std::size_t cut : {std::size_t{0}, length / 3, std::min<std::size_t>(64, length)}) {
      Sha256 hasher;
      hasher.update(input.first(cut));
      hasher.update(input.subspan(cut));
      ASSERT_EQ(hex(hasher.finalize()), hex(expected)) << length << " " << cut;
    }
  }
}

TEST_P(Sha256Test, ManyMessagesHashAsEachAlone) {
  const std::vector<std::byte> data = random_bytes(40 * 130);
  for (const std::size_t length : {0, 1, 33, 54, 55, 56, 63, 64, 65, 118, 119, 120, 129}) {
    for (const std::size_t count : {0, 1, 2, 3, 8, 15, 16, 17, 35}) {
      std::vector<Digest> digests(count);
      sha256_many(data.data(), length + 1, count, length, digests.data());
      for (std::size_t i = 0; i < count; ++i) {
        ASSERT_EQ(hex(digests[i]), hex(sha256(Bytes(data).subspan(i * (length + 1), length))))
            << length << " " << i;
      }
    }
  }
}

}  // namespace
}  // namespace torchnotary
