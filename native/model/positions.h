// SPDX-License-Identifier: Apache-2.0
// Positions of rows, on the host: one number per axis and row. A text row has the same number on every axis.
#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace vpref {

class Positions {
 public:
  explicit Positions(int32_t num_axes = 1) : num_axes_(num_axes) {}
  int32_t num_axes() const { return num_axes_; }
  int32_t size() const { return int32_t(values_.size()) / num_axes_; }
  int32_t at(int32_t axis, int32_t row) const { return values_[size_t(row * num_axes_ + axis)]; }

  void add(int32_t position) { values_.insert(values_.end(), size_t(num_axes_), position); }
  void add(const std::array<int32_t, 3>& position) {
    values_.insert(values_.end(), position.begin(), position.begin() + num_axes_);
  }
  // Appends rows [first, first + count) of `others`.
  void add(const Positions& from, int32_t first, int32_t count) {
    const auto begin = from.values_.begin() + first * num_axes_;
    values_.insert(values_.end(), begin, begin + count * num_axes_);
  }
  Positions gathered(std::span<const int32_t> rows) const {
    Positions out(num_axes_);
    for (const int32_t row : rows) out.add(*this, row, 1);
    return out;
  }
  // [P,T], as ops take them.
  std::vector<int32_t> by_axis() const {
    if (num_axes_ == 1) return values_;
    std::vector<int32_t> out(values_.size());
    for (int32_t row = 0; row < size(); ++row)
      for (int32_t axis = 0; axis < num_axes_; ++axis) out[size_t(axis * size() + row)] = at(axis, row);
    return out;
  }

 private:
  int32_t num_axes_;
  std::vector<int32_t> values_;  // row by row
};

}  // namespace vpref
