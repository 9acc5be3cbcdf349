// SPDX-License-Identifier: Apache-2.0
#include "infer/capacity.h"

#include <algorithm>

#include "core/byte_text.h"
#include "core/error.h"

namespace vpref {

namespace {

constexpr int64_t kMaxKvRowsCpu = 16384, kMaxKvRowsCuda = 262144;
constexpr size_t kCudaReserve = size_t(512) << 20;

}  // namespace

size_t reserved_bytes(Device device, const MemorySize& memory) {
  return device == Device::cpu ? 0 : std::max(memory.total / 16, kCudaReserve);
}

int64_t kv_rows_that_fit(const Model& model, Forward& forward, int64_t batch_tokens) {
  const MemorySize memory = memory_size(model.device());
  if (model.device() == Device::cpu)
    return std::max(kMinKvRows, KvCache::rows_within(memory.total / 4, model.config, model.compute(), kMaxKvRowsCpu));
  const size_t step = forward.plan_bytes(), taken = step + reserved_bytes(model.device(), memory);
  const size_t left = memory.free - std::min(memory.free, taken);
  const int64_t rows = KvCache::rows_within(left, model.config, model.compute(), kMaxKvRowsCuda);
  check(rows >= kMinKvRows, "memory", "the GPU has ", mebibytes(memory.free), " free beside the weights; a step of ",
        batch_tokens, " rows takes ", mebibytes(step), " and ", kMinKvRows, " cached tokens ",
        mebibytes(KvCache::bytes_of(model.config, model.compute(), kMinKvRows)),
        ": lower --batch-tokens, or use a GPU with more memory");
  return rows;
}

MemoryFigures memory_figures(const Model& model, const Generator& generator, const Forward& forward,
                             const ImageCache& images) {
  const KvCache* kv_cache = generator.kv_cache();
  return {.weights_in_place = model.mapped_bytes(),
          .weights_converted = model.owned_bytes(),
          .kv_bytes = kv_cache ? kv_cache->bytes() : 0,
          .step_bytes = forward.planned_bytes(),
          .image_bytes = images.bytes(),
          .kv_rows = kv_cache ? kv_cache->num_rows() : 0,
          .kv_high_water_rows = kv_cache ? kv_cache->high_water_rows() : 0,
          .images_encoded = images.num_encoded(),
          .rows_prefilled = generator.rows_prefilled(),
          .rows_shared = generator.rows_shared(),
          .graphs = forward.graphs().counts(),
          .graphs_refusal = forward.graphs().refusal()};
}

std::string plan_text(const MemoryFigures& f, const Model& model, int64_t batch_tokens) {
  std::string text = cat(
      "weights read in place: ", mebibytes(f.weights_in_place), "\nweights converted: ", mebibytes(f.weights_converted),
      "\nKV cache: ",
      f.kv_rows > 0 ? cat(mebibytes(f.kv_bytes), " for ", f.kv_rows, " rows, ", f.kv_high_water_rows, " used so far")
                    : std::string("not planned yet"),
      "\nstep arena: ", mebibytes(f.step_bytes), " for ", batch_tokens, " rows of ", dtype_name(model.compute()),
      "\nimage rows: ", mebibytes(f.image_bytes), " (", f.images_encoded, " images encoded)",
      "\nprompt rows: ", f.rows_prefilled, " computed, ", f.rows_shared, " shared");
  if (model.device() == Device::cuda) {
    text += cat("\ndecoding steps: ", f.graphs.steps, ", ", f.graphs.captured, " captured, ", f.graphs.replayed,
                " replayed");
    if (!f.graphs_refusal.empty()) text += cat("; none more are captured: ", f.graphs_refusal);
  }
  return text;
}

}  // namespace vpref
