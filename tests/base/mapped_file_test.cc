#include "base/mapped_file.h"

#include <numeric>

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/random.h"
#include "support/temp_dir.h"

namespace miniinfer {
namespace {

namespace fs = std::filesystem;

int64_t sum(std::span<const uint8_t> bytes) {
  return std::accumulate(bytes.begin(), bytes.end(), int64_t{0});
}

TEST(MappedFile, ShowsTheFilesBytes) {
  const TempDir dir;
  const MappedFile file(dir.write("a", "hello"));
  EXPECT_EQ(std::string(file.bytes().begin(), file.bytes().end()), "hello");
  EXPECT_TRUE(file.populate(0, 100));
  EXPECT_FALSE(file.damaged());
  EXPECT_TRUE(MappedFile(dir.write("empty", "")).bytes().empty());
}

TEST(MappedFile, TakesRegularFilesOnly) {
  const TempDir dir;
  ASSERT_EQ(mkfifo((dir.path() / "fifo").c_str(), 0600), 0);
  expect_error(ErrorCode::kDataCorrupt, "not a regular file",
               [&] { MappedFile file(dir.path() / "fifo"); });
  expect_error(ErrorCode::kDataCorrupt, "not a regular file", [&] { MappedFile file(dir.path()); });
  expect_error(ErrorCode::kNotFound, "absent: cannot open",
               [&] { MappedFile file(dir.path() / "absent"); });
}

TEST(MappedFile, SurvivesTruncation) {
  const TempDir dir;
  const fs::path path = dir.write("a", std::string(1 << 20, '\1'));
  const MappedFile intact(dir.write("b", std::string(1 << 20, '\1')));
  const MappedFile file(path);
  EXPECT_EQ(sum(file.bytes().first(4096)), 4096);
  ASSERT_EQ(truncate(path.c_str(), 8192), 0);
  EXPECT_EQ(sum(file.bytes()), 8192);
  EXPECT_TRUE(file.damaged());
  EXPECT_FALSE(intact.damaged());
  EXPECT_EQ(sum(file.bytes()), 8192) << "the zeros stay";
}

TEST(MappedFileDeathTest, LeavesOtherSigbusToItsHandler) {
  const TempDir dir;
  const MappedFile file(dir.write("a", "x"));
  // A sanitizer's handler reports it and exits; without one the signal kills.
  const auto failed = [](int status) { return !WIFEXITED(status) || WEXITSTATUS(status) != 0; };
  EXPECT_EXIT(raise(SIGBUS), failed, "");
}

TEST(ReadTextFile, LimitsSize) {
  const TempDir dir;
  const fs::path path = dir.write("a", "12345");
  EXPECT_EQ(read_text_file(path, 5), "12345");
  expect_error(ErrorCode::kDataCorrupt, "5 bytes, more than the 4",
               [&] { read_text_file(path, 4); });
  expect_error(ErrorCode::kDataCorrupt, "not a regular file",
               [&] { read_text_file(dir.path(), 4); });
}

TEST(ResolveInside, KeepsToTheDirectory) {
  const TempDir dir;
  dir.write("outside", "secret");
  dir.write("model/inside", "weights");
  dir.write("model/sub/deep", "weights");
  const fs::path model = dir.path() / "model";
  fs::create_symlink("inside", model / "link");
  fs::create_symlink("../outside", model / "leak");
  fs::create_symlink("..", model / "up");
  EXPECT_EQ(resolve_inside(model, "inside"), model / "inside");
  EXPECT_EQ(resolve_inside(model, "sub/deep"), model / "sub/deep");
  EXPECT_EQ(resolve_inside(model, "link"), model / "inside");
  for (const char* name :
       {"leak", "up/outside", "../outside", "sub/../../outside", "/etc/passwd", ""})
    expect_error(ErrorCode::kDataCorrupt, "leads out of the model's directory",
                 [&] { resolve_inside(model, name); });
  expect_error(ErrorCode::kDataCorrupt, "leads out",
               [&] { resolve_inside(model, std::string("inside\0x", 8)); });
  expect_error(ErrorCode::kNotFound, "absent", [&] { resolve_inside(model, "absent"); });
}

TEST(ResolveInside, AcceptsTheHuggingFaceCache) {
  const TempDir dir;
  dir.write("models--a--b/blobs/0123", "weights");
  dir.write("models--a--c/blobs/0123", "others");
  const fs::path snapshot = dir.path() / "models--a--b/snapshots/main";
  fs::create_directories(snapshot);
  fs::create_symlink("../../blobs/0123", snapshot / "model.safetensors");
  fs::create_symlink("../../../models--a--c/blobs/0123", snapshot / "other.safetensors");
  EXPECT_EQ(resolve_inside(snapshot, "model.safetensors"), dir.path() / "models--a--b/blobs/0123");
  expect_error(ErrorCode::kDataCorrupt, "leads out",
               [&] { resolve_inside(snapshot, "other.safetensors"); });
}

}  // namespace
}  // namespace miniinfer
