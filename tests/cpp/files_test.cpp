// Tensors in files: the header's grammar, and hashing against memory.
#include "tensor/files.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>

#include "hashing/blake3.h"
#include "hashing/errors.h"
#include "support.h"
#include "tensor/difference.h"
#include "tensor/safetensors.h"

namespace torchnotary {
namespace {

std::string refusal(const std::string& header, std::uint64_t data) {
  try {
    parse_safetensors_header(bytes_of(header), 8 + header.size() + data);
  } catch (const MalformedRecord& error) {
    return error.what();
  }
  return "";
}

TEST(SafetensorsHeader, TensorsComeInTheOrderOfTheirBytes) {
  const std::string header = R"({"b":{"dtype":"F32","shape":[2,1],"data_offsets":[3,11]},)"
                             R"("__metadata__":{"format":"pt"},)"
                             R"("\u00e4":{"shape":[3],"data_offsets":[0,3],"dtype":"U8"}}   )";
  const auto found = parse_safetensors_header(bytes_of(header), 8 + header.size() + 11);
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].name, "\xc3\xa4");
  EXPECT_EQ(found[1].name, "b");
  EXPECT_EQ(found[1].dtype->name, "float32");
  EXPECT_EQ(found[1].shape, (std::vector<std::int64_t>{2, 1}));
  EXPECT_EQ(found[1].begin, 8 + header.size() + 3);
  EXPECT_EQ(found[1].nbytes, 8u);
}

TEST(SafetensorsHeader, EveryCutOfAHeaderIsRefused) {
  const std::string header =
      R"({"__metadata__":{"k":"v"},"\ud83d\ude00":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}})";
  EXPECT_EQ(refusal(header, 3), "");
  for (std::size_t length = 0; length < header.size(); ++length) {
    EXPECT_NE(refusal(header.substr(0, length), 3), "") << length;
  }
}

TEST(SafetensorsHeader, WindowsOfTheReaderLeaveNoSeam) {
  // Names long enough that every token lies across the end of a window once.
  for (std::size_t padding = 65400; padding < 65560; ++padding) {
    const std::string header = "{\"__metadata__\":{\"k\":\"" + std::string(padding, 'v') +
                               R"("},"\u00e4é":{"dtype":"U8","shape":[12],"data_offsets":[0,12]}})";
    const auto found = parse_safetensors_header(bytes_of(header), 8 + header.size() + 12);
    ASSERT_EQ(found.size(), 1u);
    EXPECT_EQ(found[0].name, "\xc3\xa4\xc3\xa9");
  }
}

TEST(SafetensorsHeader, EntriesThatEndBeyondTheFileAreRefusedWithoutWrappingAround) {
  const std::string most = "9223372036854775807";
  const std::string header = R"({"a":{"dtype":"U8","shape":[)" + most + R"(],"data_offsets":[0,)" +
                             most + R"(]},"b":{"dtype":"U8","shape":[2],"data_offsets":[)" + most +
                             "," + most + "]}}";
  EXPECT_NE(refusal(header, 2), "");
}

class TemporaryFile {
 public:
  explicit TemporaryFile(Bytes content) {
    descriptor_ = ::mkstemp(path_.data());
    EXPECT_EQ(::write(descriptor_, content.data(), content.size()),
              static_cast<ssize_t>(content.size()));
  }
  ~TemporaryFile() {
    ::close(descriptor_);
    ::unlink(path_.c_str());
  }
  const std::string& path() const { return path_; }
  int descriptor() const { return descriptor_; }

 private:
  std::string path_ = "/tmp/torchnotary-files-test-XXXXXX";
  int descriptor_;
};

const Watch& ignored() {
  static const auto yes = [] { return true; };
  static const auto nothing = [](std::size_t) {};
  static const Watch watch{yes, nothing};
  return watch;
}

TEST(CommitFiles, AFileIsHashedAsItsBytesInMemoryAre) {
  const auto data = random_bytes((std::size_t{17} << 20) + 3);
  const TemporaryFile file(data);
  const FileState state = FileState::of(file.descriptor(), file.path());
  const StoredTensor whole{"w", &dtype_of("uint8"), {static_cast<std::int64_t>(data.size())},
                           0,   data.size(),        0};
  const StoredTensor part{"p", &dtype_of("int16"), {500, 2}, 7, 2000, 0};
  const std::vector<TensorFile> files = {{file.path(), state, {&whole}},
                                         {file.path(), state, {&part}}};
  for (const std::size_t threads : {1, 3}) {
    const auto found = commit_files(files, Threads(threads), ignored());
    ASSERT_EQ(found.size(), 2u);
    EXPECT_EQ(found[0].data_root, blake3(Blake3Mode::hash(), data));
    const std::vector<std::int64_t> strides = {2, 1};
    const TensorView view{data.data() + 7, part.dtype, part.shape, strides, false, false};
    EXPECT_EQ(found[1].digest, commit(view).digest);
  }
}

TEST(CommitFiles, WorkEndsWhereTheCallerSaysSo) {
  const auto data = random_bytes(std::size_t{4} << 20);
  const TemporaryFile file(data);
  const StoredTensor whole{"w", &dtype_of("uint8"), {4 << 20}, 0, data.size(), 0};
  const std::vector<TensorFile> files(
      100, {file.path(), FileState::of(file.descriptor(), file.path()), {&whole}});
  int asked = 0, finished = 0;
  const auto go_on = [&] { return ++asked < 3; };
  const auto done = [&](std::size_t) { ++finished; };
  commit_files(files, kSerial, {go_on, done});
  EXPECT_EQ(asked, 8);  // the pieces of one tensor: the others are not begun
  EXPECT_EQ(finished, 0);
}

TEST(CommitFiles, AnAbsentFileIsAnErrorOfTheSystemWithItsPath) {
  const std::vector<TensorFile> files = {{"/nowhere/at all", {}, {}}};
  try {
    commit_files(files, kSerial, ignored());
    FAIL();
  } catch (const FileError& error) {
    EXPECT_EQ(error.code, ENOENT);
    EXPECT_EQ(error.path, "/nowhere/at all");
  }
}

TEST(Difference, ZerosOfEitherSignDifferByNothingAndNaNsByNoNumber) {
  const float before[] = {0.0f, 1.0f, NAN, 2.0f}, after[] = {-0.0f, NAN, NAN, 2.5f};
  Difference found(dtype_of("float32"));
  found.add(std::as_bytes(std::span(before)), std::as_bytes(std::span(after)));
  EXPECT_EQ(found.differing(), 3u);
  EXPECT_EQ(found.undefined(), 1u);
  EXPECT_EQ(found.largest(), 0.5);
  EXPECT_EQ(found.scale(), 2.0);
}

TEST(Difference, CountsTheValuesBetweenTwoElementsAcrossZeroToo) {
  const double least = std::numeric_limits<double>::denorm_min();
  const double before[] = {1.0, 1.0, 0.0, -least, INFINITY, 1.0};
  const double after[] = {1.0, std::nextafter(1.0, 2.0), -0.0, 2 * least, 1.0, NAN};
  Difference found(dtype_of("float64"));
  found.add(std::as_bytes(std::span(before).first(4)), std::as_bytes(std::span(after).first(4)));
  EXPECT_EQ(found.ulps(), 3u);
  EXPECT_EQ(found.histogram()[0], 2u);
  EXPECT_EQ(found.histogram()[1], 1u);
  EXPECT_EQ(found.histogram()[2], 1u);
  const float far[] = {std::numeric_limits<float>::max()}, other[] = {-far[0]};
  Difference across(dtype_of("float32"));
  across.add(std::as_bytes(std::span(far)), std::as_bytes(std::span(other)));
  EXPECT_EQ(across.ulps(), 2u * 0x7f7fffffu);
  EXPECT_EQ(across.histogram()[32], 1u);
  found.add(std::as_bytes(std::span(before).subspan(4)),
            std::as_bytes(std::span(after).subspan(4)));
  EXPECT_EQ(found.ulps(), 3u);
}

}  // namespace
}  // namespace torchnotary
