// SPDX-License-Identifier: Apache-2.0
// A vision transformer: patches in, hidden states out. Frozen, without a backward. Options describe the families'
// differences. Rows of several images or crops, of any sizes, go through it together.
// N rows of a call, C width, F mlp, H heads.
#pragma once
#include <array>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "core/arena.h"
#include "input/pixels.h"
#include "model/family_tensors.h"
#include "ops/attention.h"
#include "ops/gelu.h"

namespace vpref {

enum class VitNorm : uint8_t { layer, rms };
enum class VitMlp : uint8_t { gelu, swiglu };

struct VitConfig {
  int32_t hidden_size, intermediate_size, num_attention_heads;
  int32_t num_hidden_layers;  // layers in the files
  int32_t num_layers_used;    // layers that run: fewer if the feature layer is not the last
  float eps;
  VitNorm norm = VitNorm::layer;
  VitMlp mlp = VitMlp::gelu;
  Gelu hidden_act = Gelu::exact;  // for a gelu MLP
  bool mlp_bias = true;
  bool fused_qkv = false;      // one linear [3C, C]: all q heads, all k, all v
  bool class_row = false;      // a learned row before each crop's patches
  bool pre_norm = false;       // a norm on the embedded rows
  bool post_norm = false;      // a norm on the last layer's rows
  std::vector<bool> windowed;  // per layer: it uses VitCall::windows; empty: none does
};

struct VitNormWeights {
  Tensor weight, bias;  // [C]; no bias for an RMS norm
};

struct VitLayer {
  VitNormWeights norm1, norm2;
  Linear fused_qkv;           // [3C, C]; or
  std::array<Linear, 3> qkv;  // [C, C] each
  Linear out_proj;            // [C, C]
  Linear gate, fc1, fc2;      // [F, C] (only swiglu), [F, C], [C, F]
};

struct VitWeights {
  Tensor class_embedding;     // [C]
  Linear patch_embedding;     // [C, 3 * frames * patch * patch]
  Tensor position_embedding;  // [rows of a table, C]; or empty
  VitNormWeights pre_norm, post_norm;
  std::vector<VitLayer> layers;  // num_layers_used
};

// A family's names of a layer's modules, below the layer's path.
struct VitNames {
  std::string layers;  // "encoder.layers.": number and dot follow
  std::string norm1, norm2, qkv, q_proj, k_proj, v_proj, out_proj, gate, fc1, fc2;
};
// transformers' names for CLIP and SigLIP.
extern const VitNames kClipVitNames;

// Lists the layers' tensors; those above num_layers_used are checked but not used.
void list_vit_layers(const VitConfig& config, const VitNames& names, int group, VitWeights& weights,
                     FamilyTensors& out);
void list_vit_norm(VitNormWeights& norm, VitNorm kind, int64_t width, int group, const std::string& path,
                   FamilyTensors& out);
// statistics: for a backward, [N,2] f32 of a layer norm, [N] f32 of an RMS norm; or null.
void vit_norm(Context& ctx, const VitConfig& config, const VitNormWeights& w, const Tensor& x, const Tensor& y,
              const Tensor* statistics = nullptr);

// Attention of the call's rows, and the layers' other inputs.
struct VitCall {
  const AttentionPlan* plan = nullptr;              // each crop or image attends to all of its own rows
  const AttentionPlan* windows = nullptr;           // for windowed layers: rows must be ordered window by window
  std::function<void(const Tensor& heads)> rotate;  // rotates q and k, [N, H, C / H]; empty: learned positions only
  std::function<void(size_t layer, const Tensor& x)>
      after;  // called with the rows after each layer (DeepStack); may be empty
};

// A plan of consecutive runs of the num_rows rows, each of which attends to itself: crops, images or windows. Without
// lengths (when measuring without images) all rows are one run.
AttentionPlan vit_plan(const std::vector<int32_t>& lengths, int64_t num_rows);

// Patches of crops of one size, and the position embedding to add to each crop: [P + class row, C], or empty.
struct VitPatches {
  Tensor patches;
  int64_t num_crops;
  Tensor table = {};
};

// Computes x[crops * (P + class row), C] of crops with P patches each: class row and embedded patches, plus the table,
// then pre_norm.
void vit_embed(Context& ctx, const VitConfig& config, const VitWeights& weights, const VitPatches& crops,
               const Tensor& x, Arena& scratch);
// Runs the layers and post_norm, in place.
void vit_layers(Context& ctx, const VitConfig& config, const VitWeights& weights, const VitCall& call, const Tensor& x,
                Arena& scratch);

// The layout of a crop's patches as rows.
struct PatchShape {
  int32_t size;        // side of a square patch
  int32_t frames = 1;  // number of copies of the image, channel by channel (Qwen uses two frames)
  // Patches are ordered in blocks of block x block neighbours: blocks row by row, and row by row inside a block; 1: row
  // by row. Then block^2 consecutive rows are what a merger or a pixel shuffle joins.
  int32_t block = 1;
  int64_t width() const { return int64_t(3) * frames * size * size; }
};
// The order of the (height x width) grid's patches: order[row] = y * width + x.
std::vector<int32_t> block_order(int32_t height, int32_t width, int32_t block);
// Computes patches[sum of the crops' patches, shape.width()] of all images, in order: normalises, distorts and cuts the
// pixels. order: patch index of each row of a crop of this grid; empty: block_order.
using PatchOrder = std::function<std::vector<int32_t>(int32_t height, int32_t width)>;
void write_patches(Context& ctx, std::span<const Image* const> images, const Normalisation& normalisation,
                   const PatchShape& shape, const Tensor& patches, const PatchOrder& order = {});

}  // namespace vpref
