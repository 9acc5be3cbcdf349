// SPDX-License-Identifier: Apache-2.0
// The names of every family's tensors in each known layout: hub, transformers 5, a module tree with the prefixes of
// FSDP, DDP, DeepSpeed, torch.compile and peft; in one file or several, in each dtype; and adapters likewise.
// Covers native/model/family_tensors.cc
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "core/error.h"
#include "model/json.h"
#include "model/load.h"
#include "ops/elementwise.h"

namespace vpref {
namespace {

namespace fs = std::filesystem;

using Renames = std::vector<std::pair<std::string, std::string>>;  // prefix in the fixture -> prefix to write

struct Layouts {
  const char* name;  // folder in fixtures
  // The decoder's linears in transformers' module tree, then other spellings of them.
  std::string tree;
  std::vector<std::string> usual, odd;
  std::vector<Renames> layouts;
};

const Renames kAsIs;

const std::vector<Layouts> kFamilies = {
    {"families/qwen2", "model.layers.", {}, {"layers."}, {kAsIs, {{"model.", ""}}}},
    {"families/qwen3", "model.layers.", {}, {"layers."}, {kAsIs, {{"model.", ""}}}},
    {"families/mistral", "model.layers.", {}, {"layers."}, {kAsIs, {{"model.", ""}}}},
    {"tiny-text", "model.layers.", {}, {"layers."}, {kAsIs, {{"model.", ""}}}},
    {"families/qwen2_vl",
     "model.language_model.layers.",
     {},
     {"model.layers."},
     {kAsIs, {{"model.", "model.language_model."}, {"visual.", "model.visual."}}}},
    {"families/qwen2_5_vl",
     "model.language_model.layers.",
     {},
     {"model.layers."},
     {kAsIs, {{"model.", "model.language_model."}, {"visual.", "model.visual."}}}},
    {"families/qwen3_vl", "model.language_model.layers.", {}, {}, {kAsIs}},
    {"families/smolvlm", "model.text_model.layers.", {}, {}, {kAsIs}},
    {"families/own-tiles/idefics3-odd", "model.text_model.layers.", {}, {}, {kAsIs}},
    {"families/llava_next",
     "model.language_model.layers.",
     {"language_model.model.layers."},
     {"model.layers."},
     {kAsIs,
      {{"vision_tower.vision_model.", "vision_tower."}},
      {{"language_model.model.", "model.language_model."},
       {"language_model.lm_head", "lm_head"},
       {"vision_tower.vision_model.", "model.vision_tower."},
       {"multi_modal_projector.", "model.multi_modal_projector."},
       {"image_newline", "model.image_newline"}}}},
    {"tiny-mha",
     "model.language_model.layers.",
     {"language_model.model.layers."},
     {"model.layers."},
     {kAsIs,
      {{"language_model.model.", "model.language_model."},
       {"language_model.lm_head", "lm_head"},
       {"vision_tower.", "model.vision_tower."},
       {"multi_modal_projector.", "model.multi_modal_projector."}}}},
};

// Prefixes of training wrappers in a module tree.
std::string wrapped(const std::string& name, int kind) {
  if (kind == 1) return "module." + name;
  if (kind == 2) return "base_model.model." + name;
  if (kind == 3) return "_orig_mod.module." + name;
  const size_t layers = name.find("layers.");
  if (kind != 4 || layers == std::string::npos) return name;
  const size_t end = name.find('.', layers + 7);
  return "_fsdp_wrapped_module." + name.substr(0, end) + "._fsdp_wrapped_module._checkpoint_wrapped_module" +
         name.substr(end);
}

class LayoutsTest : public testing::TestWithParam<Layouts> {
 protected:
  fs::path dir = fs::temp_directory_path() / ("vpref-layouts-" + std::to_string(::getpid()));
  void SetUp() override { fs::create_directories(dir); }
  void TearDown() override { fs::remove_all(dir); }

  std::string source() const {
    const std::string at = std::string(VPREF_FIXTURES) + "/" + GetParam().name;
    return fs::exists(at + "/ckpt") ? at + "/ckpt" : at;
  }
  // Writes the checkpoint in another layout, `files` shards of that dtype.
  void write(const Renames& renames, int wrap, DType dtype, int files) {
    fs::remove_all(dir);
    fs::create_directories(dir);
    fs::copy_file(source() + "/config.json", dir / "config.json");
    std::vector<NamedTensors> shards(static_cast<size_t>(files));
    const Safetensors from(source() + "/model.safetensors");
    buffers_.clear();
    std::string map;
    size_t i = 0;
    for (const auto& [name, stored] : from.tensors()) {
      std::string to = name;
      for (const auto& [old, prefix] : renames) {
        if (!name.starts_with(old)) continue;
        to = prefix + name.substr(old.size());
        break;
      }
      to = wrapped(to, wrap);
      const size_t shard = i++ % size_t(files);
      shards[shard].emplace_back(to, in_dtype(from.view(name), dtype));
      map += cat(map.empty() ? "" : ", ", json_quote(to), ": \"part-", shard, ".safetensors\"");
    }
    if (files == 1) return write_safetensors((dir / "model.safetensors").string(), shards[0]);
    for (size_t s = 0; s < shards.size(); ++s)
      write_safetensors((dir / cat("part-", s, ".safetensors")).string(), shards[s]);
    std::ofstream(dir / "model.safetensors.index.json") << "{\"weight_map\": {" << map << "}}";
  }
  Tensor in_dtype(const Tensor& t, DType dtype) {
    Context ctx(Device::cpu, 1);
    const Tensor flat = t.reshaped({1, t.numel()});
    buffers_.emplace_back(Device::cpu, aligned(size_t(t.numel()) * dtype_size(dtype)));
    const Tensor out(buffers_.back().data(), dtype, {1, t.numel()});
    convert(ctx, flat, out);
    Tensor shaped = t;
    shaped.data = out.data;
    shaped.dtype = dtype;
    return shaped;
  }

 private:
  std::vector<Buffer> buffers_;
};

TEST_P(LayoutsTest, EveryLayoutIsTheSameModel) {
  const Model expected(source(), Device::cpu, DType::f32);
  int variant = 0;
  const DType dtypes[] = {DType::f32, DType::bf16, DType::f16};
  for (const Renames& renames : GetParam().layouts) {
    for (int wrap = 0; wrap < 5; ++wrap, ++variant) {
      SCOPED_TRACE(cat("layout ", variant / 5, " wrapped ", wrap));
      const DType dtype = dtypes[variant % 3];
      write(renames, wrap, dtype, 1 + variant % 2);
      const Model model(dir.string(), Device::cpu, DType::f32);
      EXPECT_EQ(model.num_parameters(), expected.num_parameters());
      EXPECT_EQ(model.stored_dtype(), dtype);
      EXPECT_EQ(model.notes().size(), wrap == 0 ? 0u : 1u);
      ASSERT_EQ(model.stored_names().size(), expected.stored_names().size());
      const Tensor &got = model.weights.layers.back().linears[kDownProj].weight,
                   &want = expected.weights.layers.back().linears[kDownProj].weight;
      const Tensor rounded = in_dtype(want, dtype);
      EXPECT_EQ(std::memcmp(got.data, rounded.data, rounded.bytes()), 0);
    }
  }
}

TEST_P(LayoutsTest, ATensorTwiceOrLorasOwnIsRefused) {
  write(kAsIs, 0, DType::f32, 1);
  const Safetensors from((dir / "model.safetensors").string());
  const auto refused = [&](const std::string& added, const std::string& part) {
    NamedTensors all;
    for (const auto& [name, stored] : from.tensors()) all.emplace_back(name, from.view(name));
    all.emplace_back(added, all.front().second);
    fs::create_directories(dir / "more");
    fs::copy_file(dir / "config.json", dir / "more/config.json", fs::copy_options::overwrite_existing);
    write_safetensors((dir / "more/model.safetensors").string(), all);
    try {
      Model model((dir / "more").string(), Device::cpu, DType::f32);
      ADD_FAILURE() << "taken: " << added;
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << e.what();
    }
  };
  const std::string name = from.tensors().begin()->first;
  refused("module." + name, "also in");
  refused("base_model.model." + GetParam().tree + "0.self_attn.q_proj.lora_A.default.weight",
          "lora_A.default.weight: expected no such tensor");
}

// The fixture's adapter, under each spelling of its keys.
TEST_P(LayoutsTest, EveryAdapterSpellingIsTaken) {
  const std::string root = "base_model.model.", of = GetParam().tree;
  const std::string path = "0.self_attn.q_proj";
  struct Spelling {
    std::string prefix, infix;
    bool usual;
  };
  std::vector<Spelling> spellings = {{root + of, ".", true},
                                     {root + of, ".default.", true},
                                     {of, ".", false},
                                     {"module." + root + of, ".", false},
                                     {root + "_fsdp_wrapped_module." + of, ".", false},
                                     {root + "module." + of, ".default.", false}};
  for (const std::string& other : GetParam().usual) spellings.push_back({root + other, ".", true});
  for (const std::string& other : GetParam().odd) spellings.push_back({root + other, ".", false});
  std::ofstream(dir / "adapter_config.json") << R"({"peft_type": "LORA", "r": 2, "target_modules": ["q_proj"]})";
  for (const Spelling& s : spellings) {
    SCOPED_TRACE(s.prefix + s.infix);
    Model model(source(), Device::cpu, DType::f32);
    const Linear& linear = model.weights.layers[0].linears[kQProj];
    std::vector<float> values(size_t(2 * std::max(linear.weight.dim(0), linear.weight.dim(1))), 0.5f);
    const Tensor a(values.data(), DType::f32, {2, linear.weight.dim(1)}),
        b(values.data(), DType::f32, {linear.weight.dim(0), 2});
    write_safetensors(
        (dir / "adapter_model.safetensors").string(),
        {{s.prefix + path + ".lora_A" + s.infix + "weight", a}, {s.prefix + path + ".lora_B" + s.infix + "weight", b}});
    model.add_adapter(dir.string());
    EXPECT_EQ(linear.adapters.size(), 1u);
    EXPECT_EQ(model.notes().size(), s.usual ? 0u : 1u);
    if (!s.usual) {
      EXPECT_NE(model.notes().back().find("2 names are spelled as other versions do"), std::string::npos);
    }
    ASSERT_EQ(model.adapters().back().loras.size(), 1u);
    EXPECT_EQ(model.adapters().back().loras[0].module, of + path);
  }
}

INSTANTIATE_TEST_SUITE_P(All, LayoutsTest, testing::ValuesIn(kFamilies), [](const auto& info) {
  std::string name = info.param.name;
  name = name.substr(name.find_last_of('/') + 1);
  for (char& c : name) c = c == '-' ? '_' : c;
  return name;
});

}  // namespace
}  // namespace vpref
