// SPDX-License-Identifier: Apache-2.0
// A view of memory: pointer, dtype, shape, strides. A view never owns memory; arenas, file mappings and vectors do.
#pragma once
#include <array>
#include <cstdint>
#include <initializer_list>
#include <iosfwd>
#include <vector>

#include "core/dtype.h"

namespace vpref {

struct Tensor {
  static constexpr int kMaxRank = 5;  // the weight of a convolution over frames

  void* data = nullptr;
  DType dtype = DType::f32;
  int rank = 0;
  std::array<int64_t, kMaxRank> shape{};
  std::array<int64_t, kMaxRank> stride{};  // in elements; the last is 1

  Tensor() = default;
  // A dense row-major view. A stored scalar has an empty shape.
  Tensor(void* data, DType dtype, std::initializer_list<int64_t> shape)
      : Tensor(data, dtype, shape.begin(), shape.size()) {}
  Tensor(void* data, DType dtype, const std::vector<int64_t>& shape)
      : Tensor(data, dtype, shape.data(), shape.size()) {}

  template <class T>
  T* as() const {
    return static_cast<T*>(data);
  }
  explicit operator bool() const { return data != nullptr; }
  int64_t dim(int i) const { return shape[i < 0 ? rank + i : i]; }
  int64_t numel() const;
  size_t bytes() const { return size_t(numel()) * dtype_size(dtype); }  // for a dense view
  bool dense() const;
  // Rows [begin, begin + count) of the first dimension.
  Tensor rows(int64_t begin, int64_t count) const;
  // Columns [begin, begin + count) of the last dimension of a rank-2 view; the row stride stays.
  Tensor cols(int64_t begin, int64_t count) const;
  // The columns of a rank-2 view as `count` heads, [T, count, N / count], and back; the row stride stays.
  Tensor heads(int64_t count) const;
  Tensor joined() const;
  // The same dense elements with another shape.
  Tensor reshaped(std::initializer_list<int64_t> shape) const;

 private:
  Tensor(void* data, DType dtype, const int64_t* shape, size_t rank);  // not std::span: nvcc reads this as C++17
};

// "[2, 3] f32". A check streams the tensor itself, so its text is made only when the check fails.
std::ostream& operator<<(std::ostream& out, const Tensor& t);

// Throws Error{"shape"} "[op] name: expected [..], got [..]" unless t has exactly this shape (-1 = any).
void expect_shape(const char* op, const char* name, const Tensor& t, std::initializer_list<int64_t> shape);

}  // namespace vpref
