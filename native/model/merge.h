// SPDX-License-Identifier: Apache-2.0
// A checkpoint with the adapters (and trained weights) written into it.
#pragma once
#include <string>

#include "model/load.h"

namespace vpref {

// Where a merged checkpoint goes, and what its adapters were trained on.
struct MergeTarget {
  std::string dir;
  DType dtype = DType::f16;
  Packing trained_on = Packing::none;
};

struct MergeResult {
  int64_t num_merged = 0;    // linear layers that had an adapter
  int64_t num_unpacked = 0;  // matrices that the files hold packed, written as what they stand for
  bool untied = false;       // the head has a delta of its own, or got one: it stands in the files beside the embedding
  // What packing as MergeTarget::trained_on changes of the merged linears' weights, as shares of their norm and of the
  // delta's; of those that the files do not hold packed.
  double packing_change = 0, packing_change_of_delta = 0;
  double relative_error = 0;  // what rounding to the file's dtype loses of the merged delta, as a share of its norm
};

// Writes every shard of the model into target.dir under its own file name, its tensors under their own names, as
// target.dtype (f32 or f16): W + sum scale B A computed in f32, everything else as it is computed with now. bf16 is
// refused: its 8 bits lose most of a small delta. A tied head with an adapter of its own is written beside the
// embedding. Throws Error{"checkpoint"} naming a tensor with a value that f16 cannot hold. One shard is in memory at a
// time.
MergeResult write_merged(Context& ctx, Model& model, const MergeTarget& target);

}  // namespace vpref
