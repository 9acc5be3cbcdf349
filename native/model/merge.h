// SPDX-License-Identifier: Apache-2.0
// Writes a checkpoint with the adapters (and trained weights) merged into it.
#pragma once
#include <string>

#include "model/load.h"

namespace vpref {

// Destination of a merged checkpoint, and the packing that its adapters were trained on.
struct MergeTarget {
  std::string dir;
  DType dtype = DType::f16;
  Packing trained_on = Packing::none;
};

struct MergeResult {
  int64_t num_merged = 0;    // linear layers that had an adapter
  int64_t num_unpacked = 0;  // matrices that the files hold packed, written unpacked
  bool untied = false;       // the head has its own delta, so the files store it beside the embedding
  bool has_delta = false;    // the delta of the linears is not zero
  // Change of the merged linears' weights by packing as MergeTarget::trained_on, as shares of the norms of weight and
  // delta; without linears that the files hold packed.
  double packing_change = 0, packing_change_of_delta = 0;
  double relative_error = 0;  // loss of the merged delta by rounding to the file's dtype, as a share of its norm
};

// Writes every shard into target.dir under its own file name, tensors under their own names, as target.dtype (f32 or
// f16). Linears: W + sum scale B A, computed in f32. Other tensors: their current values. bf16 is refused, because its
// 8 bits lose most of a small delta. A tied head with its own adapter is written beside the embedding. Throws
// Error{"checkpoint"} naming a tensor with a value that f16 cannot hold. One shard is in memory at a time.
MergeResult write_merged(Context& ctx, Model& model, const MergeTarget& target);

}  // namespace vpref
