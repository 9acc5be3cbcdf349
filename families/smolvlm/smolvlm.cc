// SPDX-License-Identifier: Apache-2.0
// SmolVLM 2, and Idefics3, the model type of SmolVLM 1: SigLIP tower on tiles of one size -> pixel shuffle and one
// linear -> Llama. Both have the same mathematics and names.
#include <algorithm>

#include "core/error.h"
#include "core/memory.h"
#include "families/llama/llama.h"
#include "model/linear.h"
#include "model/vit.h"
#include "ops/rows.h"

namespace vpref {

namespace {

constexpr int64_t kMaxSize = 1 << 20;

struct SmolvlmConfig {
  VitConfig tower;
  int32_t image_size, patch_size;
  int32_t scale_factor;  // patches per side of an image row's square
  int64_t text_hidden_size;
  int32_t side() const { return image_size / patch_size; }
  int32_t num_patches() const { return side() * side(); }
  int32_t num_rows() const { return num_patches() / (scale_factor * scale_factor); }
};

// Each crop is one run; the text that marks its place separates two runs.
class SmolvlmVision : public Vision {
 public:
  explicit SmolvlmVision(const SmolvlmConfig& config) : config_(config) {}

  ImageLayout layout(const ImageShape& image) const override {
    check(!image.crops.empty(), "request", "image: expected at least one crop, got none");
    for (const CropSize& crop : image.crops) {
      check(crop.height == config_.image_size && crop.width == config_.image_size, "request",
            "image: expected crops of ", config_.image_size, " x ", config_.image_size, " pixels, got ", crop.width,
            " x ", crop.height);
    }
    ImageLayout layout{.runs = std::vector<int32_t>(image.crops.size(), config_.num_rows())};
    layout.position_span = layout.num_rows();
    return layout;
  }
  int64_t num_features(const ImageShape& image) const override {
    return int64_t(layout(image).runs.size()) * config_.num_patches();
  }
  int64_t feature_width() const override { return config_.tower.hidden_size; }
  int64_t max_features_per_row() const override { return int64_t(config_.scale_factor) * config_.scale_factor; }

  void list_tensors(FamilyTensors& out) override;
  std::vector<ConnectorPart> connector() override {
    return {{"model.connector.modality_projection.proj.weight", &projection_.weight}};
  }

  void features(Context& ctx, std::span<const Image* const> images, const Normalisation& normalisation,
                const Tensor& features, Arena& scratch) const override;
  void connect(Context& ctx, const Tensor& features, std::span<const ImageShape>, const Tensor& rows,
               std::vector<Tensor>*, Arena& arena) const override {
    linear_forward(ctx, projection_, shuffled(features), rows, arena);
  }
  void connect_backward(Context& ctx, const Tensor& features, std::span<const ImageShape>, const std::vector<Tensor>&,
                        const Tensor& drows, std::span<const Tensor> grads, Arena& scratch) const override {
    linear_backward(ctx, projection_, drows, shuffled(features), nullptr, {.weight = grads[0]}, scratch);
  }

 private:
  PatchShape patch() const { return {.size = config_.patch_size, .block = config_.scale_factor}; }
  // Features are in block order, so the pixel shuffle (channels of k x k patches in the order dy, dx, channel) moves no
  // data.
  Tensor shuffled(const Tensor& features) const {
    return features.reshaped({features.dim(0) / max_features_per_row(), features.dim(1) * max_features_per_row()});
  }

  SmolvlmConfig config_;
  VitWeights tower_;
  Linear projection_;  // [D, C k^2]
};

void SmolvlmVision::list_tensors(FamilyTensors& out) {
  const int64_t c = config_.tower.hidden_size, p = config_.patch_size;
  const int tower = out.add_group({{"model.vision_model."}, "model.vision_model.", {}});
  out.tensors.push_back(
      {&tower_.patch_embedding.weight, {c, 3, p, p}, {c, 3 * p * p}, tower, "embeddings.patch_embedding.weight"});
  out.add(&tower_.patch_embedding.bias, {c}, tower, "embeddings.patch_embedding.bias");
  out.add(&tower_.position_embedding, {config_.num_patches(), c}, tower, "embeddings.position_embedding.weight");
  out.tensors.back().summed = true;
  list_vit_layers(config_.tower, kClipVitNames, tower, tower_, out);
  list_vit_norm(tower_.post_norm, VitNorm::layer, c, tower, "post_layernorm", out);
  const int connector = out.add_group({{"model.connector."}, "model.connector.", {}});
  out.add_linear(projection_, config_.text_hidden_size, c * max_features_per_row(), false, connector,
                 "modality_projection.proj");
}

void SmolvlmVision::features(Context& ctx, std::span<const Image* const> images, const Normalisation& normalisation,
                             const Tensor& features, Arena& scratch) const {
  const size_t mark = scratch.mark();
  const int64_t c = config_.tower.hidden_size, each = config_.num_patches(), num_crops = features.dim(0) / each;
  const Tensor patches = scratch.tensor(features.dtype, {num_crops * each, patch().width()});
  write_patches(ctx, images, normalisation, patch(), patches);
  const std::vector<int32_t> order = block_order(config_.side(), config_.side(), config_.scale_factor);
  const Tensor index = scratch.tensor(DType::i32, {each}), table = scratch.tensor(features.dtype, {each, c});
  copy_to_device(ctx, index.data, order.data(), index.bytes());
  gather_rows(ctx, tower_.position_embedding, index, table);
  vit_embed(ctx, config_.tower, tower_, {patches, num_crops, table}, features, scratch);
  scratch.release(mark);
  const AttentionPlan plan = vit_plan(std::vector<int32_t>(size_t(num_crops), int32_t(each)), features.dim(0));
  vit_layers(ctx, config_.tower, tower_, {.plan = &plan}, features, scratch);
}

SmolvlmConfig parse_vision(const ConfigReader& top, const ModelConfig& parsed) {
  const ConfigReader config = top.object("vision_config");
  const std::string type = config.string("model_type", "idefics3_vision");
  if (type != "idefics3_vision" && type != "smolvlm_vision" && type != "idefics3")
    config.fail("model_type", "\"idefics3_vision\", \"smolvlm_vision\" or \"idefics3\"");
  SmolvlmConfig c{};
  // Defaults of absent keys: Idefics3VisionConfig's.
  c.tower.hidden_size = config.integer("hidden_size", 1152, 1, kMaxSize);
  c.tower.intermediate_size = config.integer("intermediate_size", 3072, 1, kMaxSize);
  c.tower.num_hidden_layers = c.tower.num_layers_used = config.integer("num_hidden_layers", 12, 1, 1024);
  c.tower.num_attention_heads = config.integer("num_attention_heads", 16, 1, 4096);
  if (c.tower.hidden_size % c.tower.num_attention_heads != 0)
    config.fail("num_attention_heads", cat("a divisor of hidden_size ", c.tower.hidden_size));
  if (config.integer("num_channels", 3, 1, 64) != 3) config.fail("num_channels", "3");
  c.tower.eps = float(config.number("layer_norm_eps", 1e-6));
  if (config.string("hidden_act", "gelu_pytorch_tanh") != "gelu_pytorch_tanh")
    config.fail("hidden_act", "\"gelu_pytorch_tanh\"");
  c.tower.hidden_act = Gelu::tanh;
  c.tower.post_norm = true;
  c.image_size = config.integer("image_size", 224, 1, 1 << 14);
  c.patch_size = config.integer("patch_size", 32, 1, 1 << 14);
  c.scale_factor = top.integer("scale_factor", 2, 1, 64);
  if (c.patch_size > c.image_size || c.side() % c.scale_factor != 0)
    config.fail("patch_size", cat("a grid of patches that scale_factor ", c.scale_factor, " divides"));
  c.text_hidden_size = parsed.text.hidden_size;
  return c;
}

ModelConfig parse_config(const ConfigReader& config) {
  if (!config.has("text_config")) config.fail("text_config", "an object");  // the class's default has another eps
  const ConfigReader text = config.object("text_config");
  for (const char* key : {"qk_layer_norms", "use_resampler"}) {
    if (text.boolean(key, false)) text.fail(key, "false");
  }
  ModelConfig c;
  c.model_type = config.string("model_type", "");
  c.text = parse_llama_text(text);
  c.text.tie_word_embeddings = config.boolean("tie_word_embeddings", false);
  c.modules = {"model.text_model.", {"modality_projection"}};
  read_vision_model(config, text, {.eos = {2}, .bos = 1, .image = 128257}, c);
  return c;
}

std::unique_ptr<Vision> make_vision(const ConfigReader& config, const ModelConfig& parsed) {
  return std::make_unique<SmolvlmVision>(parse_vision(config, parsed));
}

FamilyTensors list_tensors(const ModelConfig& config, Weights& weights) {
  FamilyTensors out;
  const int text = out.add_group({{"model.text_model."}, config.modules.text, {}});
  const int head = out.add_group({{""}, "", {}});
  list_llama_tensors(config.text, weights, text, head, out);
  return out;
}

}  // namespace

extern const Family smolvlm_family, idefics3_family;
const Family smolvlm_family = {"smolvlm", parse_config, make_vision, list_tensors};
const Family idefics3_family = {"idefics3", parse_config, make_vision, list_tensors};

}  // namespace vpref
