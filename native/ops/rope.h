// SPDX-License-Identifier: Apache-2.0
// Rotary position embedding (Su et al. 2021, 2104.09864), half-split layout as Llama checkpoints store it.
#pragma once
#include "core/tensor.h"
#include "ops/dispatch.h"

namespace vpref {

// The rotation angles of a call: frequency i of a row turns by positions[axis[i]] * inv_freq[i], in f32 as in
// transformers.
struct Rotation {
  Tensor positions;  // [P,T] i32, dense: one row of positions per axis
  Tensor inv_freq;   // [D/2] f32, scaling already applied
  Tensor axis;       // [D/2] i32 in [0, P); empty where P is 1
};

// Rotates x in place: pairs (i, i + D/2) of each head by the angle of frequency i.
//   x: [T,H,D] f32 or bf16, rows may be strided. inverse: rotate by the negative angle, which is the backward.
void rope(Context& ctx, const Tensor& x, const Rotation& rotation, bool inverse = false);
VPREF_KERNELS(void, rope, Context&, const Tensor&, const Rotation&, bool)

// For steps that write the KV cache. A row of qkv holds query heads, then G key heads, then G value heads. Queries
// (possibly none) are rotated in place; keys are rotated into row kv_rows[t] of the cache, values copied into it.
// Afterwards the key and value heads of qkv are undefined.
//   qkv: [T,H+2G,D] f32 or bf16, rows may be strided; kv_rows: [T] i32 in [0, N), -1 writes no cache row; keys, values:
//     [N,G,D] of qkv's dtype.
void rope_to_cache(Context& ctx, const Tensor& qkv, const Rotation& rotation, const Tensor& kv_rows, const Tensor& keys,
                   const Tensor& values);
VPREF_KERNELS(void, rope_to_cache, Context&, const Tensor&, const Rotation&, const Tensor&, const Tensor&,
              const Tensor&)

}  // namespace vpref
