// SPDX-License-Identifier: Apache-2.0
// What the engine takes beside the weights: rows of the KV cache where nobody says how many, and the plan in words.
#pragma once
#include <string>

#include "core/memory.h"
#include "infer/generate.h"

namespace vpref {

constexpr int64_t kMinKvRows = 1024;  // of a KV cache

// Rows of a step where nobody says how many.
inline int64_t default_batch_tokens(Device device) { return device == Device::cuda ? 8192 : 1024; }
// Kept free on a GPU beside the plan: libraries, image encoder, attention.
size_t reserved_bytes(Device device, const MemorySize& memory);

// Rows of the KV cache: on the CPU what a quarter of the memory holds, on a GPU what is left beside weights and step.
// Throws Error{"memory"} when that is too little for anything.
int64_t kv_rows_that_fit(const Model& model, Forward& forward, int64_t batch_tokens);

// What is planned and used, one item a line.
std::string plan_text(const Model& model, const Generator& generator, const Forward& forward, const ImageCache& images,
                      int64_t batch_tokens);

}  // namespace vpref
