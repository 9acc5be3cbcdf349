// SPDX-License-Identifier: Apache-2.0
// The trainable parameters as one flat f32 store: master values, gradients, AdamW moments, and named views into them.
// One pass over one buffer serves the optimizer, the norm, the checkpoint and the all-reduce.
#pragma once
#include <string>
#include <vector>

#include "core/arena.h"
#include "core/context.h"
#include "core/tensor.h"

namespace vpref {

// A named piece of the store. `value` is what forward reads: the master itself in f32, a bf16 copy otherwise.
struct Parameter {
  std::string name;  // as the checkpoint spells it
  std::array<int64_t, 2> shape;
  int64_t offset;  // elements from the start of the store
  int group;       // index into ParameterStore::learning-rate groups
  int64_t numel() const { return shape[0] * shape[1]; }
};

class ParameterStore {
 public:
  // Declare every parameter, group by group (groups ascending), then allocate(); the optimizer's moments come with
  // allocate_state(), for ranges [begin, end) of the store that ascend and do not touch each other's elements. While
  // ctx measures no memory is taken.
  int add(std::string name, int64_t rows, int64_t cols, int group);
  void allocate(Context& ctx, DType compute);
  void allocate_state(Context& ctx, const std::vector<std::pair<int64_t, int64_t>>& ranges);

  int64_t numel() const { return numel_; }
  const std::vector<Parameter>& parameters() const { return parameters_; }
  Tensor master(int i) const { return view(master_, i, DType::f32); }
  Tensor grad(int i) const { return view(grad_, i, DType::f32); }
  Tensor value(int i) const { return compute_ == DType::f32 ? master(i) : view(copy_, i, compute_); }
  // Whole-store views; group_range gives [begin, end) of a learning-rate group.
  Tensor flat_master() const { return flat(master_, DType::f32); }
  Tensor flat_grad() const { return flat(grad_, DType::f32); }
  // Elements [begin, end) of the store whose moments are kept here, from element `at` of the moments' buffers on.
  struct State {
    int64_t begin, end, at;
  };
  const std::vector<State>& states() const { return states_; }
  Tensor first_moment(const State& s) const {
    return Tensor(static_cast<float*>(m_.data()) + s.at, DType::f32, {s.end - s.begin});
  }
  Tensor second_moment(const State& s) const {
    return Tensor(static_cast<float*>(v_.data()) + s.at, DType::f32, {s.end - s.begin});
  }
  std::pair<int64_t, int64_t> group_range(int group) const;
  int num_groups() const;

  // Master -> bf16 copy after values were written from outside (initialisation, checkpoint).
  void refresh_copy(Context& ctx);
  void zero_grad(Context& ctx);
  // One AdamW step of those elements of [begin, end) whose state is kept here.
  void adamw(Context& ctx, int64_t begin, int64_t end, double lr, double weight_decay, int64_t step, double grad_scale);

  // Bytes that n elements take, the moments of `kept` of them here.
  static size_t bytes(int64_t n, int64_t kept, DType compute) {
    return size_t(n) * (8 + (compute == DType::f32 ? 0 : dtype_size(compute))) + size_t(kept) * 8;
  }
  size_t bytes() const {
    return bytes(numel_, states_.empty() ? 0 : states_.back().at + states_.back().end - states_.back().begin, compute_);
  }

 private:
  Tensor view(const Buffer& buffer, int i, DType dtype) const;
  Tensor flat(const Buffer& buffer, DType dtype) const;

  std::vector<Parameter> parameters_;
  int64_t numel_ = 0;
  DType compute_ = DType::f32;
  std::vector<State> states_;
  Buffer master_, grad_, m_, v_, copy_;
};

}  // namespace vpref
