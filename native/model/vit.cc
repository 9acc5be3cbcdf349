// SPDX-License-Identifier: Apache-2.0
#include "model/vit.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/error.h"
#include "core/memory.h"
#include "core/parallel.h"
#include "input/diffusion.h"
#include "model/linear.h"
#include "ops/elementwise.h"
#include "ops/layer_norm.h"
#include "ops/rms_norm.h"
#include "ops/swiglu.h"

namespace vpref {

const VitNames kClipVitNames = {.layers = "encoder.layers.",
                                .norm1 = "layer_norm1",
                                .norm2 = "layer_norm2",
                                .qkv = "",
                                .q_proj = "self_attn.q_proj",
                                .k_proj = "self_attn.k_proj",
                                .v_proj = "self_attn.v_proj",
                                .out_proj = "self_attn.out_proj",
                                .gate = "",
                                .fc1 = "mlp.fc1",
                                .fc2 = "mlp.fc2"};

void list_vit_norm(VitNormWeights& norm, VitNorm kind, int64_t width, int group, const std::string& path,
                   FamilyTensors& out) {
  out.add(&norm.weight, {width}, group, path + ".weight");
  if (kind == VitNorm::layer) out.add(&norm.bias, {width}, group, path + ".bias");
}

void list_vit_layers(const VitConfig& config, const VitNames& names, int group, VitWeights& weights,
                     FamilyTensors& out) {
  const int64_t c = config.hidden_size, f = config.intermediate_size;
  weights.layers.resize(size_t(config.num_layers_used));
  VitLayer unused;
  for (int32_t i = 0; i < config.num_hidden_layers; ++i) {
    const bool used = i < config.num_layers_used;
    VitLayer& l = used ? weights.layers[size_t(i)] : unused;
    const size_t first_tensor = out.tensors.size(), first_linear = out.linears.size();
    const std::string at = names.layers + std::to_string(i) + ".";
    list_vit_norm(l.norm1, config.norm, c, group, at + names.norm1, out);
    if (config.fused_qkv) {
      out.add_linear(l.fused_qkv, 3 * c, c, true, group, at + names.qkv);
    } else {
      out.add_linear(l.qkv[0], c, c, true, group, at + names.q_proj);
      out.add_linear(l.qkv[1], c, c, true, group, at + names.k_proj);
      out.add_linear(l.qkv[2], c, c, true, group, at + names.v_proj);
    }
    out.add_linear(l.out_proj, c, c, true, group, at + names.out_proj);
    list_vit_norm(l.norm2, config.norm, c, group, at + names.norm2, out);
    if (config.mlp == VitMlp::swiglu) out.add_linear(l.gate, f, c, config.mlp_bias, group, at + names.gate);
    out.add_linear(l.fc1, f, c, config.mlp_bias, group, at + names.fc1);
    out.add_linear(l.fc2, c, f, config.mlp_bias, group, at + names.fc2);
    if (!used) out.leave_out_from(first_tensor, first_linear);
  }
}

void vit_norm(Context& ctx, const VitConfig& config, const VitNormWeights& w, const Tensor& x, const Tensor& y,
              const Tensor* statistics) {
  if (config.norm == VitNorm::layer)
    layer_norm(ctx, x, w.weight, w.bias, config.eps, y, statistics);
  else
    rms_norm(ctx, x, w.weight, config.eps, y, statistics);
}

AttentionPlan vit_plan(const std::vector<int32_t>& lengths, int64_t num_rows) {
  if (lengths.empty()) return vit_plan({int32_t(num_rows)}, num_rows);
  AttentionPlan plan;
  int32_t begin = 0;
  for (const int32_t length : lengths) {
    plan.spans.push_back({begin, length, int32_t(plan.ranges.size()), 1, /*causal=*/false});
    plan.ranges.push_back({begin, length});
    begin += length;
  }
  return plan;
}

namespace {

std::span<const Linear> qkv_of(const VitConfig& config, const VitLayer& l) {
  return config.fused_qkv ? std::span(&l.fused_qkv, 1) : std::span<const Linear>(l.qkv);
}

void attend(Context& ctx, const VitConfig& config, const VitLayer& l, const VitCall& call, bool windowed,
            const Tensor& x, Arena& scratch) {
  const size_t mark = scratch.mark();
  const int64_t c = config.hidden_size, heads = config.num_attention_heads;
  const Tensor normed = scratch.tensor(x.dtype, {x.dim(0), c});
  const Tensor qkv = scratch.tensor(x.dtype, {x.dim(0), 3 * c});
  vit_norm(ctx, config, l.norm1, x, normed);
  linear_forward(ctx, qkv_of(config, l), normed, qkv, scratch);
  if (call.rotate) call.rotate(qkv.cols(0, 2 * c).heads(2 * heads));
  attention(ctx, {qkv.cols(0, c).heads(heads), qkv.cols(c, c).heads(heads), qkv.cols(2 * c, c).heads(heads)},
            windowed ? *call.windows : *call.plan, 1.0f / std::sqrt(float(c / heads)), {normed.heads(heads)});
  const Tensor out = qkv.cols(0, c);
  linear_forward(ctx, l.out_proj, normed, out, scratch);
  add(ctx, out, x);
  scratch.release(mark);
}

void mlp(Context& ctx, const VitConfig& config, const VitLayer& l, const Tensor& x, Arena& scratch) {
  const size_t mark = scratch.mark();
  const Tensor normed = scratch.tensor(x.dtype, {x.dim(0), config.hidden_size});
  const Tensor hidden = scratch.tensor(x.dtype, {x.dim(0), config.intermediate_size});
  vit_norm(ctx, config, l.norm2, x, normed);
  if (config.mlp == VitMlp::gelu) {
    linear_forward(ctx, l.fc1, normed, hidden, scratch);
    gelu(ctx, config.hidden_act, hidden, hidden);
  } else {
    const Tensor up = scratch.tensor(x.dtype, {x.dim(0), config.intermediate_size});
    linear_forward(ctx, l.gate, normed, hidden, scratch);
    linear_forward(ctx, l.fc1, normed, up, scratch);
    swiglu(ctx, hidden, up, hidden);
  }
  linear_forward(ctx, l.fc2, hidden, normed, scratch);
  add(ctx, normed, x);
  scratch.release(mark);
}

}  // namespace

void vit_embed(Context& ctx, const VitConfig& config, const VitWeights& weights, const VitPatches& crops,
               const Tensor& x, Arena& scratch) {
  const int64_t before = config.class_row ? 1 : 0, rows = x.dim(0) / crops.num_crops, own = rows - before;
  for (int64_t i = 0; i < crops.num_crops; ++i) {
    const Tensor crop = x.rows(i * rows, rows);
    if (config.class_row) convert(ctx, weights.class_embedding.reshaped({1, config.hidden_size}), crop.rows(0, 1));
    linear_forward(ctx, weights.patch_embedding, crops.patches.rows(i * own, own), crop.rows(before, own), scratch);
    if (crops.table) add(ctx, crops.table, crop);
  }
  if (config.pre_norm) vit_norm(ctx, config, weights.pre_norm, x, x);
}

void vit_layers(Context& ctx, const VitConfig& config, const VitWeights& weights, const VitCall& call, const Tensor& x,
                Arena& scratch) {
  for (size_t i = 0; i < weights.layers.size(); ++i) {
    attend(ctx, config, weights.layers[i], call, !config.windowed.empty() && config.windowed[i], x, scratch);
    mlp(ctx, config, weights.layers[i], x, scratch);
    if (call.after) call.after(i, x);
  }
  if (config.post_norm) vit_norm(ctx, config, weights.post_norm, x, x);
}

std::vector<int32_t> block_order(int32_t height, int32_t width, int32_t block) {
  std::vector<int32_t> order;
  for (int32_t y = 0; y + block <= height; y += block) {
    for (int32_t x = 0; x + block <= width; x += block) {
      for (int32_t dy = 0; dy < block; ++dy) {
        for (int32_t dx = 0; dx < block; ++dx) order.push_back((y + dy) * width + x + dx);
      }
    }
  }
  return order;
}

namespace {

struct CropPlace {
  const Image* image;
  size_t crop;
  int64_t num_patches;
};

}  // namespace

void write_patches(Context& ctx, std::span<const Image* const> images, const Normalisation& normalisation,
                   const PatchShape& shape, const Tensor& patches, const PatchOrder& order) {
  std::vector<CropPlace> crops;
  for (const Image* image : images) {
    // Checked here, because the parallel loop below must not throw.
    if (image->diffusion) diffusion_level(image->diffusion->step);
    for (size_t i = 0; i < image->crops.size(); ++i) {
      const Crop& crop = image->crops[i];
      check(crop.pixels.size() == 3 * size_t(crop.height) * size_t(crop.width), "request", "image: expected ",
            crop.width, " x ", crop.height, " RGB pixels, got ", crop.pixels.size(), " bytes");
      crops.push_back({image, i, int64_t(crop.height / shape.size) * (crop.width / shape.size)});
    }
  }
  int64_t done = 0;
  for (size_t begin = 0; begin < crops.size();) {
    // Crops of one size are written together, so that a chunk is a whole number of crops.
    size_t end = begin + 1;
    while (end < crops.size() && crops[end].num_patches == crops[begin].num_patches) ++end;
    const int64_t each = crops[begin].num_patches, rows = each * int64_t(end - begin);
    const Tensor part = patches.rows(done, rows);
    const size_t unit = part.bytes() / (end - begin);
    write_to_device(ctx, part.data, part.bytes(), unit, [&](void* to, size_t first_byte, size_t bytes) {
      const Tensor host(to, patches.dtype, {int64_t(bytes / unit) * each, shape.width()});
      const size_t first = begin + first_byte / unit;
      parallel_items(ctx.num_threads, int64_t(bytes / unit), [&](int, int64_t i) {
        const CropPlace& place = crops[first + size_t(i)];
        const Crop& crop = place.image->crops[place.crop];
        const int32_t height = crop.height / shape.size, width = crop.width / shape.size;
        const std::vector<float> x = crop_pixels(*place.image, place.crop, normalisation);
        patchify(x.data(), crop.height, crop.width, shape.size, shape.frames,
                 order ? order(height, width) : block_order(height, width, shape.block), host.rows(i * each, each));
      });
    });
    done += rows;
    begin = end;
  }
}

}  // namespace vpref
