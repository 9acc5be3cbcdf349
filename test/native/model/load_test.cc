// SPDX-License-Identifier: Apache-2.0
// Checkpoint directories: spellings, configuration errors that name their key, tensors that are missing, extra or
// misshapen, and random damage.
// Covers native/model/bind_tensors.cc native/model/prepare.cc
#include "model/load.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <list>
#include <sstream>

#include "core/error.h"
#include "core/philox.h"
#include "model/json.h"

namespace vpref {
namespace {

namespace fs = std::filesystem;

std::string fixture(const std::string& name) { return std::string(VPREF_FIXTURES) + "/" + name; }

std::string read_text(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream s;
  s << in.rdbuf();
  return s.str();
}

class LoadTest : public testing::Test {
 protected:
  fs::path dir = fs::temp_directory_path() / ("vpref-load-" + std::to_string(::getpid()));
  void SetUp() override { fs::remove_all(dir); }
  void TearDown() override { fs::remove_all(dir); }
  void copy(const std::string& name) const {
    fs::remove_all(dir);
    fs::create_directories(dir);
    for (const auto& entry : fs::directory_iterator(fixture(name))) {
      if (!entry.path().filename().string().starts_with("token"))
        fs::copy_file(entry.path(), dir / entry.path().filename());
    }
  }
  void write(const std::string& file, const std::string& text) const {
    std::ofstream(dir / file, std::ios::binary) << text;
  }
  void replace(const std::string& file, const std::string& from, const std::string& to) const {
    std::string text = read_text(dir / file);
    const size_t at = text.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    text.replace(at, from.size(), to);
    write(file, text);
  }
  std::string message() const {
    try {
      Model model(dir.string(), Device::cpu, DType::f32);
    } catch (const Error& e) {
      return e.code() + ": " + e.what();
    }
    return "";
  }
  void expect_message(const std::string& part) const {
    const std::string got = message();
    EXPECT_NE(got.find(part), std::string::npos) << "expected '" << part << "' in: " << got;
  }
};

TEST_F(LoadTest, EveryShippedModelLoads) {
  for (const char* name : {"tiny-mha", "tiny-gqa", "tiny-llama3", "tiny-text", "demo/tiny-llava"}) {
    Model model(fixture(name), Device::cpu, DType::f32);
    EXPECT_EQ(model.mapped_bytes() + model.owned_bytes(), 0u) << "nothing is touched before prepare";
    Context ctx(Device::cpu, 1);
    model.prepare(ctx);
    EXPECT_TRUE(bool(model.weights.lm_head.weight));
  }
}

TEST_F(LoadTest, WeightsStayInTheFileIfTheOpsAcceptTheirDtype) {
  Context ctx(Device::cpu, 1);
  Model as_stored(fixture("demo/tiny-llava"), Device::cpu, DType::f32);
  as_stored.prepare(ctx);
  EXPECT_LT(as_stored.owned_bytes(), as_stored.mapped_bytes() / 50);
  Model converted(fixture("demo/tiny-llava"), Device::cpu, DType::bf16);
  converted.prepare(ctx);
  EXPECT_LT(converted.mapped_bytes(), converted.owned_bytes() / 50);
}

TEST_F(LoadTest, ThreeSpellingsOfTheNamesGiveTheSameWeights) {
  copy("tiny-mha");
  const Safetensors hub((dir / "model.safetensors").string());
  const auto renamed = [&](const std::vector<std::pair<std::string, std::string>>& rules) {
    NamedTensors out;
    for (const auto& [name, t] : hub.tensors()) {
      std::string to = name;
      for (const auto& [from, prefix] : rules) {
        if (name.starts_with(from)) to = prefix + name.substr(from.size());
      }
      out.emplace_back(to, hub.view(name));
    }
    return out;
  };
  const Model expected(fixture("tiny-mha"), Device::cpu, DType::f32);
  const std::vector<std::vector<std::pair<std::string, std::string>>> spellings = {
      {{"vision_tower.", "vision_tower.vision_model."}},
      {{"language_model.model.", "model.language_model."},
       {"language_model.lm_head", "lm_head"},
       {"multi_modal_projector", "model.multi_modal_projector"},
       {"vision_tower.", "model.vision_tower."}},
      {{"language_model.model.", "model."},
       {"language_model.lm_head", "lm_head"},
       {"multi_modal_projector.linear_1", "model.mm_projector.0"},
       {"multi_modal_projector.linear_2", "model.mm_projector.2"},
       {"vision_tower.", "model.vision_tower.vision_tower.vision_model."}},
  };
  for (const auto& rules : spellings) {
    write_safetensors((dir / "other.safetensors").string(), renamed(rules));
    fs::rename(dir / "other.safetensors", dir / "model.safetensors");
    const Model model(dir.string(), Device::cpu, DType::f32);
    EXPECT_EQ(model.num_parameters(), expected.num_parameters());
    const Tensor &a = model.weights.layers[1].linears[kDownProj].weight,
                 &b = expected.weights.layers[1].linears[kDownProj].weight;
    EXPECT_EQ(std::memcmp(a.data, b.data, a.bytes()), 0);
  }
}

TEST_F(LoadTest, ConfigurationErrorsNameTheKey) {
  const auto config = [&](const std::string& from, const std::string& to, const std::string& part) {
    copy("tiny-mha");
    replace("config.json", from, to);
    expect_message(part);
  };
  config("\"model_type\": \"llava\"", "\"model_type\": \"llava_two\"",
         "config.json: model_type: expected \"idefics3\", \"llama\", \"llava\", \"llava_next\", \"mistral\", "
         "\"qwen2\", \"qwen2_5_vl\", \"qwen2_vl\", \"qwen3\", \"qwen3_vl\" or \"smolvlm\", got \"llava_two\" (the "
         "nearest family is "
         "llava; sample --endpoint "
         "takes");
  const std::vector<std::pair<std::string, std::string>> near = {
      {"mixtral", "nearest family is mistral;"},  {"ministral", "nearest family is mistral;"},
      {"qwen3_moe", "nearest family is qwen3;"},  {"qwen3_vl_moe", "nearest family is qwen3_vl;"},
      {"qwen2_moe", "nearest family is qwen2;"},  {"qwen2_5_omni", "nearest family is qwen2_5_vl;"},
      {"smolvlm2", "nearest family is smolvlm;"}, {"gemma3", "nearest family is llama;"},
      {"", "expected \"idefics3\", \"llama\""}};
  for (const auto& [type, part] : near)
    config("\"model_type\": \"llava\"", cat("\"model_type\": \"", type, "\""), part);
  config("\"model_type\": \"llama\"", "\"model_type\": \"mistral\"", "text_config: model_type");
  config("\"model_type\": \"clip_vision_model\"", "\"model_type\": \"siglip_vision_model\"",
         "vision_config: model_type");
  config("\"hidden_act\": \"silu\"", "\"hidden_act\": \"gelu\"", "text_config: hidden_act");
  config("\"rope_type\": \"default\"", "\"rope_type\": \"yarn\"",
         "rope_type: expected \"default\", \"linear\" or \"llama3\", got \"yarn\"");
  config("\"vision_feature_layer\": -2", "\"vision_feature_layer\": [-2, -5]", "vision_feature_layer");
  config("\"vision_feature_layer\": -2", "\"vision_feature_layer\": -9", "vision_feature_layer");
  config("\"vision_feature_select_strategy\": \"default\"", "\"vision_feature_select_strategy\": \"cls\"",
         "vision_feature_select_strategy");
  config("\"projector_hidden_act\": \"gelu\"", "\"projector_hidden_act\": \"relu\"", "projector_hidden_act");
  config("\"num_key_value_heads\": 4", "\"num_key_value_heads\": 3", "num_key_value_heads");
  config("\"intermediate_size\": 104", "\"intermediate_size\": -1", "intermediate_size");
  config("\"intermediate_size\": 104", "\"intermediate_size\": \"x\"", "intermediate_size");
  config("\"image_token_index\": 787", "\"image_token_index\": 900", "image_token_index");
  config("\"image_seq_length\": 16", "\"quantization_config\": {}", "quantization_config");
  copy("tiny-mha");
  write("config.json", "{\"model_type\": \"llava\"");
  expect_message("bad JSON");
  fs::remove(dir / "config.json");
  expect_message("config.json: expected a file");
}

TEST_F(LoadTest, TensorErrorsNameTheTensor) {
  copy("tiny-mha");
  const Safetensors hub((dir / "model.safetensors").string());
  const auto rewrite = [&](auto change) {
    NamedTensors tensors;
    for (const auto& [name, t] : hub.tensors()) tensors.emplace_back(name, hub.view(name));
    change(tensors);
    write_safetensors((dir / "other.safetensors").string(), tensors);
    fs::rename(dir / "other.safetensors", dir / "model.safetensors");
  };
  const std::string victim = "language_model.model.layers.1.mlp.up_proj.weight";
  rewrite([&](auto& t) { std::erase_if(t, [&](const auto& p) { return p.first == victim; }); });
  expect_message(victim + ": expected a tensor of shape [104, 48], got none");
  rewrite([&](auto& t) { t.emplace_back("image_newline", t[0].second); });
  expect_message("image_newline: expected no such tensor in a llava model");
  rewrite([&](auto& t) {
    for (auto& [name, tensor] : t) {
      if (name == victim) tensor = tensor.reshaped({48, 104});
    }
  });
  expect_message(victim + ": shape: expected [104, 48], got [48, 104]");
  rewrite([&](auto& t) { t.emplace_back("language_model.model.layers.0.self_attn.rotary_emb.inv_freq", t[0].second); });
  EXPECT_EQ(message(), "");  // a buffer of old checkpoints
  fs::remove(dir / "model.safetensors");
  expect_message("expected model.safetensors or model.safetensors.index.json");
}

TEST_F(LoadTest, ShardErrorsNameTheirCause) {
  copy("tiny-gqa");
  EXPECT_EQ(message(), "");
  const std::string index = read_text(dir / "model.safetensors.index.json");
  fs::remove(dir / "model-00003-of-00006.safetensors");
  expect_message("model-00003-of-00006.safetensors");
  copy("tiny-gqa");
  replace("model.safetensors.index.json", "model-00002-of-00006.safetensors", "../../etc/passwd");
  expect_message("expected a file name");
  copy("tiny-gqa");
  replace("model.safetensors.index.json", "model-00002-of-00006.safetensors", "model-00001-of-00006.safetensors");
  expect_message("the index names it");
  write("model.safetensors.index.json", "{\"weight_map\": 3}");
  expect_message("weight_map: expected an object");
}

TEST_F(LoadTest, AdapterErrorsNameTheirCause) {
  const std::string adapter = fixture("golden/models/adapters/a");
  const auto error = [&](const std::string& model, auto change) {
    fs::remove_all(dir);
    fs::create_directories(dir);
    for (const auto& entry : fs::directory_iterator(adapter))
      fs::copy_file(entry.path(), dir / entry.path().filename());
    change();
    try {
      Model m(fixture(model), Device::cpu, DType::f32);
      m.add_adapter(dir.string());
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string();
  };
  const auto expect = [](const std::string& got, const std::string& part) {
    EXPECT_NE(got.find(part), std::string::npos) << "expected '" << part << "' in: " << got;
  };
  EXPECT_EQ(error("tiny-mha", [] {}), "");
  expect(error("tiny-gqa", [] {}), "unknown path");  // it has one layer less
  expect(error("tiny-llama3", [] {}), "shape: expected");
  expect(error("tiny-text", [] {}), "unknown path");
  expect(error("tiny-mha", [&] { replace("adapter_config.json", "\"use_dora\": false", "\"use_dora\": true"); }),
         "use_dora");
  expect(
      error("tiny-mha", [&] { replace("adapter_config.json", "\"peft_type\": \"LORA\"", "\"peft_type\": \"IA3\""); }),
      "peft_type");
  expect(error("tiny-mha", [&] { replace("adapter_config.json", "\"bias\": \"none\"", "\"bias\": \"all\""); }), "bias");
  expect(error("tiny-mha", [&] { replace("adapter_config.json", "\"r\": 4", "\"r\": 8"); }), "rank: expected 8");
  expect(error("tiny-mha",
               [&] { replace("adapter_config.json", "\"rank_pattern\": {}", "\"rank_pattern\": {\"(\": 8}"); }),
         "regular expression");
  expect(error("tiny-mha", [&] { fs::remove(dir / "adapter_model.safetensors"); }),
         "adapter_model.safetensors: expected a file");
  expect(error("tiny-mha", [&] { write("adapter_model.safetensors", "x"); }), "at least 8 bytes");
}

// Head and embedding are tied by config.json; the files may have a head of their own, and an adapter another
// (modules_to_save).
TEST_F(LoadTest, AnAdaptersHeadReplacesTheFilesHead) {
  std::list<Safetensors> shards;
  NamedTensors base;
  Tensor embedding;
  for (const auto& entry : fs::directory_iterator(fixture("tiny-gqa"))) {
    if (entry.path().extension() != ".safetensors") continue;
    const Safetensors& shard = shards.emplace_back(entry.path().string());
    for (const auto& [key, stored] : shard.tensors()) {
      base.emplace_back(key, shard.view(key));
      if (key.ends_with("embed_tokens.weight")) embedding = base.back().second;
    }
  }
  const std::string name = "language_model.lm_head.weight";
  const auto filled = [&](float value) { return std::vector<float>(size_t(embedding.numel()), value); };
  std::vector<float> of_files = filled(1), of_adapter = filled(2), zeros(64 * 48);
  const auto head = [&](std::vector<float>& values) {
    return Tensor(values.data(), DType::f32, {embedding.dim(0), embedding.dim(1)});
  };
  for (const bool untied : {false, true}) {
    copy("tiny-gqa");
    for (const auto& entry : fs::directory_iterator(fixture("tiny-gqa")))
      if (entry.path().filename().string().starts_with("model")) fs::remove(dir / entry.path().filename());
    NamedTensors tensors = base;
    if (untied) tensors.emplace_back(name, head(of_files));
    write_safetensors((dir / "model.safetensors").string(), tensors, {});
    const std::string q = "base_model.model.language_model.model.layers.0.self_attn.q_proj.lora_";
    const NamedTensors saved = {{q + "A.weight", Tensor(zeros.data(), DType::f32, {2, 48})},
                                {q + "B.weight", Tensor(zeros.data(), DType::f32, {64, 2})},
                                {"base_model.model." + name, head(of_adapter)}};
    fs::create_directories(dir / "adapter");
    write_safetensors((dir / "adapter/adapter_model.safetensors").string(), saved, {});
    write(
        "adapter/adapter_config.json",
        R"({"peft_type": "LORA", "r": 2, "lora_alpha": 2, "target_modules": ["q_proj"], "modules_to_save": ["lm_head"]})");
    Model model(dir.string(), Device::cpu, DType::f32);
    EXPECT_EQ(model.config.text.tie_word_embeddings, !untied);
    EXPECT_EQ(model.weights.lm_head.weight.as<float>()[0] == 1, untied);
    model.add_adapter((dir / "adapter").string());
    EXPECT_EQ(model.weights.lm_head.weight.as<float>()[0], 2) << untied;
    EXPECT_FALSE(model.config.text.tie_word_embeddings);
  }
}

TEST_F(LoadTest, LinearAndLlama3RopeFollowTransformers) {
  const Model scaled(fixture("tiny-llama3"), Device::cpu, DType::f32),
      linear(fixture("tiny-text"), Device::cpu, DType::f32);
  // The highest frequencies are unchanged, the lowest are divided by the factor (8; 2 for linear).
  EXPECT_FLOAT_EQ(scaled.config.text.inv_freq.front(), 1.0f);
  EXPECT_NEAR(scaled.config.text.inv_freq.back() * 8, std::pow(500000.0, -30.0 / 32), 1e-9);
  EXPECT_FLOAT_EQ(linear.config.text.inv_freq.front(), 0.5f);
}

// Random damage to header bytes, configuration bytes and file length gives an error or a model, never a crash. The
// seeds are fixed, except with --gtest_shuffle --gtest_repeat=N, which uses new ones (make sanitize).
TEST_F(LoadTest, RandomDamageNeverCrashes) {
  const uint64_t seed = uint64_t(testing::UnitTest::GetInstance()->random_seed());
  int loaded = 0, refused = 0;
  for (uint32_t round = 0; round < 120; ++round) {
    const bool adapter = round % 4 == 3;
    copy(round % 2 ? "tiny-gqa" : "tiny-mha");
    const auto draw = [&, k = 0u](uint32_t n) mutable { return philox4x32(2024 + seed, {round, k++, 0, 0})[0] % n; };
    auto any = draw;
    std::vector<std::string> files;
    if (adapter) {
      for (const auto& e : fs::directory_iterator(fixture("golden/models/adapters/a")))
        fs::copy_file(e.path(), dir / e.path().filename());
      files = {"adapter_config.json", "adapter_model.safetensors"};
    } else {
      for (const auto& e : fs::directory_iterator(dir)) {
        const std::string name = e.path().filename().string();
        if (name.ends_with(".safetensors") || name.ends_with("config.json") || name.ends_with(".index.json"))
          files.push_back(name);
      }
    }
    std::sort(files.begin(), files.end());
    const std::string file = files[any(uint32_t(files.size()))];
    std::string text = read_text(dir / file);
    const uint32_t reach = uint32_t(std::min<size_t>(text.size(), file.ends_with(".json") ? text.size() : 6000));
    for (uint32_t n = 1 + any(4); n > 0; --n) {
      const uint32_t at = any(reach);
      switch (any(5)) {
        case 4: {  // a number becomes an extreme one
          constexpr const char* kExtremes[] = {"0",
                                               "-1",
                                               "2147483647",
                                               "2147483648",
                                               "9223372036854775807",
                                               "-9223372036854775808",
                                               "18446744073709551615",
                                               "1e308",
                                               "0.5",
                                               "null"};
          const size_t begin = text.find_first_of("0123456789", at);
          if (begin == std::string::npos || begin >= reach) break;
          text.replace(begin, std::max<size_t>(1, text.find_first_not_of("0123456789.", begin) - begin),
                       kExtremes[any(10)]);
          break;
        }
        case 0:
          text[at] = char(any(256));
          break;
        case 1:
          text[at] = char('0' + any(10));
          break;
        case 2:
          text.erase(at, 1 + any(8));
          break;
        default:
          text.insert(at, std::string(1 + any(3), "0\"{}[],:-9"[any(10)]));
          break;
      }
      if (text.size() < reach) break;
    }
    if (any(8) == 0) text.resize(any(uint32_t(text.size()) + 1));
    write(file, text);
    try {
      Model model(dir.string(), Device::cpu, DType::f32);
      if (adapter) model.add_adapter(dir.string());
      Context ctx(Device::cpu, 1);
      model.prepare(ctx);
      ++loaded;
    } catch (const Error& e) {
      EXPECT_STRNE(e.what(), "");
      ++refused;
    }
  }
  if (seed == 0) {
    EXPECT_GT(refused, 30);
    EXPECT_GT(loaded, 2);
  }
}

// A sparse 14 GB file with a hole instead of weights: opening it reads only the header.
TEST_F(LoadTest, ASparseFourteenGigabyteFileOpensAtOnce) {
  fs::create_directories(dir);
  const std::string path = (dir / "big.safetensors").string();
  const uint64_t bytes = uint64_t(14) << 30;
  std::string header = "{\"w\":{\"dtype\":\"F16\",\"shape\":[" + std::to_string(bytes / 2) + "],\"data_offsets\":[0," +
                       std::to_string(bytes) + "]}}";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  {
    std::ofstream out(path, std::ios::binary);
    for (int i = 0; i < 8; ++i) out.put(char(uint64_t(header.size()) >> (8 * i)));
    out << header;
  }
  std::error_code error;
  fs::resize_file(path, 8 + header.size() + bytes, error);
  if (error) GTEST_SKIP() << "this file system has no sparse files: " << error.message();
  const Safetensors file(path);
  EXPECT_EQ(file.tensors().at("w").shape[0], int64_t(bytes / 2));
  EXPECT_EQ(static_cast<const char*>(file.view("w").data)[bytes - 1], 0);
}

}  // namespace
}  // namespace vpref
