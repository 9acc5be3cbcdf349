// SPDX-License-Identifier: Apache-2.0
#include "train/parameters.h"

#include <algorithm>

#include "core/error.h"
#include "core/memory.h"
#include "ops/adamw.h"
#include "ops/elementwise.h"

namespace vpref {

namespace {

Buffer zeros(Context& ctx, size_t bytes) {
  return ctx.measuring() ? Buffer::measuring(bytes) : Buffer(ctx.device, bytes, /*zero=*/true);
}

}  // namespace

int ParameterStore::add(std::string name, int64_t rows, int64_t cols, int group) {
  check(parameters_.empty() || parameters_.back().group <= group, "internal",
        "parameters must be added group by group");
  parameters_.push_back({std::move(name), {rows, cols}, numel_, group});
  // Pieces start at 64-byte boundaries so that every view is aligned for SIMD and cp.async; the gaps stay zero.
  numel_ += (rows * cols + 15) & ~int64_t(15);
  return int(parameters_.size()) - 1;
}

void ParameterStore::allocate(Context& ctx, DType compute) {
  compute_ = compute;
  const size_t bytes = size_t(numel_) * sizeof(float);
  for (Buffer* b : {&master_, &grad_}) *b = zeros(ctx, bytes);
  if (compute != DType::f32) copy_ = zeros(ctx, size_t(numel_) * dtype_size(compute));
}

void ParameterStore::allocate_state(Context& ctx, const std::vector<std::pair<int64_t, int64_t>>& ranges) {
  states_.clear();
  int64_t kept = 0;
  for (const auto& [begin, end] : ranges) {
    states_.push_back({begin, end, kept});
    kept += end - begin;
  }
  for (Buffer* b : {&m_, &v_}) *b = zeros(ctx, size_t(kept) * sizeof(float));
}

Tensor ParameterStore::view(const Buffer& buffer, int i, DType dtype) const {
  const Parameter& p = parameters_[i];
  return Tensor(static_cast<char*>(buffer.data()) + p.offset * int64_t(dtype_size(dtype)), dtype,
                {p.shape[0], p.shape[1]});
}

Tensor ParameterStore::flat(const Buffer& buffer, DType dtype) const { return Tensor(buffer.data(), dtype, {numel_}); }

std::pair<int64_t, int64_t> ParameterStore::group_range(int group) const {
  int64_t begin = numel_, end = 0;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    if (parameters_[i].group != group) continue;
    begin = std::min(begin, parameters_[i].offset);
    end = i + 1 < parameters_.size() ? parameters_[i + 1].offset : numel_;
  }
  return {std::min(begin, end), end};
}

int ParameterStore::num_groups() const { return parameters_.empty() ? 0 : parameters_.back().group + 1; }

void ParameterStore::refresh_copy(Context& ctx) {
  if (compute_ != DType::f32) convert(ctx, flat_master(), flat(copy_, compute_));
}

void ParameterStore::zero_grad(Context& ctx) { device_zero(ctx.device, grad_.data(), grad_.bytes()); }

void ParameterStore::adamw(Context& ctx, int64_t begin, int64_t end, double lr, double weight_decay, int64_t step,
                           double grad_scale) {
  const AdamW options{
      .lr = float(lr), .weight_decay = float(weight_decay), .step = step, .grad_scale = float(grad_scale)};
  for (const State& s : states_) {
    const int64_t from = std::max(begin, s.begin), count = std::min(end, s.end) - from;
    if (count <= 0) continue;
    const auto piece = [&](const Tensor& t) { return t.rows(from, count); };
    const auto moment = [&](const Tensor& t) { return t.rows(from - s.begin, count); };
    const Tensor copy = compute_ == DType::f32 ? Tensor() : piece(flat(copy_, compute_));
    vpref::adamw(ctx, options, piece(flat_master()), piece(flat_grad()), moment(first_moment(s)),
                 moment(second_moment(s)), copy ? &copy : nullptr);
  }
}

}  // namespace vpref
