// SPDX-License-Identifier: Apache-2.0
#include "model/pack.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iomanip>
#include <sstream>
#include <thread>

#include "core/error.h"
#include "core/interleaved_weight.h"
#include "model/load.h"
#include "model/merge.h"

namespace vpref {
namespace {

namespace fs = std::filesystem;

std::string fixture(const std::string& name) { return std::string(VPREF_FIXTURES) + "/" + name; }

std::string message_of(const std::function<void()>& act) {
  try {
    act();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

void expect_part(const std::string& message, const std::string& part) {
  EXPECT_NE(message.find(part), std::string::npos) << "expected '" << part << "' in: " << message;
}

// Each linear of the decoder equals its packed stored matrix, for any number of threads; everything else is as stored.
TEST(Pack, TheDecodersLinearsArePackedAtLoad) {
  for (const char* name : {"tiny-gqa", "tiny-text", "tiny-llama3"})  // bf16, f32, f16
    for (const Packing packing : {Packing::nf4, Packing::int8}) {
      Context ctx(Device::cpu, 3);
      Model stored(fixture(name), Device::cpu, DType::f32), model(fixture(name), Device::cpu, DType::f32);
      model.pack_base(packing);
      model.prepare(ctx);
      stored.prepare(ctx);
      size_t bytes = 0;
      for (size_t i = 0; i < model.weights.layers.size(); ++i)
        for (size_t l = 0; l < kNumLinears; ++l) {
          const Tensor& from = stored.weights.layers[i].linears[l].weight;
          const Linear& linear = model.weights.layers[i].linears[l];
          ASSERT_FALSE(bool(linear.weight));
          ASSERT_EQ(linear.packed.packing, packing);
          ASSERT_EQ(linear.outputs(), from.dim(0));
          ASSERT_EQ(linear.inputs(), from.dim(1));
          Buffer memory(Device::cpu, packed_bytes(packing, from.dim(0), from.dim(1))), reordered;
          PackedWeight w = pack_matrix(from, packing, memory.data(), 1, "w");
          if (can_interleave(w)) {
            reordered = Buffer(Device::cpu, interleaved_bytes(w));
            w = interleaved(w, reordered.data(), 1);
            memory = std::move(reordered);
          }
          ASSERT_EQ(linear.packed.interleaved, w.interleaved);
          EXPECT_EQ(std::memcmp(linear.packed.codes.data, w.codes.data, w.codes.bytes()), 0);
          EXPECT_EQ(std::memcmp(linear.packed.scales.data, w.scales.data, w.scales.bytes()), 0);
          EXPECT_EQ(linear.packed.offset, w.offset);
          bytes += memory.bytes();
        }
      EXPECT_EQ(model.owned_bytes(), stored.owned_bytes() + bytes);
      EXPECT_TRUE(bool(model.weights.lm_head.weight));
      EXPECT_EQ(model.num_parameters(), stored.num_parameters());
    }
}

// --- on disk

class PackedOnDisk : public testing::Test {
 protected:
  fs::path dir = fs::path(testing::TempDir()) / ("vpref-pack-cache-" + std::to_string(getpid()));
  std::string file = (dir / "packed.safetensors").string();
  void SetUp() override {
    fs::remove_all(dir);
    fs::create_directories(dir);
    for (const auto& from : fs::directory_iterator(fixture("tiny-text")))
      if (from.is_regular_file()) fs::copy_file(from, dir / from.path().filename());
  }
  void TearDown() override { fs::remove_all(dir); }

  // Loads with the cache. Returns its note, all packed bytes, how many are not mapped, and how many are reordered.
  struct Loaded {
    std::string note, bytes;
    size_t owned, reordered;
  };
  Loaded load(Packing packing) {
    Context ctx(Device::cpu, 2);
    Model model(dir.string(), Device::cpu, DType::f32);
    model.pack_base(packing, file, 2);
    Loaded l{model.notes().back(), "", 0, 0};
    model.prepare(ctx);
    l.owned = model.owned_bytes();
    for (const DecoderLayer& layer : model.weights.layers)
      for (const Linear& linear : layer.linears) {
        for (const Tensor* t : {&linear.packed.codes, &linear.packed.scales, &linear.packed.nested_scales,
                                &linear.packed.book, &linear.packed.nested_book})
          if (*t) l.bytes.append(t->as<char>(), t->bytes());
        l.bytes.append(reinterpret_cast<const char*>(&linear.packed.offset), sizeof(float));
        if (linear.packed.interleaved) l.reordered += interleaved_bytes(linear.packed);
      }
    return l;
  }
  // The only file in the folder, except those of the fixture.
  void expect_no_rest() {
    for (const auto& entry : fs::directory_iterator(dir))
      EXPECT_FALSE(entry.path().filename().string().starts_with("packed.safetensors.")) << entry.path();
  }
};

TEST_F(PackedOnDisk, ASecondStartReadsTheFile) {
  for (const Packing packing : {Packing::nf4, Packing::int8}) {
    fs::remove(file);
    const Loaded first = load(packing), second = load(packing);
    expect_part(first.note, "packed weights are written to it");
    expect_part(second.note, "packed weights are read from it");
    EXPECT_EQ(second.bytes, first.bytes);
    EXPECT_GT(first.owned, 0u);
    EXPECT_EQ(second.owned, second.reordered);
    expect_no_rest();
  }
}

TEST_F(PackedOnDisk, AFileOfAnotherFormOrCheckpointIsNotUsed) {
  const Loaded nf4 = load(Packing::nf4);
  expect_part(load(Packing::int8).note, "not used, and written again: form: expected int8, got nf4");
  const Loaded again = load(Packing::nf4);
  expect_part(again.note, "form: expected nf4, got int8");
  EXPECT_EQ(again.bytes, nf4.bytes);
  // One weight is changed in place; a fingerprint of samples may miss it.
  const fs::path weights = dir / "model.safetensors";
  std::fstream change(weights, std::ios::in | std::ios::out | std::ios::binary);
  const Safetensors stored(weights.string());
  change.seekp(std::streamoff(stored.tensors().at("model.layers.0.mlp.up_proj.weight").begin + 3));
  change.put(0x40);
  change.close();
  fs::last_write_time(weights, fs::last_write_time(weights) + std::chrono::seconds(1));
  const Loaded changed = load(Packing::nf4);
  expect_part(changed.note, "weight files: expected model.safetensors ");
  EXPECT_NE(changed.bytes, nf4.bytes);
  expect_part(load(Packing::nf4).note, "packed weights are read from it");
}

TEST_F(PackedOnDisk, ADamagedFileIsNotUsed) {
  const Loaded whole = load(Packing::nf4);
  const size_t size = fs::file_size(file);
  fs::resize_file(file, size / 2);
  const Loaded cut = load(Packing::nf4);
  expect_part(cut.note, "not used, and written again: ");
  EXPECT_EQ(cut.bytes, whole.bytes);
  {
    std::fstream hole(file, std::ios::in | std::ios::out | std::ios::binary);
    hole.seekp(std::streamoff(size / 2));
    hole.write(std::string(64, '\0').data(), 64);
  }
  const Loaded holed = load(Packing::nf4);
  expect_part(holed.note, "sum: expected ");
  EXPECT_EQ(holed.bytes, whole.bytes);
  expect_part(load(Packing::nf4).note, "packed weights are read from it");
  std::ofstream(file) << "not this";
  EXPECT_EQ(load(Packing::nf4).bytes, whole.bytes);
}

TEST_F(PackedOnDisk, WhatAKilledWriterLeftIsRemoved) {
  const std::string killed = file + ".0123456789abcdef.partial", whole = file + ".0123456789abcdee",
                    alive = file + ".fedcba9876543210.partial", other = file + ".copy-of-another";
  for (const std::string& left : {killed, whole, alive, other}) std::ofstream(left) << "half";
  for (const std::string& left : {killed, whole, other})
    fs::last_write_time(left, fs::file_time_type::clock::now() - std::chrono::hours(2));
  load(Packing::nf4);
  EXPECT_FALSE(fs::exists(killed) || fs::exists(whole));
  EXPECT_TRUE(fs::exists(alive) && fs::exists(other));
  fs::remove(alive), fs::remove(other);
}

TEST_F(PackedOnDisk, ConcurrentWritersLeaveOneWholeFile) {
  std::vector<std::thread> writers;
  std::vector<std::string> bytes(4);
  for (std::string& b : bytes) writers.emplace_back([&] { b = load(Packing::nf4).bytes; });
  for (std::thread& w : writers) w.join();
  for (const std::string& b : bytes) EXPECT_EQ(b, bytes[0]);
  const Loaded last = load(Packing::nf4);
  expect_part(last.note, "packed weights are read from it");
  EXPECT_EQ(last.bytes, bytes[0]);
  expect_no_rest();
}

TEST(Pack, AMatrixThatIsNotFiniteIsNamed) {
  std::vector<float> values(4 * 64, 1.0f);
  values[70] = INFINITY;
  const Buffer memory(Device::cpu, packed_bytes(Packing::nf4, 4, 64));
  expect_part(message_of([&] {
                pack_matrix(Tensor(values.data(), DType::f32, {4, 64}), Packing::nf4, memory.data(), 2, "a.weight");
              }),
              "a.weight: expected finite values to pack as nf4");
}

// A model that is prepared in part would compute, with other numbers.
TEST_F(PackedOnDisk, AModelThatCouldNotBePreparedStaysUnusable) {
  const fs::path weights = dir / "model.safetensors";
  const size_t up = Safetensors(weights.string()).tensors().at("model.layers.0.mlp.up_proj.weight").begin;
  std::fstream change(weights, std::ios::in | std::ios::out | std::ios::binary);
  change.seekp(std::streamoff(up));
  change.write("\0\0\x80\x7f", 4);  // infinity
  change.close();
  Context ctx(Device::cpu, 2);
  Model model(dir.string(), Device::cpu, DType::f32);
  model.pack_base(Packing::nf4, file, 2);
  const std::string first = message_of([&] { model.prepare(ctx); });
  expect_part(first, "model.layers.0.mlp.up_proj.weight: expected finite values");
  EXPECT_EQ(message_of([&] { model.prepare(ctx); }), first);
  EXPECT_FALSE(fs::exists(file));
}

class Bitsandbytes : public testing::Test {
 protected:
  fs::path dir = fs::temp_directory_path() / ("vpref-pack-" + std::to_string(::getpid()));
  void SetUp() override {
    fs::remove_all(dir);
    fs::create_directories(dir);
    for (const char* file : {"config.json", "model.safetensors"})
      fs::copy_file(fixture("tiny-nf4") + "/" + file, dir / file);
  }
  void TearDown() override { fs::remove_all(dir); }
  // In one file, with the same length of weights; their places are in the header.
  void replace(const char* file, const std::string& from, const std::string& to) const {
    std::ifstream in(dir / file, std::ios::binary);
    std::ostringstream s;
    s << in.rdbuf();
    std::string text = s.str();
    const size_t at = text.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    text.replace(at, from.size(), to);
    std::ofstream(dir / file, std::ios::binary) << text;
  }
  std::string message(Packing packing = Packing::none) const {
    return message_of([&] { Model(dir.string(), Device::cpu, DType::f32).pack_base(packing); });
  }
};

// The tensors decide: the skip list names the tower, whose linears are packed, but not the one linear that is not.
TEST_F(Bitsandbytes, IsReadAsItIs) {
  Context ctx(Device::cpu, 2);
  Model model(dir.string(), Device::cpu, DType::f32), full(fixture("tiny-gqa"), Device::cpu, DType::f32);
  model.prepare(ctx);
  size_t reordered = 0;
  for (const DecoderLayer& layer : model.weights.layers)
    for (const Linear& l : layer.linears)
      if (l.packed.interleaved) reordered += interleaved_bytes(l.packed);
  EXPECT_GT(reordered, 0u);
  EXPECT_EQ(model.owned_bytes(), reordered);
  EXPECT_EQ(model.num_parameters(), full.num_parameters());
  EXPECT_TRUE(bool(model.weights.layers[1].linears[kUpProj].weight));
  const Linear& q = model.weights.layers[0].linears[kQProj];
  EXPECT_EQ(q.packed.packing, Packing::nf4);
  EXPECT_TRUE(q.packed.nested());
  std::vector<float> row(size_t(q.inputs()));
  const Tensor& from = full.weights.layers[0].linears[kQProj].weight;
  double distance = 0, norm = 0;
  for (int64_t n = 0; n < q.outputs(); ++n) {
    unpack_row(q.packed, n, 0, q.inputs(), row.data());
    for (int64_t k = 0; k < q.inputs(); ++k) {
      const double w = to_f32(from.as<bf16_t>()[n * q.inputs() + k]);
      distance += (row[size_t(k)] - w) * (row[size_t(k)] - w);
      norm += w * w;
    }
  }
  EXPECT_LT(distance, 0.02 * norm);
}

TEST_F(Bitsandbytes, AdaptersAreMergedIntoTheUnpackedWeights) {
  Context ctx(Device::cpu, 2);
  Model model(fixture("tiny-fp4"), Device::cpu, DType::f32);
  const fs::path out = dir / "merged";
  fs::create_directories(out);
  write_merged(ctx, model, {.dir = out.string(), .dtype = DType::f32});
  const Safetensors file((out / "model.safetensors").string());
  const PackedWeight& q = model.weights.layers[0].linears[kQProj].packed;
  const Tensor written = file.view("model.layers.0.self_attn.q_proj.weight");
  ASSERT_EQ(cat(written), cat("[", q.num_rows, ", ", q.num_cols, "] f32"));
  std::vector<float> row(size_t(q.num_cols));
  for (int64_t n = 0; n < q.num_rows; ++n) {
    unpack_row(q, n, 0, q.num_cols, row.data());
    EXPECT_EQ(std::memcmp(row.data(), written.as<float>() + n * q.num_cols, row.size() * sizeof(float)), 0);
  }
  for (const auto& [name, stored] : file.tensors()) EXPECT_EQ(name.find("quant"), std::string::npos) << name;
}

// config.json says that the head is tied; the file has its codes. An adapter cannot replace it.
TEST_F(Bitsandbytes, APackedHeadIsNotTied) {
  const Safetensors file(fixture("tiny-nf4") + "/model.safetensors");
  NamedTensors tensors;
  for (const auto& [name, stored] : file.tensors()) tensors.emplace_back(name, file.view(name));
  const Tensor embedding = file.view("language_model.model.embed_tokens.weight");
  const Buffer memory(Device::cpu, packed_bytes(Packing::nf4, embedding.dim(0), embedding.dim(1)));
  const PackedWeight w = pack_matrix(embedding, Packing::nf4, memory.data(), 1, "head");
  std::ostringstream offset;
  offset << std::setprecision(17) << w.offset;
  std::string state =
      cat(R"({"quant_type": "nf4", "blocksize": 64, "dtype": "bfloat16", "shape": [)", w.num_rows, ", ", w.num_cols,
          R"(], "nested_blocksize": 256, "nested_dtype": "float32", "nested_offset": )", offset.str(), "}");
  const std::string name = "language_model.lm_head.weight";
  tensors.emplace_back(name, w.codes);
  tensors.emplace_back(name + ".absmax", w.scales);
  tensors.emplace_back(name + ".quant_map", w.book);
  tensors.emplace_back(name + ".nested_absmax", w.nested_scales);
  tensors.emplace_back(name + ".nested_quant_map", w.nested_book);
  tensors.emplace_back(name + ".quant_state.bitsandbytes__nf4",
                       Tensor(state.data(), DType::u8, {int64_t(state.size())}));
  write_safetensors((dir / "model.safetensors").string(), tensors, {});
  Context ctx(Device::cpu, 2);
  Model model(dir.string(), Device::cpu, DType::f32);
  EXPECT_FALSE(model.config.text.tie_word_embeddings);
  expect_part(model.notes().back(), "lm_head.weight differs from the embedding: the head is not tied");
  model.prepare(ctx);
  const Linear& head = model.weights.lm_head;
  ASSERT_EQ(head.packed.packing, Packing::nf4);
  EXPECT_FALSE(bool(head.weight));
  std::vector<float> got(size_t(w.num_cols)), expected(got.size());
  for (const int64_t row : {int64_t(0), w.num_rows - 1}) {
    unpack_row(head.packed, row, 0, w.num_cols, got.data());
    unpack_row(w, row, 0, w.num_cols, expected.data());
    EXPECT_EQ(got, expected);
  }
  std::vector<float> zeros(embedding.numel());
  const Tensor own(zeros.data(), DType::f32, {embedding.dim(0), embedding.dim(1)});
  fs::create_directories(dir / "adapter");
  write_safetensors((dir / "adapter/adapter_model.safetensors").string(), {{"base_model.model." + name, own}}, {});
  std::ofstream(dir / "adapter/adapter_config.json")
      << R"({"peft_type": "LORA", "r": 2, "lora_alpha": 2, "target_modules": [], "modules_to_save": ["lm_head"]})";
  Model adapted(dir.string(), Device::cpu, DType::f32);
  expect_part(message_of([&] { adapted.add_adapter((dir / "adapter").string()); }),
              "lm_head.weight: expected no copy of a weight that is packed");
}

TEST_F(Bitsandbytes, IsNotPackedAgain) {
  expect_part(message(Packing::nf4), "is packed already, as nf4: expected a full checkpoint to pack as nf4");
}

TEST_F(Bitsandbytes, DamageIsNamed) {
  const struct {
    const char *from, *to, *said;
  } cases[] = {
      {"\"blocksize\": 64", "\"blocksize\": 63", "blocksize: expected a power of two"},
      {"\"quant_type\": \"nf4\"", "\"quant_type\": \"nf5\"", "quant_type: expected nf4"},
      {"\"shape\": [", "\"shapf\": [", "shapf: expected no such key"},
      {".weight.quant_map\"", ".weight.quant_mop\"", "quant_map: expected this tensor beside"},
      {".weight.nested_absmax\"", ".weight.nested_absmay\"", "absmax: dtype: expected F32, got U8"},
      {"\"nested_dtype\": \"float32\"", "\"nested_dtype\": \"float16\"", "nested_dtype: expected float32, got float16"},
      {"\"bfloat16\", \"shape\"", "\"bfloat17\", \"shape\"",
       "dtype: expected float32 or bfloat16 or float16, got bfloat17"},
      {"\"nested_offset\"", "\"mested_offset\"", "mested_offset: expected no such key"},
      {"quant_state.bitsandbytes__nf4\"", "quant_state.bitsandbytes__fp4\"", "quant_type: expected fp4"},
      {"quant_state.bitsandbytes__nf4\"", "quant_state.bitsandbytes__nf5\"",
       "weight.quant_state.bitsandbytes__nf4 or fp4 beside it, got language_model."},
      {"quant_state.bitsandbytes__nf4\"", "quant_stats.bitsandbytes__nf4\"", "nf4 or fp4 beside it, got none"},
      {"quant_state.bitsandbytes__nf4\":{\"dtype\":\"U8\"", "quant_state.bitsandbytes__nf4\":{\"dtype\":\"I8\"",
       "bitsandbytes__nf4: dtype: expected U8, got I8"},
  };
  for (const auto& c : cases) {
    SetUp();
    replace("model.safetensors", c.from, c.to);
    expect_part(message(), c.said);
  }
}

TEST_F(Bitsandbytes, OtherQuantisationsAreRefusedByName) {
  replace("config.json", "\"quant_method\": \"bitsandbytes\"", "\"quant_method\": \"gptq\"");
  expect_part(message(), "quantization_config: quant_method: expected \"bitsandbytes\"");
  SetUp();
  replace("config.json", "\"load_in_8bit\": false", "\"load_in_8bit\": true");
  expect_part(message(), "load_in_8bit: expected false");
  SetUp();
  replace("config.json", "\"load_in_4bit\": true", "\"load_in_4bit\": false");
  expect_part(message(), "load_in_4bit: expected true");
}

}  // namespace
}  // namespace vpref
