// SPDX-License-Identifier: Apache-2.0
// A vision transformer: patches in, hidden states out. Frozen: there is no backward. What tells one family's from
// another's are options; rows of several images or crops, of one size or many, go through it together.
// Shape letters: N rows of a call, C width, F mlp, H heads.
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
  int32_t num_hidden_layers;  // in the files
  int32_t num_layers_used;    // those that run: fewer where a feature layer below the last is read
  float eps;
  VitNorm norm = VitNorm::layer;
  VitMlp mlp = VitMlp::gelu;
  Gelu hidden_act = Gelu::exact;  // of a gelu mlp
  bool mlp_bias = true;
  bool fused_qkv = false;      // one linear [3C, C]: all q heads, all k, all v
  bool class_row = false;      // a learned row before the patches of each crop
  bool pre_norm = false;       // on the embedded rows
  bool post_norm = false;      // on the last layer's rows
  std::vector<bool> windowed;  // per layer: it attends by VitCall::windows; empty: none does
};

struct VitNormWeights {
  Tensor weight, bias;  // [C]; no bias where the norm is rms
};

struct VitLayer {
  VitNormWeights norm1, norm2;
  Linear fused_qkv;           // [3C, C]; or
  std::array<Linear, 3> qkv;  // [C, C] each
  Linear out_proj;            // [C, C]
  Linear gate, fc1, fc2;      // [F, C] (swiglu alone), [F, C], [C, F]
};

struct VitWeights {
  Tensor class_embedding;     // [C]
  Linear patch_embedding;     // [C, 3 * frames * patch * patch]
  Tensor position_embedding;  // [rows of a table, C]; empty where there is none
  VitNormWeights pre_norm, post_norm;
  std::vector<VitLayer> layers;  // num_layers_used
};

// How a family spells a layer's modules, below the layer's path.
struct VitNames {
  std::string layers;  // "encoder.layers.": number and dot follow
  std::string norm1, norm2, qkv, q_proj, k_proj, v_proj, out_proj, gate, fc1, fc2;
};
// As transformers spells CLIP's and SigLIP's.
extern const VitNames kClipVitNames;

// Lists the layers' tensors; those above num_layers_used are known and not used.
void list_vit_layers(const VitConfig& config, const VitNames& names, int group, VitWeights& weights,
                     FamilyTensors& out);
void list_vit_norm(VitNormWeights& norm, VitNorm kind, int64_t width, int group, const std::string& path,
                   FamilyTensors& out);
// statistics: for the backward, [N,2] of a layer norm, [N] of an rms norm, f32; or null.
void vit_norm(Context& ctx, const VitConfig& config, const VitNormWeights& w, const Tensor& x, const Tensor& y,
              const Tensor* statistics = nullptr);

// Rows of the call by their attention, and what else its layers need.
struct VitCall {
  const AttentionPlan* plan = nullptr;              // every crop or image sees all of its own rows
  const AttentionPlan* windows = nullptr;           // of windowed layers: the rows must stand window by window
  std::function<void(const Tensor& heads)> rotate;  // turns q and k, [N, H, C / H]; empty: positions are learned alone
  std::function<void(size_t layer, const Tensor& x)> after;  // sees the rows after a layer (DeepStack); may be empty
};

// A plan whose spans are consecutive runs of the num_rows rows that see themselves whole: crops, images or windows.
// No lengths, where there are no images but only a measurement: the rows are one run.
AttentionPlan vit_plan(const std::vector<int32_t>& lengths, int64_t num_rows);

// Patches of crops of one size, and the position embedding that is added to each crop: [P + class row, C], or empty.
struct VitPatches {
  Tensor patches;
  int64_t num_crops;
  Tensor table = {};
};

// x[crops * (P + class row), C] of crops with P patches each: class row and embedded patches, plus the table, then
// pre_norm.
void vit_embed(Context& ctx, const VitConfig& config, const VitWeights& weights, const VitPatches& crops,
               const Tensor& x, Arena& scratch);
// The layers and post_norm, in place.
void vit_layers(Context& ctx, const VitConfig& config, const VitWeights& weights, const VitCall& call, const Tensor& x,
                Arena& scratch);

// Patches of a crop as rows.
struct PatchShape {
  int32_t size;        // square
  int32_t frames = 1;  // the picture that many times, channel by channel (Qwen's two frames)
  // Patches are rows in blocks of block x block neighbours, blocks row by row and row by row inside; 1: row by row.
  // block^2 consecutive rows are then what a merger or a pixel shuffle puts side by side.
  int32_t block = 1;
  int64_t width() const { return int64_t(3) * frames * size * size; }
};
// Places of the (height x width) grid's patches in that order: order[row] = y * width + x.
std::vector<int32_t> block_order(int32_t height, int32_t width, int32_t block);
// patches[sum of the crops' patches, shape.width()] of all images in order: pixels are normalised, distorted, and cut.
// order: rows of one crop of this grid as places; empty: block_order.
using PatchOrder = std::function<std::vector<int32_t>(int32_t height, int32_t width)>;
void write_patches(Context& ctx, std::span<const Image* const> images, const Normalisation& normalisation,
                   const PatchShape& shape, const Tensor& patches, const PatchOrder& order = {});

}  // namespace vpref
