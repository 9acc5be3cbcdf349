// SPDX-License-Identifier: Apache-2.0
#include "infer/capacity.h"

#include <algorithm>

#include "core/memory.h"

namespace vpref {

namespace {

constexpr int64_t kMaxKvRowsCpu = 16384, kMaxKvRowsCuda = 262144;
constexpr size_t kCudaReserve = size_t(512) << 20;

std::string mebibytes(size_t bytes) { return cat((bytes + (1 << 19)) >> 20, " MiB"); }

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

std::string plan_text(const Model& model, const Generator& generator, const Forward& forward, const ImageCache& images,
                      int64_t batch_tokens) {
  const KvCache* kv_cache = generator.kv_cache();
  std::string text = cat("weights read in place: ", mebibytes(model.mapped_bytes()),
                         "\nweights converted: ", mebibytes(model.owned_bytes()), "\nKV cache: ",
                         kv_cache ? cat(mebibytes(kv_cache->bytes()), " for ", kv_cache->num_rows(), " rows, ",
                                        kv_cache->high_water_rows(), " used so far")
                                  : std::string("not planned yet"),
                         "\nstep arena: ", mebibytes(forward.planned_bytes()), " for ", batch_tokens, " rows of ",
                         dtype_name(model.compute()), "\nimage rows: ", mebibytes(images.bytes()), " (",
                         images.num_encoded(), " images encoded)", "\nprompt rows: ", generator.rows_prefilled(),
                         " computed, ", generator.rows_shared(), " shared");
  if (model.device() == Device::cuda) {
    const LaunchGraphs::Counts& c = forward.graphs().counts();
    text += cat("\ndecoding steps: ", c.steps, ", ", c.recorded, " recorded, ", c.replayed, " replayed");
    if (!forward.graphs().refusal().empty()) text += cat("; none more are recorded: ", forward.graphs().refusal());
  }
  return text;
}

}  // namespace vpref
