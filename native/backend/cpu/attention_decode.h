// SPDX-License-Identifier: Apache-2.0
// Attention of few query rows to many keys: keys and values are streamed once, without packing.
#pragma once
#include <vector>

#include "backend/cpu/attention_tile.h"
#include "core/context.h"

namespace vpref::cpu {

constexpr int64_t kDecodeQueries = 8;  // rows x heads of a group per pass over the keys

// spans: each at most kDecodeQueries queries.
void attend_decode(Context& ctx, const AttentionCall& call, const std::vector<const AttentionSpan*>& spans,
                   const AttentionOutput& to);

}  // namespace vpref::cpu
