// SPDX-License-Identifier: Apache-2.0
#include "model/vision_tower.h"

#include <algorithm>
#include <cmath>

#include "core/memory.h"
#include "model/linear.h"
#include "ops/attention.h"
#include "ops/elementwise.h"
#include "ops/layer_norm.h"

namespace vpref {

namespace {

int64_t largest_rank(const Weights& weights) {
  int64_t rank = 0;
  for (const VisionLayer& l : weights.vision_layers) {
    for (const Linear* p : {&l.q_proj, &l.k_proj, &l.v_proj, &l.out_proj, &l.fc1, &l.fc2})
      rank = std::max(rank, saved_rank(*p));
  }
  return rank;
}

Tensor heads_view(const Tensor& x, int64_t heads) {
  const int64_t size = x.dim(1) / heads;
  return x.reshaped({x.dim(0), heads, size});
}

// Every image attends to all of its own rows.
AttentionPlan image_plan(int64_t num_images, int64_t rows) {
  AttentionPlan plan;
  for (int64_t b = 0; b < num_images; ++b) {
    plan.ranges.push_back({int32_t(b * rows), int32_t(rows)});
    plan.spans.push_back({int32_t(b * rows), int32_t(rows), int32_t(b), 1, /*causal=*/false});
  }
  return plan;
}

// x[B*(P+1), C]: class embedding and patch embeddings, plus positions, then pre_layrnorm.
void embed_patches(Context& ctx, const VisionConfig& v, const Weights& w, const Tensor& patches, const Tensor& x,
                   Arena& scratch) {
  const int64_t num_patches = v.num_patches(), rows = num_patches + 1, num_images = patches.dim(0) / num_patches;
  const Tensor class_row = w.class_embedding.reshaped({1, v.hidden_size});
  for (int64_t b = 0; b < num_images; ++b) {
    const Tensor image = x.rows(b * rows, rows);
    convert(ctx, class_row, image.rows(0, 1));
    linear_forward(ctx, w.patch_embedding, patches.rows(b * num_patches, num_patches), image.rows(1, num_patches),
                   scratch);
    add(ctx, w.position_embedding, image);
  }
  layer_norm(ctx, x, w.pre_layrnorm_weight, w.pre_layrnorm_bias, v.layer_norm_eps, x, nullptr);
}

void vision_layer(Context& ctx, const VisionConfig& v, const VisionLayer& l, const AttentionPlan& plan, const Tensor& x,
                  Arena& scratch) {
  const size_t mark = scratch.mark();
  const int64_t rows = x.dim(0), c = v.hidden_size, heads = v.num_attention_heads;
  const Tensor normed = scratch.tensor(x.dtype, {rows, c});
  {
    const size_t inner = scratch.mark();
    const Tensor q = scratch.tensor(x.dtype, {rows, c}), k = scratch.tensor(x.dtype, {rows, c}),
                 values = scratch.tensor(x.dtype, {rows, c});
    layer_norm(ctx, x, l.layer_norm1_weight, l.layer_norm1_bias, v.layer_norm_eps, normed, nullptr);
    linear_forward(ctx, l.q_proj, normed, q, scratch);
    linear_forward(ctx, l.k_proj, normed, k, scratch);
    linear_forward(ctx, l.v_proj, normed, values, scratch);
    attention(ctx, heads_view(q, heads), heads_view(k, heads), heads_view(values, heads), plan,
              1.0f / std::sqrt(float(c / heads)), heads_view(normed, heads), nullptr);
    linear_forward(ctx, l.out_proj, normed, q, scratch);
    add(ctx, q, x);
    scratch.release(inner);
  }
  const Tensor hidden = scratch.tensor(x.dtype, {rows, v.intermediate_size});
  layer_norm(ctx, x, l.layer_norm2_weight, l.layer_norm2_bias, v.layer_norm_eps, normed, nullptr);
  linear_forward(ctx, l.fc1, normed, hidden, scratch);
  gelu(ctx, v.hidden_act, hidden, hidden);
  linear_forward(ctx, l.fc2, hidden, normed, scratch);
  add(ctx, normed, x);
  scratch.release(mark);
}

}  // namespace

size_t vision_scratch_bytes(const ModelConfig& config, const Weights& weights, int64_t num_images, DType dtype) {
  const VisionConfig& v = config.vision;
  const int64_t rows = num_images * (v.num_patches() + 1);
  const auto bytes = [&](int64_t cols) { return aligned(size_t(rows * cols) * dtype_size(dtype)); };
  return 2 * bytes(v.hidden_size) + std::max(3 * bytes(v.hidden_size), bytes(v.intermediate_size)) +
         bytes(largest_rank(weights)) + 16 * 64;
}

void vision_tower(Context& ctx, const ModelConfig& config, const Weights& weights, const Tensor& patches,
                  const Tensor& features, Arena& scratch) {
  const VisionConfig& v = config.vision;
  const int64_t num_patches = v.num_patches(), rows = num_patches + 1, num_images = patches.dim(0) / num_patches;
  const size_t mark = scratch.mark();
  const Tensor x = scratch.tensor(features.dtype, {num_images * rows, v.hidden_size});
  embed_patches(ctx, v, weights, patches, x, scratch);
  const AttentionPlan plan = image_plan(num_images, rows);
  for (const VisionLayer& layer : weights.vision_layers) vision_layer(ctx, v, layer, plan, x, scratch);
  const int64_t first = v.drop_class_token ? 1 : 0, kept = rows - first;
  for (int64_t b = 0; b < num_images; ++b) {
    const Tensor from = x.rows(b * rows + first, kept), to = features.rows(b * kept, kept);
    copy_on_device(ctx, to.data, from.data, from.bytes());
  }
  scratch.release(mark);
}

}  // namespace vpref
