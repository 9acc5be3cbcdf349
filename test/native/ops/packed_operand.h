// SPDX-License-Identifier: Apache-2.0
// Packed weights as operands of op tests.
#pragma once
#include <vector>

#include "core/interleaved_weight.h"
#include "ops/variant.h"

namespace vpref {

// A packed weight on the device, and its unpacked values.
struct Packed {
  PackedWeight weight;
  Values values;
  std::vector<float> unpacked;
  Buffer buffer;
};

struct Size {
  int64_t n, k;
};

// On the CPU interleaved where it can be, as a model's weights are, unless `in_rows`.
inline Packed packed(Context& ctx, Packing packing, Size s, const Values& values, bool in_rows = false) {
  std::vector<float> from(values.begin(), values.end());
  Buffer host(Device::cpu, packed_bytes(packing, s.n, s.k), /*zero=*/true);
  PackedWeight w = packed_layout(packing, s.n, s.k, host.data());
  std::vector<float> absmax(size_t(packing_units(w)));
  EXPECT_TRUE(pack_units(Tensor(from.data(), DType::f32, {s.n, s.k}), 0, packing_units(w), w, absmax.data()));
  pack_scales(absmax.data(), w);
  Packed p;
  p.unpacked.resize(size_t(s.n * s.k));
  for (int64_t n = 0; n < s.n; ++n) unpack_row(w, n, 0, s.k, p.unpacked.data() + n * s.k);
  p.values.assign(p.unpacked.begin(), p.unpacked.end());
  if (ctx.device == Device::cpu && !in_rows && can_interleave(w)) {
    p.buffer = Buffer(Device::cpu, interleaved_bytes(w));
    p.weight = interleaved_layout(w, p.buffer.data());
    interleave(w, 0, interleaved_blocks(w), p.weight);
    return p;
  }
  p.buffer = Buffer(ctx.device, host.bytes());
  copy_to_device(ctx, p.buffer.data(), host.data(), host.bytes());
  p.weight = packed_layout(packing, s.n, s.k, p.buffer.data());
  p.weight.offset = w.offset;
  return p;
}

}  // namespace vpref
