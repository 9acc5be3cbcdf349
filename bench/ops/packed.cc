// SPDX-License-Identifier: Apache-2.0
// Linear layers whose weights are packed, beside the dense ones of gemm.cc. Few rows read the weights from memory, one
// of several matrices in turn.
#include "ops/packed_linear.h"

#include "bench.h"
#include "core/interleaved_weight.h"

namespace vpref::bench {
namespace {

PackedWeight packed(Packing packing, const Tensor& from, Buffer& memory) {
  const int64_t n = from.dim(0), k = from.dim(1);
  const Buffer rows(Device::cpu, packed_bytes(packing, n, k));
  PackedWeight w = packed_layout(packing, n, k, rows.data());
  std::vector<float> absmax(size_t(packing_units(w)));
  pack_units(from, 0, packing_units(w), w, absmax.data());
  pack_scales(absmax.data(), w);
  memory = Buffer(Device::cpu, interleaved_bytes(w));
  const PackedWeight to = interleaved_layout(w, memory.data());
  interleave(w, 0, interleaved_blocks(w), to);
  return to;
}

}  // namespace

void bench_packed(Context& ctx) {
  const int64_t k = 4096, n = 4096;
  const Data from(DType::f32, {n, k});
  for (const Packing packing : {Packing::int8, Packing::nf4}) {
    const int64_t count = packing == Packing::int8 ? 12 : 24;
    std::vector<Buffer> memory((size_t(count)));
    std::vector<PackedWeight> weights;
    for (Buffer& b : memory) weights.push_back(packed(packing, from.view(), b));
    for (const int64_t t : {1, 2, 4, 8, 16, 100, 700}) {
      const Data x(DType::f32, {t, k}), y(DType::f32, {t, n});
      const int64_t turns = t <= 16 ? count : 1;
      const double s = median_seconds(
                           [&] {
                             for (int64_t i = 0; i < turns; ++i)
                               packed_linear(ctx, x.view(), weights[size_t(i)], nullptr, y.view());
                           },
                           0.4) /
                       double(turns);
      report(ctx, {"packed linear", std::to_string(t) + "x4096x4096 weight " + packing_name(packing), "f32", s,
                   2.0 * double(t * k * n), t <= 16 ? double(weights[0].bytes()) : 0});
    }
    const Data tile(DType::f32, {n, k});
    report(ctx, {"unpack", std::string("4096x4096 ") + packing_name(packing), "f32",
                 median_seconds([&] { unpack_tile(ctx, weights[0], 0, 0, tile.view()); }, 0.3), 0,
                 double(tile.view().bytes())});
  }
}

}  // namespace vpref::bench
