// SPDX-License-Identifier: Apache-2.0
// The default number of KV cache rows, and the memory plan as text.
#pragma once
#include <string>

#include "infer/generate.h"

namespace vpref {

// Rows of the KV cache: on the CPU, those that fit into a quarter of the memory; on a GPU, into the memory that weights
// and a step leave free. Throws Error{"memory"} if too few fit.
int64_t kv_rows_that_fit(const Model& model, Forward& forward, int64_t batch_tokens);

// Planned and used memory, one item per line.
std::string plan_text(const Model& model, const Generator& generator, const Forward& forward, const ImageCache& images,
                      int64_t batch_tokens);

}  // namespace vpref
