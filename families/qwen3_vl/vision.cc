// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <cmath>

#include "core/error.h"
#include "core/memory.h"
#include "families/qwen3_vl/qwen3_vl.h"
#include "ops/elementwise.h"
#include "ops/layer_norm.h"
#include "ops/rows.h"

namespace vpref {

namespace {

constexpr size_t kTaps = 4, kKeptPerPlane = 3, kPartsPerMerger = 6;

// The interpolation of a grid's row or column along a side of the table, with aligned corners.
struct Tap {
  int32_t low, high;
  float share;  // weight of `high`
};

Tap tap(int32_t at, int32_t count, int32_t side) {
  const float source = float(at) * (float(side - 1) / float(std::max(count - 1, 1)));
  const int32_t low = std::min(int32_t(source), side - 1);
  return {low, std::min(low + 1, side - 1), source - float(low)};
}

template <class T>
Tensor upload(Context& ctx, const std::vector<T>& values, DType dtype, int64_t count, Arena& arena) {
  const Tensor t = arena.tensor(dtype, {count});
  copy_to_device(ctx, t.data, values.data(), t.bytes());
  return t;
}

}  // namespace

Qwen3VlVision::Qwen3VlVision(const Qwen3VlConfig& config)
    : QwenVision(config),
      num_position_embeddings_(config.num_position_embeddings),
      table_side_(config.table_side),
      deepstack_(config.deepstack),
      mergers_(deepstack_.size() + 1) {
  mergers_[0].path = "merger";
  for (size_t i = 1; i < mergers_.size(); ++i) mergers_[i].path = cat("deepstack_merger_list.", i - 1);
}

void Qwen3VlVision::list_tensors(FamilyTensors& out) {
  const int64_t c = config_.tower.hidden_size, p = config_.patch_size;
  const int group = out.add_group({{"model.visual."}, "model.visual.", {}});
  out.tensors.push_back({&tower_.patch_embedding.weight,
                         {c, 3, config_.temporal_patch_size, p, p},
                         {c, patch().width()},
                         group,
                         "patch_embed.proj.weight"});
  out.add(&tower_.patch_embedding.bias, {c}, group, "patch_embed.proj.bias");
  out.add(&tower_.position_embedding, {num_position_embeddings_, c}, group, "pos_embed.weight");
  list_vit_layers(config_.tower, config_.names, group, tower_, out);
  for (size_t i = 0; i < mergers_.size(); ++i) {
    Qwen3VlMerger& m = mergers_[i];
    list_vit_norm(m.norm, VitNorm::layer, i == 0 ? c : wide(), group, m.path + ".norm", out);
    out.add_linear(m.fc1, wide(), wide(), true, group, m.path + ".linear_fc1");
    out.add_linear(m.fc2, config_.text_hidden_size, wide(), true, group, m.path + ".linear_fc2");
  }
}

std::vector<ConnectorPart> Qwen3VlVision::connector() {
  std::vector<ConnectorPart> parts;
  for (Qwen3VlMerger& m : mergers_) {
    const std::string at = "model.visual." + m.path;
    parts.push_back({at + ".norm.weight", &m.norm.weight});
    parts.push_back({at + ".norm.bias", &m.norm.bias});
    parts.push_back({at + ".linear_fc1.weight", &m.fc1.weight});
    parts.push_back({at + ".linear_fc1.bias", &m.fc1.bias});
    parts.push_back({at + ".linear_fc2.weight", &m.fc2.weight});
    parts.push_back({at + ".linear_fc2.bias", &m.fc2.bias});
  }
  return parts;
}

// Computes table[N, C]: the learned positions, interpolated, summed in f32 as in transformers.
void Qwen3VlVision::interpolate(Context& ctx, std::span<const Image* const> images, const Tensor& table,
                                Arena& scratch) const {
  const size_t mark = scratch.mark();
  std::array<std::vector<int32_t>, kTaps> rows;
  std::array<std::vector<float>, kTaps> shares;
  const int32_t side = table_side_;
  for (const Image* image : images) {
    const int32_t height = image->crops[0].height / config_.patch_size,
                  width = image->crops[0].width / config_.patch_size;
    for (const int32_t place : patch_order(height, width)) {
      const Tap y = tap(place / width, height, side), x = tap(place % width, width, side);
      for (size_t k = 0; k < kTaps; ++k) {
        const bool lower = k / 2 == 1, right = k % 2 == 1;
        rows[k].push_back((lower ? y.high : y.low) * side + (right ? x.high : x.low));
        shares[k].push_back((lower ? y.share : 1 - y.share) * (right ? x.share : 1 - x.share));
      }
    }
  }
  const Tensor sum = scratch.tensor(DType::f32, {table.dim(0), table.dim(1)}),
               one = scratch.tensor(DType::f32, {table.dim(0), table.dim(1)});
  for (size_t k = 0; k < kTaps; ++k) {
    const Tensor to = k == 0 ? sum : one;
    gather_rows(ctx, tower_.position_embedding, upload(ctx, rows[k], DType::i32, table.dim(0), scratch), to);
    scale_rows(ctx, upload(ctx, shares[k], DType::f32, table.dim(0), scratch), to);
    if (k > 0) add(ctx, one, sum);
  }
  convert(ctx, sum, table);
  scratch.release(mark);
}

// The columns of a plane in the merged rows, [N / m^2, m^2 C].
Tensor Qwen3VlVision::merged(const Tensor& features, int64_t plane) const {
  return features.reshaped({features.dim(0) / max_features_per_row(), num_planes() * wide()})
      .cols(plane * wide(), wide());
}

void Qwen3VlVision::features(Context& ctx, std::span<const Image* const> images, const Normalisation& normalisation,
                             const Tensor& features, Arena& scratch) const {
  const size_t mark = scratch.mark();
  const int64_t n = features.dim(0), c = config_.tower.hidden_size;
  const Tensor x = scratch.tensor(features.dtype, {n, c});
  {
    const size_t inner = scratch.mark();
    const Tensor table = scratch.tensor(features.dtype, {n, c});
    interpolate(ctx, images, table, scratch);
    const Tensor patches = scratch.tensor(features.dtype, {n, patch().width()});
    write_patches(ctx, images, normalisation, patch(), patches,
                  [this](int32_t height, int32_t width) { return patch_order(height, width); });
    // All images are embedded as one crop.
    vit_embed(ctx, config_.tower, tower_, {patches, 1, table}, x, scratch);
    scratch.release(inner);
  }
  std::vector<int32_t> lengths;
  for (const Image* image : images) lengths.push_back(int32_t(num_features(image_shape(*image))));
  const AttentionPlan plan = vit_plan(lengths, n);
  const Rotation turn = rotation(ctx, images, n, scratch);
  const auto keep = [&](int64_t plane) {
    convert(ctx, x.reshaped({n / max_features_per_row(), wide()}), merged(features, plane));
  };
  VitCall call{.plan = &plan};
  call.rotate = [&](const Tensor& heads) { rope(ctx, heads, turn); };
  call.after = [&](size_t layer, const Tensor&) {
    const auto at = std::find(deepstack_.begin(), deepstack_.end(), int32_t(layer));
    if (at != deepstack_.end()) keep(at - deepstack_.begin() + 1);
  };
  vit_layers(ctx, config_.tower, tower_, call, x, scratch);
  keep(0);
  scratch.release(mark);
}

// The input of a merger's norm; for the main merger single patches, [N, C].
Tensor Qwen3VlVision::merger_input(Context& ctx, const Tensor& features, size_t plane, Arena& arena) const {
  const Tensor from = merged(features, int64_t(plane));
  if (plane > 0) return from;
  const Tensor x = arena.tensor(features.dtype, {from.dim(0), from.dim(1)});
  convert(ctx, from, x);
  return x.reshaped({features.dim(0), config_.tower.hidden_size});
}

void Qwen3VlVision::merger_norm(Context& ctx, size_t plane, const Tensor& x, const Tensor& y,
                                const Tensor* mean_rstd) const {
  const VitNormWeights& norm = mergers_[plane].norm;
  layer_norm(ctx, x, norm.weight, norm.bias, config_.tower.eps, y.reshaped({x.dim(0), x.dim(1)}), mean_rstd);
}

void Qwen3VlVision::connect(Context& ctx, const Tensor& features, std::span<const ImageShape>, const Tensor& rows,
                            std::vector<Tensor>* kept, Arena& arena) const {
  const int64_t num_rows = features.dim(0) / max_features_per_row();
  const auto memory = [&] { return arena.tensor(features.dtype, {num_rows, wide()}); };
  if (kept) {
    kept->clear();
    for (size_t i = 0; i < kKeptPerPlane * mergers_.size(); ++i) kept->push_back(memory());
  }
  for (size_t plane = 0; plane < mergers_.size(); ++plane) {
    const size_t mark = arena.mark();
    const Tensor* own = kept ? kept->data() + kKeptPerPlane * plane : nullptr;
    const Tensor normed = own ? own[0] : memory(), hidden = own ? own[1] : memory(), active = own ? own[2] : hidden;
    merger_norm(ctx, plane, merger_input(ctx, features, plane, arena), normed, nullptr);
    linear_forward(ctx, mergers_[plane].fc1, normed, hidden, arena);
    gelu(ctx, Gelu::exact, hidden, active);
    linear_forward(ctx, mergers_[plane].fc2, active, rows.rows(int64_t(plane) * num_rows, num_rows), arena);
    arena.release(mark);
  }
}

void Qwen3VlVision::connect_backward(Context& ctx, const Tensor& features, std::span<const ImageShape>,
                                     const std::vector<Tensor>& kept, const Tensor& drows,
                                     std::span<const Tensor> grads, Arena& scratch) const {
  const int64_t num_rows = features.dim(0) / max_features_per_row();
  for (size_t plane = 0; plane < mergers_.size(); ++plane) {
    const size_t mark = scratch.mark();
    const Qwen3VlMerger& m = mergers_[plane];
    const Tensor* own = kept.data() + kKeptPerPlane * plane;
    const Tensor &normed = own[0], &hidden = own[1], &active = own[2];
    const Tensor* grad = grads.data() + kPartsPerMerger * plane;
    const Tensor dactive = scratch.tensor(drows.dtype, {num_rows, wide()}),
                 dnormed = scratch.tensor(drows.dtype, {num_rows, wide()});
    linear_backward(ctx, m.fc2, drows.rows(int64_t(plane) * num_rows, num_rows), active, &dactive,
                    {.weight = grad[4], .bias = grad[5]}, scratch);
    gelu_backward(ctx, Gelu::exact, dactive, hidden, dactive);
    linear_backward(ctx, m.fc1, dactive, normed, &dnormed, {.weight = grad[2], .bias = grad[3]}, scratch);
    // The norm's statistics are recomputed; the tower is frozen, so its gradient is dropped.
    const Tensor x = merger_input(ctx, features, plane, scratch), mean_rstd = scratch.tensor(DType::f32, {x.dim(0), 2});
    const auto as_input = [&](const Tensor& t) { return t.reshaped({x.dim(0), x.dim(1)}); };
    merger_norm(ctx, plane, x, normed, &mean_rstd);
    layer_norm_backward(ctx, as_input(dnormed), {x, m.norm.weight, mean_rstd}, as_input(dactive), /*accumulate=*/false,
                        &grad[0], &grad[1]);
    scratch.release(mark);
  }
}

}  // namespace vpref
