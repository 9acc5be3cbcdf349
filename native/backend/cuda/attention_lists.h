// SPDX-License-Identifier: Apache-2.0
// A plan's schedules on the device, built at the first call and kept in plan.cache: every layer of a step uses the same
// lists.
#pragma once
#include "backend/cuda/attention_schedule.h"
#include "core/context.h"

namespace vpref::cuda {

// `decode` and `merges` are padded with empty entries: see kept_count().
struct ForwardLists {
  const TileRow* rows;
  const KvRange* ranges;
  const QueryTile *wide, *tiles, *decode;
  const MergeRow* merges;
  const int32_t* slots;
  int num_wide, num_tiles, num_decode, num_merges, num_slots;
};

struct BackwardLists {
  const TileRow* rows;
  const KvRange* ranges;
  const QueryTile* tiles;
  const KeyTile* key_tiles;
  const TileRow* key_rows;
  int num_tiles, num_key_tiles;
};

// The kernels that read the lists; they determine the rows per tile.
enum class AttentionKernels { matrix, plain };

const ForwardLists& forward_lists(Context& ctx, const AttentionPlan& plan, int64_t heads, int64_t kv_heads,
                                  AttentionKernels kernels);
const BackwardLists& backward_lists(Context& ctx, const AttentionPlan& plan, int64_t heads, int64_t kv_heads,
                                    int64_t kv_rows, AttentionKernels kernels);

}  // namespace vpref::cuda
