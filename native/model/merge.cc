// SPDX-License-Identifier: Apache-2.0
#include "model/merge.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/memory.h"
#include "ops/elementwise.h"
#include "ops/gemm.h"
#include "ops/packed_linear.h"

namespace vpref {

namespace {

// A dense copy of t on the device, in another dtype; rank 2, because the elementwise ops require it.
Tensor converted(Context& ctx, const Tensor& t, DType dtype, std::vector<Buffer>& owned) {
  owned.emplace_back(ctx.device, aligned(size_t(t.numel()) * dtype_size(dtype)));
  const int64_t cols = t.dim(-1), rows = t.numel() / cols;
  Tensor from = t, to(owned.back().data(), dtype, {rows, cols});
  from.rank = 2;
  from.shape = {rows, cols, 0, 0};
  from.stride = {t.rank == 2 ? t.stride[0] : cols, 1, 0, 0};
  convert(ctx, from, to);
  return to;
}

// value += sum of scale * B A over the layer's adapters. Returns the squared norm of the sum.
double add_adapters(Context& ctx, const Linear& linear, const Tensor& value, std::vector<Buffer>& owned) {
  const Tensor delta = converted(ctx, value, DType::f32, owned);
  fill(ctx, 0, delta);
  for (const LoraPair& pair : linear.adapters) {
    if (!pair.enabled) continue;
    gemm(ctx, converted(ctx, pair.b, DType::f32, owned), converted(ctx, pair.a, DType::f32, owned), delta, pair.scale,
         1.0f);
  }
  std::vector<float> host(size_t(delta.numel()));
  copy_to_host(ctx, host.data(), delta.data, delta.bytes());
  double squares = 0;
  for (float x : host) squares += double(x) * double(x);
  add(ctx, delta, value);
  return squares;
}

struct Squares {
  double difference = 0, norm = 0;
};

// Squared norms of a stored matrix and of its change by packing.
Squares packing_squares(const Tensor& stored, Packing packing, int threads, const std::string& name) {
  const int64_t rows = stored.dim(0), cols = stored.dim(1);
  Context host(Device::cpu, threads);
  const Buffer memory(Device::cpu, packed_bytes(packing, rows, cols)),
      values(Device::cpu, size_t(rows * cols) * sizeof(float));
  const PackedWeight w = pack_matrix(stored, packing, memory.data(), threads, name);
  const Tensor full(values.data(), DType::f32, {rows, cols});
  convert(host, stored, full);
  std::vector<float> row(static_cast<size_t>(cols));
  Squares s;
  for (int64_t r = 0; r < rows; ++r) {
    unpack_row(w, r, 0, cols, row.data());
    const float* from = full.as<float>() + r * cols;
    for (int64_t c = 0; c < cols; ++c) {
      s.difference += std::pow(double(row[size_t(c)]) - double(from[c]), 2);
      s.norm += double(from[c]) * double(from[c]);
    }
  }
  return s;
}

bool in_decoder(const Model& model, const Linear* linear) {
  for (const DecoderLayer& layer : model.weights.layers)
    for (const Linear& own : layer.linears)
      if (&own == linear) return true;
  return false;
}

double squared_distance(Context& ctx, const Tensor& a, const Tensor& b) {
  std::vector<float> x(size_t(a.numel())), y(x.size());
  copy_to_host(ctx, x.data(), a.data, a.bytes());
  copy_to_host(ctx, y.data(), b.data, b.bytes());
  double sum = 0;
  for (size_t i = 0; i < x.size(); ++i) sum += (double(x[i]) - double(y[i])) * (double(x[i]) - double(y[i]));
  return sum;
}

// 65504, and values that round to it.
constexpr float kF16End = 65520;

void check_f16(const std::string& name, const std::vector<float>& values) {
  for (const float x : values) {
    check(!std::isfinite(x) || std::fabs(x) < kF16End, "checkpoint", name,
          ": expected values that f16 can hold, up to 65504, got ", x, ": use --dtype f32");
  }
}

}  // namespace

MergeResult write_merged(Context& ctx, Model& model, const MergeTarget& target) {
  const DType dtype = target.dtype;
  check(dtype == DType::f32 || dtype == DType::f16, "dtype", "merged checkpoint: expected f32 or f16, got ",
        dtype_name(dtype));
  model.prepare(ctx);
  if (!model.weights.lm_head.adapters.empty()) model.untie_head();
  MergeResult result;
  result.untied = !model.config.text.tie_word_embeddings;
  double delta_squares = 0, error_squares = 0;
  Squares packing;
  const std::vector<std::string> paths = model.shard_paths();
  for (size_t shard = 0; shard < paths.size(); ++shard) {
    std::vector<Buffer> outputs;
    NamedTensors named;
    for (const Model::StoredName& s : model.stored_names()) {
      if (s.shard != shard) continue;
      const bool merges = s.linear && !s.linear->adapters.empty();
      std::vector<Buffer> owned;
      Tensor value;  // f32
      const PackedWeight* packed = s.linear && s.linear->packed ? &s.linear->packed : s.carried ? &s.carried : nullptr;
      if (packed) {
        const bool used = packed != &s.carried;
        owned.emplace_back(used ? ctx.device : Device::cpu, aligned(size_t(packed->numel()) * sizeof(float)));
        value = Tensor(owned.back().data(), DType::f32, {packed->num_rows, packed->num_cols});
        Context host(Device::cpu, ctx.num_threads);
        unpack_tile(used ? ctx : host, *packed, 0, 0, value);
        if (!is_float(s.stored.dtype)) ++result.num_unpacked;
      } else if (s.place) {
        value = converted(ctx, *s.place, DType::f32, owned);
      } else {
        Context host(Device::cpu, ctx.num_threads);
        owned.emplace_back(Device::cpu, aligned(size_t(s.stored.numel()) * 4));
        value = Tensor(owned.back().data(), DType::f32, {s.stored.numel() / s.stored.dim(-1), s.stored.dim(-1)});
        convert(host, s.stored.reshaped({value.dim(0), value.dim(1)}), value);
      }
      if (merges) {
        delta_squares += add_adapters(ctx, *s.linear, value, owned);
        ++result.num_merged;
        if (target.trained_on != Packing::none && is_float(s.stored.dtype) && in_decoder(model, s.linear)) {
          const Squares own = packing_squares(s.stored, target.trained_on, ctx.num_threads, s.name);
          packing.difference += own.difference;
          packing.norm += own.norm;
        }
      }
      std::vector<float> host(size_t(value.numel()));
      if (s.place) {
        copy_to_host(ctx, host.data(), value.data, value.bytes());
      } else {
        std::copy_n(value.as<float>(), host.size(), host.data());
      }
      if (dtype == DType::f16) check_f16(s.name, host);
      Context cpu(Device::cpu, ctx.num_threads);
      const Tensor source(host.data(), DType::f32, {1, int64_t(host.size())});
      outputs.emplace_back(Device::cpu, aligned(host.size() * dtype_size(dtype)));
      Tensor out(outputs.back().data(), dtype, {1, int64_t(host.size())});
      convert(cpu, source, out);
      if (merges && dtype != DType::f32) {
        std::vector<float> back(host.size());
        const Tensor rounded(back.data(), DType::f32, {1, int64_t(back.size())});
        convert(cpu, out, rounded);
        error_squares += squared_distance(cpu, source, rounded);
      }
      if (packed) {
        out = Tensor(out.data, dtype, {packed->num_rows, packed->num_cols});
      } else {
        out.rank = s.stored.rank;
        out.shape = s.stored.shape;
        out.stride = s.stored.stride;
      }
      named.emplace_back(s.name, out);
    }
    write_safetensors(target.dir + "/" + paths[shard].substr(paths[shard].rfind('/') + 1), named, {{"format", "pt"}});
  }
  if (packing.norm > 0) result.packing_change = std::sqrt(packing.difference / packing.norm);
  result.has_delta = delta_squares > 0;
  if (!result.has_delta) return result;
  result.packing_change_of_delta = std::sqrt(packing.difference / delta_squares);
  result.relative_error = std::sqrt(error_squares / delta_squares);
  return result;
}

}  // namespace vpref
