// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <numeric>

#include "core/error.h"
#include "core/memory.h"
#include "families/qwen2_vl/qwen2_vl.h"
#include "ops/layer_norm.h"
#include "ops/rms_norm.h"
#include "ops/rows.h"

namespace vpref {

namespace {

Tensor upload(Context& ctx, const void* values, DType dtype, std::initializer_list<int64_t> shape, Arena& scratch) {
  const Tensor t = scratch.tensor(dtype, shape);
  copy_to_device(ctx, t.data, values, t.bytes());
  return t;
}

// The grid of an image's single crop.
CropSize patch_grid(const Image& image, int32_t patch) {
  return {image.crops[0].height / patch, image.crops[0].width / patch};
}

}  // namespace

CropSize QwenVision::merged_grid(const ImageShape& image) const {
  check(image.crops.size() == 1, "request", "image: expected one crop, got ", image.crops.size());
  const CropSize crop = image.crops[0];
  const int32_t step = config_.patch_size * config_.spatial_merge_size;
  check(crop.height >= step && crop.width >= step && crop.height % step == 0 && crop.width % step == 0, "request",
        "image: expected sides in steps of ", step, " pixels, got ", crop.width, " x ", crop.height);
  return {crop.height / step, crop.width / step};
}

ImageLayout QwenVision::layout(const ImageShape& image) const {
  const CropSize grid = merged_grid(image);
  ImageLayout layout{.runs = {grid.height * grid.width}, .position_span = std::max(grid.height, grid.width)};
  for (int32_t y = 0; y < grid.height; ++y) {
    for (int32_t x = 0; x < grid.width; ++x) layout.offsets.push_back({0, y, x});
  }
  return layout;
}

int64_t QwenVision::num_features(const ImageShape& image) const {
  const CropSize grid = merged_grid(image);
  return int64_t(grid.height) * grid.width * max_features_per_row();
}

void QwenVision::list_tensors(FamilyTensors& out) {
  const int64_t c = feature_width(), p = config_.patch_size, frames = config_.temporal_patch_size;
  const int group = out.add_group({{"visual.", "model.visual."}, "model.visual.", {}});
  out.tensors.push_back(
      {&tower_.patch_embedding.weight, {c, 3, frames, p, p}, {c, patch().width()}, group, "patch_embed.proj.weight"});
  list_vit_layers(config_.tower, config_.names, group, tower_, out);
  list_vit_norm(merger_norm_, config_.tower.norm, c, group, "merger.ln_q", out);
  out.add_linear(merger_1_, merged_width(), merged_width(), true, group, "merger.mlp.0");
  out.add_linear(merger_2_, config_.text_hidden_size, merged_width(), true, group, "merger.mlp.2");
}

std::vector<ConnectorPart> QwenVision::connector() {
  const std::string at = "model.visual.merger.";
  std::vector<ConnectorPart> parts = {{at + "mlp.0.weight", &merger_1_.weight},
                                      {at + "mlp.0.bias", &merger_1_.bias},
                                      {at + "mlp.2.weight", &merger_2_.weight},
                                      {at + "mlp.2.bias", &merger_2_.bias},
                                      {at + "ln_q.weight", &merger_norm_.weight}};
  if (config_.tower.norm == VitNorm::layer) parts.push_back({at + "ln_q.bias", &merger_norm_.bias});
  return parts;
}

QwenOrder QwenVision::order(const CropSize& merged) const {
  QwenOrder order{.windows = {merged.height * merged.width}};
  order.rows.resize(size_t(merged.height) * size_t(merged.width));
  std::iota(order.rows.begin(), order.rows.end(), 0);
  return order;
}

std::vector<int32_t> QwenVision::patch_order(int32_t height, int32_t width) const {
  const int32_t k = config_.spatial_merge_size;
  std::vector<int32_t> places;
  for (const int32_t row : order({height / k, width / k}).rows) {
    const int32_t top = row / (width / k) * k, left = row % (width / k) * k;
    for (int32_t dy = 0; dy < k; ++dy) {
      for (int32_t dx = 0; dx < k; ++dx) places.push_back((top + dy) * width + left + dx);
    }
  }
  return places;
}

// Frequencies of half a head: the first half uses the patch's line, the second its column.
Rotation QwenVision::rotation(Context& ctx, std::span<const Image* const> images, int64_t num_rows,
                              Arena& scratch) const {
  std::vector<int32_t> lines, columns;
  for (const Image* image : images) {
    const CropSize grid = patch_grid(*image, config_.patch_size);
    for (const int32_t place : patch_order(grid.height, grid.width)) {
      lines.push_back(place / grid.width);
      columns.push_back(place % grid.width);
    }
  }
  lines.insert(lines.end(), columns.begin(), columns.end());
  const int32_t half = config_.tower.hidden_size / config_.tower.num_attention_heads / 2;
  std::vector<float> inv_freq = rope_frequencies(half, config_.rope_theta);
  std::vector<int32_t> axis(inv_freq.size(), 0);
  inv_freq.resize(size_t(half));
  std::copy_n(inv_freq.begin(), half / 2, inv_freq.begin() + half / 2);
  axis.resize(size_t(half), 1);
  return {upload(ctx, lines.data(), DType::i32, {2, num_rows}, scratch),
          upload(ctx, inv_freq.data(), DType::f32, {half}, scratch),
          upload(ctx, axis.data(), DType::i32, {half}, scratch)};
}

void QwenVision::features(Context& ctx, std::span<const Image* const> images, const Normalisation& normalisation,
                          const Tensor& features, Arena& scratch) const {
  const size_t mark = scratch.mark();
  const int64_t n = features.dim(0), k = max_features_per_row();
  std::vector<int32_t> all, windows, place;  // rows per image and per window; the place of each merged row
  for (const Image* image : images) {
    const QwenOrder o = order(merged_grid(image_shape(*image)));
    const int32_t first = int32_t(place.size());
    place.resize(place.size() + o.rows.size());
    for (size_t i = 0; i < o.rows.size(); ++i) place[size_t(first + o.rows[i])] = first + int32_t(i);
    all.push_back(int32_t(int64_t(o.rows.size()) * k));
    for (const int32_t rows : o.windows) windows.push_back(int32_t(rows * k));
  }
  const Tensor x = has_windows() ? scratch.tensor(features.dtype, {n, feature_width()}) : features;
  {
    const size_t inner = scratch.mark();
    const Tensor patches = scratch.tensor(features.dtype, {n, patch().width()});
    write_patches(ctx, images, normalisation, patch(), patches,
                  [this](int32_t height, int32_t width) { return patch_order(height, width); });
    vit_embed(ctx, config_.tower, tower_, {patches, 1}, x, scratch);
    scratch.release(inner);
  }
  const Rotation turn = rotation(ctx, images, n, scratch);
  const AttentionPlan plan = vit_plan(all, n), window_plan = vit_plan(windows, n);
  vit_layers(ctx, config_.tower, tower_,
             {.plan = &plan,
              .windows = &window_plan,
              .rotate = [&](const Tensor& heads) { rope(ctx, heads, turn); },
              .after = {}},
             x, scratch);
  if (has_windows()) {
    const Tensor index = upload(ctx, place.data(), DType::i32, {n / k}, scratch);
    gather_rows(ctx, x.reshaped({n / k, merged_width()}), index, features.reshaped({n / k, merged_width()}));
  }
  scratch.release(mark);
}

std::vector<Tensor> QwenVision::merger_rows(const Tensor& features, Arena& arena) const {
  const int64_t n = features.dim(0), rows = n / max_features_per_row();
  const Tensor normed = arena.tensor(features.dtype, {n, feature_width()});
  const Tensor statistics =
      config_.tower.norm == VitNorm::layer ? arena.tensor(DType::f32, {n, 2}) : arena.tensor(DType::f32, {n});
  const Tensor hidden = arena.tensor(features.dtype, {rows, merged_width()});
  return {normed, statistics, hidden, arena.tensor(features.dtype, {rows, merged_width()})};
}

void QwenVision::connect(Context& ctx, const Tensor& features, std::span<const ImageShape>, const Tensor& rows,
                         std::vector<Tensor>* kept, Arena& arena) const {
  if (kept) *kept = merger_rows(features, arena);
  const size_t mark = arena.mark();
  const std::vector<Tensor> own = kept ? *kept : merger_rows(features, arena);
  const Tensor &normed = own[0], &hidden = own[2], &active = own[3];
  vit_norm(ctx, config_.tower, merger_norm_, features, normed, &own[1]);
  linear_forward(ctx, merger_1_, normed.reshaped({rows.dim(0), merged_width()}), hidden, arena);
  gelu(ctx, Gelu::exact, hidden, active);
  linear_forward(ctx, merger_2_, active, rows, arena);
  arena.release(mark);
}

void QwenVision::connect_backward(Context& ctx, const Tensor& features, std::span<const ImageShape>,
                                  const std::vector<Tensor>& kept, const Tensor& drows, std::span<const Tensor> grads,
                                  Arena& scratch) const {
  const size_t mark = scratch.mark();
  const int64_t r = drows.dim(0);
  const Tensor dactive = scratch.tensor(drows.dtype, {r, merged_width()});
  const Tensor dnormed = scratch.tensor(drows.dtype, {features.dim(0), feature_width()});
  const Tensor beside = dnormed.reshaped({r, merged_width()});
  linear_backward(ctx, merger_2_, drows, kept[3], &dactive, {.weight = grads[2], .bias = grads[3]}, scratch);
  gelu_backward(ctx, Gelu::exact, dactive, kept[2], dactive);
  linear_backward(ctx, merger_1_, dactive, kept[0].reshaped({r, merged_width()}), &beside,
                  {.weight = grads[0], .bias = grads[1]}, scratch);
  // The gradient of the frozen tower's output stays in dnormed and is dropped.
  if (config_.tower.norm == VitNorm::layer)
    layer_norm_backward(ctx, dnormed, {features, merger_norm_.weight, kept[1]}, dnormed, false, &grads[4], &grads[5]);
  else
    rms_norm_backward(ctx, dnormed, {features, merger_norm_.weight, kept[1]}, dnormed, false, &grads[4]);
  scratch.release(mark);
}

}  // namespace vpref
