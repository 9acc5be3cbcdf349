// SPDX-License-Identifier: Apache-2.0
#include "core/tensor.h"

#include <algorithm>

#include "core/error.h"

namespace vpref {

Tensor::Tensor(void* p, DType t, const int64_t* dims, size_t count) : data(p), dtype(t), rank(int(count)) {
  check(count <= kMaxRank, "internal", "tensor rank ", count);
  std::copy_n(dims, count, shape.begin());
  int64_t s = 1;
  for (int k = rank - 1; k >= 0; --k) {
    stride[k] = s;
    s *= shape[k];
  }
}

int64_t Tensor::numel() const {
  int64_t n = rank ? 1 : 0;
  for (int i = 0; i < rank; ++i) n *= shape[i];
  return n;
}

bool Tensor::dense() const {
  int64_t s = 1;
  for (int k = rank - 1; k >= 0; --k) {
    if (shape[k] != 1 && stride[k] != s) return false;
    s *= shape[k];
  }
  return true;
}

Tensor Tensor::rows(int64_t begin, int64_t count) const {
  Tensor t = *this;
  t.data = static_cast<char*>(data) + begin * stride[0] * int64_t(dtype_size(dtype));
  t.shape[0] = count;
  return t;
}

Tensor Tensor::cols(int64_t begin, int64_t count) const {
  Tensor t = *this;
  t.data = static_cast<char*>(data) + begin * int64_t(dtype_size(dtype));
  t.shape[rank - 1] = count;
  return t;
}

Tensor Tensor::heads(int64_t count) const {
  check(rank == 2 && count > 0 && shape[1] % count == 0, "internal", "split ", *this, " into ", count, " heads");
  Tensor t = *this;
  t.rank = 3;
  t.shape = {shape[0], count, shape[1] / count, 0};
  t.stride = {stride[0], shape[1] / count, 1, 0};
  return t;
}

Tensor Tensor::joined() const {
  check(rank == 3 && stride[1] == shape[2] && stride[2] == 1, "internal", "join the heads of ", *this);
  Tensor t = *this;
  t.rank = 2;
  t.shape = {shape[0], shape[1] * shape[2], 0, 0};
  t.stride = {stride[0], 1, 0, 0};
  return t;
}

Tensor Tensor::reshaped(std::initializer_list<int64_t> dims) const {
  check(dense(), "internal", "reshape of a strided view");
  Tensor t(data, dtype, dims);
  check(t.numel() == numel(), "internal", "reshape ", *this, " to ", t);
  return t;
}

std::ostream& operator<<(std::ostream& out, const Tensor& t) {
  out << '[';
  for (int i = 0; i < t.rank; ++i) out << (i ? ", " : "") << t.shape[i];
  return out << "] " << dtype_name(t.dtype);
}

void expect_shape(const char* op, const char* name, const Tensor& t, std::initializer_list<int64_t> shape) {
  bool ok = t.rank == int(shape.size());
  int i = 0;
  for (int64_t d : shape) {
    if (!ok) break;
    ok = d < 0 || t.shape[i] == d;
    ++i;
  }
  if (ok) return;
  std::string want = "[";
  i = 0;
  for (int64_t d : shape) want += (i++ ? ", " : "") + (d < 0 ? std::string("any") : std::to_string(d));
  throw Error("shape", cat("[", op, "] ", name, ": expected ", want, "], got ", t));
}

}  // namespace vpref
