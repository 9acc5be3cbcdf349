// SPDX-License-Identifier: Apache-2.0
// The default number of KV cache rows, and the memory plan as text.
#pragma once
#include <string>

#include "core/memory.h"
#include "infer/generate.h"

namespace vpref {

constexpr int64_t kMinKvRows = 1024;  // of a KV cache

// Dtype of the computation if none is given.
inline DType default_dtype(Device device) { return device == Device::cuda ? DType::bf16 : DType::f32; }
// Default rows per step.
inline int64_t default_batch_tokens(Device device) { return device == Device::cuda ? 8192 : 1024; }
// On CUDA: memory of libraries, image encoder and attention, which the plan does not count.
size_t reserved_bytes(Device device, const MemorySize& memory);

// Rows of the KV cache: on the CPU, those that fit into a quarter of the memory; on a GPU, into the memory that weights
// and a step leave free. Throws Error{"memory"} if too few fit.
int64_t kv_rows_that_fit(const Model& model, Forward& forward, int64_t batch_tokens);

// Planned and used memory after a step, and what the memory has saved.
struct MemoryFigures {
  size_t weights_in_place, weights_converted;
  size_t kv_bytes, step_bytes, image_bytes;
  int64_t kv_rows = 0, kv_high_water_rows = 0;  // 0 before the KV cache is planned
  int64_t images_encoded, rows_prefilled, rows_shared;
  LaunchGraphs::Counts graphs;
  std::string graphs_refusal;
};
MemoryFigures memory_figures(const Model& model, const Generator& generator, const Forward& forward,
                             const ImageCache& images);
// One item per line.
std::string plan_text(const MemoryFigures& figures, const Model& model, int64_t batch_tokens);

}  // namespace vpref
