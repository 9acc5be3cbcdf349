// SPDX-License-Identifier: Apache-2.0
// Few query rows against many keys: keys and values are streamed once, as they lie.
#pragma once
#include <vector>

#include "backend/cpu/attention_tile.h"
#include "core/context.h"

namespace vpref::cpu {

constexpr int64_t kDecodeQueries = 8;  // rows times heads of a group that one pass over the keys serves

// spans: of kDecodeQueries queries at most.
void attend_decode(Context& ctx, const AttentionCall& call, const std::vector<const AttentionSpan*>& spans,
                   const AttentionOutput& to);

}  // namespace vpref::cpu
