// SPDX-License-Identifier: Apache-2.0
// Timing of one op: the median of repeated runs, as a row of NDJSON.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "core/arena.h"
#include "core/context.h"
#include "core/tensor.h"

namespace vpref::bench {

// Seconds of one run: the median over at least 5 runs and `budget` seconds. On CUDA each of them is a queue of runs
// that takes some milliseconds.
double median_seconds(const std::function<void()>& run, double budget = 0.5);

struct Row {
  std::string op, shape, dtype;
  double seconds;
  double flops = 0;  // of one run, or 0
  double bytes = 0;  // that must move, or 0
};

// Prints one line; `share` is of the measured peak of the same program: copy bandwidth or the best GEMM rate.
void report(const Context& ctx, const Row& row);
void set_peaks(double gflops_f32, double gflops_bf16, double gigabytes);

// Owns its memory on the bench's device; filled with small values, or the i32 given.
class Data {
 public:
  Data(DType dtype, std::initializer_list<int64_t> shape);
  Data(std::initializer_list<int64_t> shape, const std::vector<int32_t>& values);
  const Tensor& view() const { return view_; }

 private:
  Buffer buffer_;
  Tensor view_;
};

void bench_gemm(Context& ctx);
void bench_packed(Context& ctx);
void bench_attention(Context& ctx);
void bench_rows(Context& ctx);
int bench_cuda(Context& ctx);  // the shapes of LLaVA-1.5-7B in training and decoding; how many ops failed

}  // namespace vpref::bench
