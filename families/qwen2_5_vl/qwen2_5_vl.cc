// SPDX-License-Identifier: Apache-2.0
// Qwen2.5-VL: Qwen2-VL with RMSNorm and SwiGLU in the tower; most of its layers use window attention.
#include <algorithm>

#include "core/error.h"
#include "families/qwen2_vl/qwen2_vl.h"

namespace vpref {

namespace {

constexpr int64_t kMaxSize = 1 << 20;

class Qwen25Vision : public QwenVision {
 public:
  Qwen25Vision(QwenVisionConfig config, int32_t window) : QwenVision(std::move(config)), window_(window) {}

 protected:
  QwenOrder order(const CropSize& merged) const override;

 private:
  int32_t window_;  // side of a window, in merged rows
};

// Windows in row-major order, and rows in row-major order inside each; windows at the right and at the bottom may be
// smaller. Source: transformers vision_utils get_vision_window_index.
QwenOrder Qwen25Vision::order(const CropSize& merged) const {
  QwenOrder order;
  for (int32_t top = 0; top < merged.height; top += window_) {
    for (int32_t left = 0; left < merged.width; left += window_) {
      const int32_t bottom = std::min(top + window_, merged.height), right = std::min(left + window_, merged.width);
      for (int32_t y = top; y < bottom; ++y) {
        for (int32_t x = left; x < right; ++x) order.rows.push_back(y * merged.width + x);
      }
      order.windows.push_back((bottom - top) * (right - left));
    }
  }
  return order;
}

ModelConfig parse_config(const ConfigReader& config) { return parse_qwen2_vl_config(config, "qwen2_5_vl"); }

std::unique_ptr<Vision> make_vision(const ConfigReader& config, const ModelConfig& parsed) {
  const ConfigReader vision = config.object("vision_config");
  const std::string type = vision.string("model_type", "qwen2_5_vl_vision");
  if (type != "qwen2_5_vl_vision" && type != "qwen2_5_vl")
    vision.fail("model_type", "\"qwen2_5_vl_vision\" or \"qwen2_5_vl\"");
  QwenVisionConfig c{.names = {.layers = "blocks.",
                               .norm1 = "norm1",
                               .norm2 = "norm2",
                               .qkv = "attn.qkv",
                               .out_proj = "attn.proj",
                               .gate = "mlp.gate_proj",
                               .fc1 = "mlp.up_proj",
                               .fc2 = "mlp.down_proj"}};
  if (vision.integer("out_hidden_size", 3584, 1, kMaxSize) != parsed.text.hidden_size)
    vision.fail("out_hidden_size", cat(parsed.text.hidden_size, ", the decoder's hidden_size"));
  c.tower.hidden_size = vision.integer("hidden_size", 3584, 1, kMaxSize);
  c.tower.intermediate_size = vision.integer("intermediate_size", 3420, 1, kMaxSize);
  if (vision.string("hidden_act", "silu") != "silu") vision.fail("hidden_act", "\"silu\"");
  c.tower.norm = VitNorm::rms;
  c.tower.mlp = VitMlp::swiglu;
  parse_qwen_vision(vision, parsed, c);
  const int32_t window = vision.integer("window_size", 112, 1, 1 << 20) / c.spatial_merge_size / c.patch_size;
  if (window == 0) vision.fail("window_size", cat("at least ", c.spatial_merge_size * c.patch_size, " pixels"));
  c.tower.windowed.assign(size_t(c.tower.num_hidden_layers), true);
  for (const int32_t layer : vision.integers("fullatt_block_indexes", {7, 15, 23, 31})) {
    if (layer < c.tower.num_hidden_layers) c.tower.windowed[size_t(layer)] = false;
  }
  return std::make_unique<Qwen25Vision>(std::move(c), window);
}

}  // namespace

extern const Family qwen2_5_vl_family;
const Family qwen2_5_vl_family = {"qwen2_5_vl", parse_config, make_vision, list_qwen_decoder};

}  // namespace vpref
