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

const VitNames kNames = {.layers = "blocks.",
                         .norm1 = "norm1",
                         .norm2 = "norm2",
                         .qkv = "attn.qkv",
                         .q_proj = "",
                         .k_proj = "",
                         .v_proj = "",
                         .out_proj = "attn.proj",
                         .gate = "",
                         .fc1 = "mlp.linear_fc1",
                         .fc2 = "mlp.linear_fc2"};

constexpr size_t kTaps = 4, kKeptPerPlane = 3, kPartsPerMerger = 6;

// Where a row or column of a grid reads a side of the table: corners are aligned.
struct Tap {
  int32_t low, high;
  float share;  // of high
};

Tap tap(int32_t at, int32_t count, int32_t side) {
  const float source = float(at) * (float(side - 1) / float(std::max(count - 1, 1)));
  const int32_t low = std::min(int32_t(source), side - 1);
  return {low, std::min(low + 1, side - 1), source - float(low)};
}

size_t bytes_of(int64_t rows, int64_t cols, DType dtype) { return aligned(size_t(rows * cols) * dtype_size(dtype)); }

template <class T>
Tensor upload(Context& ctx, const std::vector<T>& values, DType dtype, Arena& arena) {
  const Tensor t = arena.tensor(dtype, {int64_t(values.size())});
  copy_to_device(ctx, t.data, values.data(), t.bytes());
  return t;
}

}  // namespace

Qwen3VlVision::Qwen3VlVision(const Qwen3VlConfig& config) : config_(config), mergers_(size_t(num_planes())) {
  mergers_[0].path = "merger";
  for (size_t i = 1; i < mergers_.size(); ++i) mergers_[i].path = cat("deepstack_merger_list.", i - 1);
}

CropSize Qwen3VlVision::grid(const CropSize& crop) const {
  const int32_t unit = config_.patch.size * config_.patch.block;
  check(crop.height > 0 && crop.width > 0 && crop.height % unit == 0 && crop.width % unit == 0, "request",
        "image: expected sides that are multiples of ", unit, " pixels, got ", crop.width, " x ", crop.height);
  return {crop.height / config_.patch.size, crop.width / config_.patch.size};
}

int64_t Qwen3VlVision::num_features(const ImageShape& image) const {
  check(image.crops.size() == 1, "request", "image: expected one crop, got ", image.crops.size());
  const CropSize g = grid(image.crops[0]);
  return int64_t(g.height) * g.width;
}

ImageLayout Qwen3VlVision::layout(const ImageShape& image) const {
  const int32_t rows = int32_t(num_features(image) / config_.merged());
  const CropSize g = grid(image.crops[0]);
  const int32_t height = g.height / config_.patch.block, width = g.width / config_.patch.block;
  ImageLayout layout{.runs = {rows}, .position_span = std::max(height, width)};
  for (int32_t y = 0; y < height; ++y)
    for (int32_t x = 0; x < width; ++x) layout.offsets.push_back({0, y, x});
  return layout;
}

void Qwen3VlVision::list_tensors(FamilyTensors& out) {
  const int64_t c = config_.tower.hidden_size, p = config_.patch.size, wide = config_.merged_width();
  const int group = out.add_group({{"model.visual."}, "model.visual.", {}});
  out.tensors.push_back({&tower_.patch_embedding.weight,
                         {c, 3, config_.patch.frames, p, p},
                         {c, config_.patch.width()},
                         group,
                         "patch_embed.proj.weight"});
  out.add(&tower_.patch_embedding.bias, {c}, group, "patch_embed.proj.bias");
  out.add(&tower_.position_embedding, {config_.num_position_embeddings, c}, group, "pos_embed.weight");
  list_vit_layers(config_.tower, kNames, group, tower_, out);
  for (size_t i = 0; i < mergers_.size(); ++i) {
    Qwen3VlMerger& m = mergers_[i];
    list_vit_norm(m.norm, VitNorm::layer, i == 0 ? c : wide, group, m.path + ".norm", out);
    out.add_linear(m.fc1, wide, wide, true, group, m.path + ".linear_fc1");
    out.add_linear(m.fc2, config_.text_hidden_size, wide, true, group, m.path + ".linear_fc2");
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

std::vector<CropSize> Qwen3VlVision::grids(std::span<const Image* const> images) const {
  std::vector<CropSize> out;
  for (const Image* image : images) out.push_back(grid(image_shape(*image).crops[0]));
  return out;
}

// table[N, C]: learned positions between the table's own, summed in f32 as transformers does.
void Qwen3VlVision::interpolate(Context& ctx, std::span<const CropSize> grids, const Tensor& table,
                                Arena& scratch) const {
  const size_t mark = scratch.mark();
  std::array<std::vector<int32_t>, kTaps> rows;
  std::array<std::vector<float>, kTaps> shares;
  const int32_t side = config_.table_side;
  for (const CropSize& g : grids) {
    for (const int32_t place : block_order(g.height, g.width, config_.patch.block)) {
      const Tap y = tap(place / g.width, g.height, side), x = tap(place % g.width, g.width, side);
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
    gather_rows(ctx, tower_.position_embedding, upload(ctx, rows[k], DType::i32, scratch), to);
    scale_rows(ctx, upload(ctx, shares[k], DType::f32, scratch), to);
    if (k > 0) add(ctx, one, sum);
  }
  convert(ctx, sum, table);
  scratch.release(mark);
}

// Half of the frequencies turn by the patch's row, half by its column.
Rotation Qwen3VlVision::rotation(Context& ctx, std::span<const CropSize> grids, int64_t num_rows,
                                 Arena& scratch) const {
  std::vector<int32_t> positions(size_t(2 * num_rows)), axis;
  size_t row = 0;
  for (const CropSize& g : grids) {
    for (const int32_t place : block_order(g.height, g.width, config_.patch.block)) {
      positions[row] = place / g.width;
      positions[size_t(num_rows) + row++] = place % g.width;
    }
  }
  std::vector<float> inv_freq;
  const int32_t half = config_.tower.hidden_size / config_.tower.num_attention_heads / 2;
  for (int32_t a = 0; a < 2; ++a) {
    for (int32_t i = 0; i < half; i += 2) {
      axis.push_back(a);
      inv_freq.push_back(1.0f / float(std::pow(config_.rope_theta, double(float(i) / float(half)))));
    }
  }
  return {upload(ctx, positions, DType::i32, scratch).reshaped({2, num_rows}),
          upload(ctx, inv_freq, DType::f32, scratch), upload(ctx, axis, DType::i32, scratch)};
}

// Columns of a plane among merged rows, [N / m^2, m^2 C].
Tensor Qwen3VlVision::merged(const Tensor& features, int64_t plane) const {
  const int64_t wide = config_.merged_width();
  return features.reshaped({features.dim(0) / config_.merged(), num_planes() * wide}).cols(plane * wide, wide);
}

void Qwen3VlVision::features(Context& ctx, std::span<const Image* const> images, const Normalisation& normalisation,
                             const Tensor& features, Arena& scratch) const {
  const size_t mark = scratch.mark();
  const int64_t n = features.dim(0), c = config_.tower.hidden_size;
  const std::vector<CropSize> grids = this->grids(images);
  const Tensor x = scratch.tensor(features.dtype, {n, c});
  {
    const size_t inner = scratch.mark();
    const Tensor table = scratch.tensor(features.dtype, {n, c});
    interpolate(ctx, grids, table, scratch);
    const Tensor patches = scratch.tensor(features.dtype, {n, config_.patch.width()});
    write_patches(ctx, images, normalisation, config_.patch, patches);
    // The rows of all images are as those of one crop.
    vit_embed(ctx, config_.tower, tower_, patches, 1, table, x, scratch);
    scratch.release(inner);
  }
  std::vector<int32_t> lengths;
  for (const CropSize& g : grids) lengths.push_back(g.height * g.width);
  const AttentionPlan plan = vit_plan(lengths);
  const Rotation turn = rotation(ctx, grids, n, scratch);
  const auto keep = [&](int64_t plane) {
    convert(ctx, x.reshaped({n / config_.merged(), config_.merged_width()}), merged(features, plane));
  };
  VitCall call{.plan = &plan};
  call.rotate = [&](const Tensor& heads) { rope(ctx, heads, turn); };
  call.after = [&](size_t layer, const Tensor&) {
    const auto at = std::find(config_.deepstack.begin(), config_.deepstack.end(), int32_t(layer));
    if (at != config_.deepstack.end()) keep(at - config_.deepstack.begin() + 1);
  };
  vit_layers(ctx, config_.tower, tower_, call, x, scratch);
  keep(0);
  scratch.release(mark);
}

// What a merger's norm reads; the main one's is of single patches, [N, C].
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
  const int64_t num_rows = features.dim(0) / config_.merged(), wide = config_.merged_width();
  const auto memory = [&] { return arena.tensor(features.dtype, {num_rows, wide}); };
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
  const int64_t num_rows = features.dim(0) / config_.merged(), wide = config_.merged_width();
  for (size_t plane = 0; plane < mergers_.size(); ++plane) {
    const size_t mark = scratch.mark();
    const Qwen3VlMerger& m = mergers_[plane];
    const Tensor* own = kept.data() + kKeptPerPlane * plane;
    const Tensor &normed = own[0], &hidden = own[1], &active = own[2];
    const Tensor* grad = grads.data() + kPartsPerMerger * plane;
    const Tensor dactive = scratch.tensor(drows.dtype, {num_rows, wide}),
                 dnormed = scratch.tensor(drows.dtype, {num_rows, wide});
    linear_backward(ctx, m.fc2, drows.rows(int64_t(plane) * num_rows, num_rows), active, &dactive, 0,
                    {.weight = grad[4], .bias = grad[5]}, scratch);
    gelu_backward(ctx, Gelu::exact, dactive, hidden, dactive);
    linear_backward(ctx, m.fc1, dactive, normed, &dnormed, 0, {.weight = grad[2], .bias = grad[3]}, scratch);
    // The norm's statistics are found again; nothing reads what flows further down.
    const Tensor x = merger_input(ctx, features, plane, scratch), mean_rstd = scratch.tensor(DType::f32, {x.dim(0), 2});
    const auto as_input = [&](const Tensor& t) { return t.reshaped({x.dim(0), x.dim(1)}); };
    merger_norm(ctx, plane, x, normed, &mean_rstd);
    layer_norm_backward(ctx, as_input(dnormed), x, m.norm.weight, mean_rstd, as_input(dactive), /*accumulate=*/false,
                        &grad[0], &grad[1]);
    scratch.release(mark);
  }
}

size_t Qwen3VlVision::tower_bytes(int64_t num_features, DType dtype) const {
  const int64_t n = num_features, c = config_.tower.hidden_size, head = c / config_.tower.num_attention_heads;
  const size_t x = bytes_of(n, c, dtype), numbers = bytes_of(n, 1, DType::f32);
  const size_t positions = 2 * bytes_of(n, c, DType::f32) + 2 * kTaps * numbers;
  const size_t embedding =
      bytes_of(n, config_.patch.width(), dtype) + bytes_of(n, saved_rank(tower_.patch_embedding), dtype);
  const size_t turn = bytes_of(2 * n, 1, DType::i32) + 2 * bytes_of(head, 1, DType::f32);
  return x + std::max(x + std::max(positions, embedding), turn + vit_scratch_bytes(config_.tower, tower_, n, dtype));
}

size_t Qwen3VlVision::connect_bytes(int64_t num_features, DType dtype) const {
  const int64_t rows = (num_features + config_.merged() - 1) / config_.merged();
  int64_t rank = 0;
  for (const Qwen3VlMerger& m : mergers_) rank = std::max({rank, saved_rank(m.fc1), saved_rank(m.fc2)});
  return 3 * bytes_of(rows, config_.merged_width(), dtype) + bytes_of(2 * num_features, 1, DType::f32) +
         bytes_of(rows, rank, dtype);
}

size_t Qwen3VlVision::kept_bytes(int64_t num_features, DType dtype) const {
  const int64_t rows = (num_features + config_.merged() - 1) / config_.merged();
  return kKeptPerPlane * mergers_.size() * bytes_of(rows, config_.merged_width(), dtype);
}

}  // namespace vpref
