// SPDX-License-Identifier: Apache-2.0
#include "model/linear.h"

#include <algorithm>

#include "ops/dropout.h"
#include "ops/gemm.h"
#include "ops/linear_stack.h"
#include "ops/packed_linear.h"

namespace vpref {

bool LinearGrads::any() const {
  for (const Lora& l : adapters) {
    if (l.a) return true;
  }
  return bool(weight) || bool(bias);
}

int64_t saved_rank(const Linear& l) {
  int64_t rank = 0;
  for (const LoraPair& pair : l.adapters) rank += pair.enabled ? pair.a.dim(0) : 0;
  return rank;
}

namespace {

// Bytes of packed weights that are unpacked at a time. On the CPU the tile stays in cache for its product.
constexpr int64_t kCpuTileBytes = 8 << 20, kCudaTileBytes = 64 << 20;

// Number of slices (of `width` elements, `all` in total) per tile.
int64_t tile_slices(const Context& ctx, int64_t all, int64_t width, DType dtype) {
  constexpr int64_t kStep = 64;
  const int64_t bytes = ctx.device == Device::cpu ? kCpuTileBytes : kCudaTileBytes;
  const int64_t fit = bytes / std::max<int64_t>(width * int64_t(dtype_size(dtype)), 1) / kStep * kStep;
  return std::min(all, std::max(fit, kStep));
}

// dtype of unpacked tiles: f32 on the CPU, the tensor cores' input on a GPU.
DType tile_dtype(const Context& ctx, const Tensor& x) { return ctx.device == Device::cpu ? DType::f32 : x.dtype; }

// y = x W^T + bias of a packed weight that the device cannot multiply directly.
void unpacked_forward(Context& ctx, const Linear& l, const Tensor& x, const Tensor& y, Arena& scratch) {
  const size_t mark = scratch.mark();
  const int64_t step = tile_slices(ctx, l.outputs(), l.inputs(), tile_dtype(ctx, x));
  const Tensor tile = scratch.tensor(tile_dtype(ctx, x), {step, l.inputs()});
  for (int64_t n = 0; n < l.outputs(); n += step) {
    const int64_t count = std::min(step, l.outputs() - n);
    const Tensor rows = tile.rows(0, count), some = l.bias ? l.bias.rows(n, count) : Tensor();
    unpack_tile(ctx, l.packed, n, 0, rows);
    linear(ctx, x, rows, some ? &some : nullptr, y.cols(n, count));
  }
  scratch.release(mark);
}

LinearPart part_of(const Linear& l, const Tensor& y) {
  return {l.packed ? nullptr : &l.weight, l.packed ? &l.packed : nullptr, l.bias ? &l.bias : nullptr, y};
}

// dx = beta dx + dy W.
void base_backward(Context& ctx, const Linear& l, const Tensor& dy, const Tensor& dx, float beta, Arena& scratch) {
  if (!l.packed) return linear_backward_input(ctx, dy, l.weight, dx, beta);
  const size_t mark = scratch.mark();
  const DType dtype = tile_dtype(ctx, dy);
  const int64_t step = tile_slices(ctx, l.inputs(), l.outputs(), dtype);
  const Tensor memory = scratch.tensor(dtype, {l.outputs() * step});
  for (int64_t k = 0; k < l.inputs(); k += step) {
    const int64_t count = std::min(step, l.inputs() - k);
    const Tensor tile(memory.data, dtype, {l.outputs(), count});
    unpack_tile(ctx, l.packed, 0, k, tile);
    linear_backward_input(ctx, dy, tile, dx.cols(k, count), beta);
  }
  scratch.release(mark);
}

DropoutMask mask_of(const LoraPair& pair) { return {pair.dropout->p, pair.dropout->seed, pair.place}; }

// The input of A: x, after dropout if the pair drops.
Tensor input_of(Context& ctx, const LoraPair& pair, const Tensor& x, Arena& scratch) {
  if (!pair.drops()) return x;
  const Tensor kept = scratch.tensor(x.dtype, {x.dim(0), x.dim(1)});
  dropout(ctx, x, pair.dropout->rows, mask_of(pair), kept);
  return kept;
}

// An enabled adapter of one of the linears, its x A^T, and the columns of y that it adds to.
struct Enabled {
  const LoraPair& pair;
  Tensor h, y;
};

// The enabled adapters in order. saved_h as in linear_forward; without it, h is in scratch.
std::vector<Enabled> enabled_adapters(std::span<const Linear> linears, const Tensor& x, const Tensor& y, Arena& scratch,
                                      std::span<const Tensor> saved_h) {
  std::vector<Enabled> all;
  int64_t column = 0;
  for (size_t i = 0; i < linears.size(); ++i) {
    const Linear& l = linears[i];
    const Tensor saved = saved_h.empty() ? Tensor() : saved_h[i];
    int64_t saved_column = 0;
    for (const LoraPair& pair : l.adapters) {
      if (!pair.enabled) continue;
      const int64_t rank = pair.a.dim(0);
      all.push_back({pair, saved ? saved.cols(saved_column, rank) : scratch.tensor(x.dtype, {x.dim(0), rank}),
                     y.cols(column, l.outputs())});
      saved_column += rank;
    }
    column += l.outputs();
  }
  return all;
}

// dx += dh A, through the dropout mask of x.
void add_input_gradient(Context& ctx, const LoraPair& pair, const Tensor& dh, const Tensor& dx, Arena& scratch) {
  if (!pair.drops()) return gemm(ctx, dh, pair.a, dx, 1.0f, 1.0f);
  const size_t mark = scratch.mark();
  const Tensor kept = scratch.tensor(dx.dtype, {dx.dim(0), dx.dim(1)});
  gemm(ctx, dh, pair.a, kept);
  dropout(ctx, kept, pair.dropout->rows, mask_of(pair), dx, /*accumulate=*/true);
  scratch.release(mark);
}

// Everything except the base weight's part of dx.
void backward_parameters(Context& ctx, const Linear& l, const Tensor& dy, const LinearForward& forward,
                         const Tensor* dx, const LinearGrads& grads, Arena& scratch) {
  const Tensor& x = forward.x;
  const Tensor saved_h = forward.saved_h.empty() ? Tensor() : forward.saved_h[0];
  const int64_t num_rows = dy.dim(0);
  if (grads.weight) linear_backward_weight(ctx, dy, x, grads.weight, grads.bias ? &grads.bias : nullptr);
  const size_t mark = scratch.mark();
  int64_t column = 0;
  for (size_t i = 0; i < l.adapters.size(); ++i) {
    const LoraPair& pair = l.adapters[i];
    if (!pair.enabled) continue;
    const int64_t rank = pair.a.dim(0);
    const bool trained = i < grads.adapters.size() && grads.adapters[i].a;
    if (dx || trained) {
      const Tensor dh = scratch.tensor(dy.dtype, {num_rows, rank});
      gemm(ctx, dy, pair.b, dh, pair.scale);
      if (dx) add_input_gradient(ctx, pair, dh, *dx, scratch);
      if (trained) {
        const Tensor in = input_of(ctx, pair, x, scratch);
        linear_backward_weight(ctx, dh, in, grads.adapters[i].a, nullptr);
        Tensor h = saved_h ? saved_h.cols(column, rank) : Tensor();
        if (!h) {
          h = scratch.tensor(x.dtype, {num_rows, rank});
          linear(ctx, in, pair.a, nullptr, h);
        }
        linear_backward_weight(ctx, dy, h, grads.adapters[i].b, nullptr, pair.scale);
      }
    }
    scratch.release(mark);
    column += rank;
  }
}

}  // namespace

Linear stacked(const Context& ctx, std::span<const Linear> linears) {
  if (ctx.device == Device::cpu ||
      std::any_of(linears.begin(), linears.end(), [](const Linear& l) { return bool(l.packed); }))
    return {};
  Linear all{linears[0].weight, linears[0].bias};
  if (linears.size() == 1) return all;
  all.weight.shape[0] = 0;
  for (const Linear& l : linears) {
    const Tensor& w = l.weight;
    const int64_t n = all.weight.dim(0);
    if (w.dtype != all.weight.dtype || !w.dense() || w.dim(1) != all.weight.dim(1) ||
        w.data != all.weight.rows(n, 0).data)
      return {};
    if (bool(l.bias) != bool(all.bias) ||
        (l.bias && (l.bias.dtype != all.bias.dtype || l.bias.data != all.bias.rows(n, 0).data)))
      return {};
    all.weight.shape[0] += w.dim(0);
  }
  if (all.bias) all.bias.shape[0] = all.weight.dim(0);
  return all;
}

void linear_forward(Context& ctx, std::span<const Linear> linears, const Tensor& x, const Tensor& y, Arena& scratch,
                    std::span<const Tensor> saved_h) {
  const size_t mark = scratch.mark();
  const Linear one = stacked(ctx, linears);
  const std::vector<Enabled> adapters = enabled_adapters(linears, x, y, scratch, saved_h);
  std::vector<LinearPart> parts;  // everything that reads x itself
  parts.reserve(linears.size() + adapters.size());
  if (one.weight) parts.push_back(part_of(one, y));
  int64_t column = 0;
  for (const Linear& l : linears) {
    const Tensor part = y.cols(column, l.outputs());
    column += l.outputs();
    if (one.weight) continue;
    if (l.packed && ctx.device != Device::cpu && x.dim(0) > kPackedSkinnyRows)
      unpacked_forward(ctx, l, x, part, scratch);
    else
      parts.push_back(part_of(l, part));
  }
  for (const Enabled& e : adapters)
    if (!e.pair.drops()) parts.push_back({&e.pair.a, nullptr, nullptr, e.h});
  linear_stack(ctx, x, parts);
  for (const Enabled& e : adapters) {
    const size_t kept = scratch.mark();
    if (e.pair.drops()) linear(ctx, input_of(ctx, e.pair, x, scratch), e.pair.a, nullptr, e.h);
    scratch.release(kept);
    gemm(ctx, e.h, transposed(e.pair.b), e.y, e.pair.scale, 1.0f);
  }
  scratch.release(mark);
}

void linear_forward(Context& ctx, const Linear& l, const Tensor& x, const Tensor& y, Arena& scratch) {
  linear_forward(ctx, std::span(&l, 1), x, y, scratch);
}

void linear_backward(Context& ctx, std::span<const Linear> linears, const Tensor& dy, const LinearForward& forward,
                     const Tensor* dx, std::span<const LinearGrads> grads, Arena& scratch) {
  const Linear one = stacked(ctx, linears);
  if (dx && one.weight) linear_backward_input(ctx, dy, one.weight, *dx);
  int64_t column = 0;
  for (size_t i = 0; i < linears.size(); ++i) {
    const Linear& l = linears[i];
    const Tensor part = dy.cols(column, l.outputs());
    if (dx && !one.weight) base_backward(ctx, l, part, *dx, column == 0 ? 0 : 1, scratch);
    const LinearForward own{forward.x, forward.saved_h.empty() ? forward.saved_h : forward.saved_h.subspan(i, 1)};
    backward_parameters(ctx, l, part, own, dx, grads[i], scratch);
    column += part.dim(1);
  }
}

void linear_backward(Context& ctx, const Linear& l, const Tensor& dy, const Tensor& x, const Tensor* dx,
                     const LinearGrads& grads, Arena& scratch) {
  linear_backward(ctx, std::span(&l, 1), dy, LinearForward{x}, dx, std::span(&grads, 1), scratch);
}

}  // namespace vpref
