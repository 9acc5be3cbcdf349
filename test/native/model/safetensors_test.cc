// SPDX-License-Identifier: Apache-2.0
// Hostile and damaged files: each is a clear error, never a crash.
#include "model/safetensors.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "core/error.h"
#include "model/json.h"

namespace vpref {
namespace {

namespace fs = std::filesystem;

class SafetensorsTest : public testing::Test {
 protected:
  fs::path dir = fs::temp_directory_path() / ("vpref-safetensors-" + std::to_string(::getpid()));
  void SetUp() override { fs::create_directories(dir); }
  void TearDown() override { fs::remove_all(dir); }

  std::string write(const std::string& header, size_t data_bytes, uint64_t claimed = ~uint64_t(0)) const {
    const std::string path = (dir / "x.safetensors").string();
    std::ofstream out(path, std::ios::binary);
    const uint64_t length = claimed == ~uint64_t(0) ? header.size() : claimed;
    for (int i = 0; i < 8; ++i) out.put(char(length >> (8 * i)));
    out << header << std::string(data_bytes, '\1');
    return path;
  }
  // The error message of opening this file and reading every tensor.
  std::string message(const std::string& path) const {
    try {
      const Safetensors file(path);
      for (const auto& [name, t] : file.tensors()) (void)file.view(name);
    } catch (const Error& e) {
      EXPECT_TRUE(e.code() == "checkpoint" || e.code() == "io") << e.code();
      return e.what();
    }
    return "";
  }
  void expect_error(const std::string& header, size_t data_bytes, const std::string& part,
                    uint64_t claimed = ~uint64_t(0)) const {
    const std::string path = write(header, data_bytes, claimed), got = message(path);
    EXPECT_NE(got.find(part), std::string::npos) << header << " gave: " << got;
    EXPECT_NE(got.find("x.safetensors"), std::string::npos) << got;
  }
};

// Pages are loaded and dropped; values equal the file's. Memory of no file, and empty ranges, do no harm.
TEST_F(SafetensorsTest, PrefetchedAndDroppedBytesEqualTheFile) {
  const Safetensors file(write(R"({"w":{"dtype":"U8","shape":[100000],"data_offsets":[0,100000]}})", 100000));
  const std::byte* data = file.file().data() + file.file().size() - 100000;
  for (int i = 0; i < 2; ++i) {
    MappedFile::fetch(data + 5000, 60000);
    for (size_t k = 0; k < 100000; ++k) ASSERT_EQ(data[k], std::byte(1)) << k;
    file.file().drop(data, 100000);
  }
  std::vector<char> own(10000, 'x');
  MappedFile::fetch(own.data() + 1, 9000);
  MappedFile::fetch(nullptr, 0);
  EXPECT_EQ(own, std::vector<char>(10000, 'x'));
}

TEST_F(SafetensorsTest, WrittenFilesReadBackEqual) {
  float a[6] = {1, 2, 3, 4, 5, 6};
  uint16_t b[3] = {7, 8, 9};
  const std::string path = (dir / "y.safetensors").string();
  write_safetensors(path, {{"b.weight", Tensor(b, DType::bf16, {3})}, {"a \"quoted\"", Tensor(a, DType::f32, {2, 3})}},
                    {{"format", "pt"}});
  const Safetensors file(path);
  EXPECT_EQ(file.metadata().at("format"), "pt");
  ASSERT_EQ(file.tensors().size(), 2u);
  EXPECT_EQ(file.view("b.weight").as<uint16_t>()[2], 9);
  EXPECT_EQ(file.tensors().at("a \"quoted\"").shape, (std::vector<int64_t>{2, 3}));
  EXPECT_FALSE(fs::exists(path + ".partial"));
  EXPECT_THROW((void)file.view("c"), Error);
}

TEST_F(SafetensorsTest, HostileHeadersAreRefused) {
  const std::string ok = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  EXPECT_EQ(message(write(ok, 8)), "");
  expect_error(ok, 8, "header length", uint64_t(1) << 62);
  expect_error(ok, 8, "header length", 99'999'999);
  expect_error("", 0, "bad JSON");
  expect_error("[]", 0, "expected an object");
  expect_error(ok, 7, "truncated");
  expect_error(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", 8, "expected 8 bytes");
  expect_error(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", 8, "data_offsets");
  expect_error(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[-8,0]}})", 8, "data_offsets");
  expect_error(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0.5,8]}})", 8, "data_offsets");
  expect_error(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,18446744073709551616]}})", 8, "data_offsets");
  expect_error(R"({"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}})", 8, "too large");
  expect_error(R"({"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", 8, "shape");
  expect_error(R"({"a":{"dtype":"F32","shape":[1,1,1,1,1,2],"data_offsets":[0,8]}})", 8, "at most 5");
  expect_error(R"({"a":{"dtype":"F13","shape":[2],"data_offsets":[0,8]}})", 8, "dtype");
  expect_error(R"({"a":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}})", 8, "F64");
  expect_error(R"({"a":{"dtype":"F32","shape":[2]}})", 8, "data_offsets");
  expect_error(R"({"a":3})", 8, "expected an object");
  expect_error(R"({"__metadata__":{"a":1}})", 8, "__metadata__");
  expect_error(
      R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}})",
      8, "overlaps");
  expect_error(
      R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})", 8,
      "duplicate key");
  expect_error("{\"a\xff\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 8, "UTF-8");
  expect_error(std::string(100000, '['), 0, "nested too deeply");
}

TEST_F(SafetensorsTest, UnalignedBytesAreCopied) {
  const Safetensors file(write(
      R"({"p":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"F32","shape":[1],"data_offsets":[1,5]}})",
      8));
  const Tensor a = file.view("a");
  EXPECT_EQ(reinterpret_cast<uintptr_t>(a.data) % 4, 0u);
  uint32_t bits;
  std::memcpy(&bits, a.data, 4);
  EXPECT_EQ(bits, 0x01010101u);
}

TEST_F(SafetensorsTest, DamagedFilesAreRefused) {
  EXPECT_NE(message((dir / "none.safetensors").string()).find("No such file"), std::string::npos);
  EXPECT_NE(message(dir.string()).find("expected a file"), std::string::npos);
  const std::string path = (dir / "x.safetensors").string();
  for (const size_t size : {0, 1, 7}) {
    std::ofstream(path, std::ios::binary) << std::string(size, '\0');
    EXPECT_NE(message(path).find("at least 8 bytes"), std::string::npos);
  }
}

TEST(JsonTest, AcceptsWhatRfc8259Allows) {
  const Json j = Json::parse(R"( {"a": [1, -2.5e3, true, null, "\u00e9\ud83d\ude00\n"], "b": {}} )", "x");
  EXPECT_EQ(j.find("a")->array()[0].integer(), 1);
  EXPECT_EQ(j.find("a")->array()[1].number(), -2500);
  EXPECT_FALSE(j.find("a")->array()[1].is_integer());
  EXPECT_EQ(j.find("a")->array()[4].string(), "\xc3\xa9\xf0\x9f\x98\x80\n");
  EXPECT_EQ(Json::parse(json_quote("a\"\\\n\x01z"), "x").string(), "a\"\\\n\x01z");
}

TEST(JsonTest, RefusesWhatRfc8259Forbids) {
  for (const char* bad : {"",
                          "{",
                          "[1,]",
                          "{\"a\":1,}",
                          "{a:1}",
                          "01",
                          "+1",
                          ".5",
                          "1.",
                          "1e",
                          "nul",
                          "\"\\x\"",
                          "\"\\ud800\"",
                          "\"a",
                          "\"\t\"",
                          "[1] 2",
                          "NaN",
                          "1e999",
                          "\"\xc0\x80\"",
                          "\"\xed\xa0\x80\"",
                          "{\"a\":1,\"a\":2}"}) {
    EXPECT_THROW(Json::parse(bad, "x"), Error) << bad;
  }
}

}  // namespace
}  // namespace vpref
