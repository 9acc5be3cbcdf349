// SPDX-License-Identifier: Apache-2.0
#include "backend/cuda/attention_lists.h"

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <tuple>
#include <utility>

#include "backend/cuda/attention_scheduler.h"
#include "backend/cuda/check.h"
#include "core/arena.h"
#include "core/memory.h"

namespace vpref::cuda {
namespace {

// Device memory of plans that are gone, for the next step's: a decode step makes a plan, and cudaMalloc and cudaFree
// would stop the device. What is queued may still read a piece that is handed out again; its new contents are copied in
// the order of the stream.
class Pieces {
 public:
  // The same piece for the same pieces to choose from: the step before's, so that the launches that read it are the
  // same too.
  Buffer take(size_t bytes) {
    size_t size = kMinBytes;
    while (size < bytes) size *= 2;
    auto found = spare_.end();
    for (auto p = spare_.begin(); p != spare_.end(); ++p)
      if (p->bytes() == size && (found == spare_.end() || p->data() < found->data())) found = p;
    if (found == spare_.end()) return Buffer(Device::cuda, size);
    Buffer piece = std::move(*found);
    spare_.erase(found);
    return piece;
  }
  void give(Buffer piece) {
    if (spare_.size() == kMaxSpare) spare_.erase(spare_.begin());
    spare_.push_back(std::move(piece));
  }

 private:
  static constexpr size_t kMinBytes = size_t(64) << 10, kMaxSpare = 8;
  std::vector<Buffer> spare_;
};

// One compute thread owns the device. Shared: a plan may outlive the thread.
const std::shared_ptr<Pieces>& pieces() {
  thread_local const std::shared_ptr<Pieces> p = std::make_shared<Pieces>();
  return p;
}

// Decode steps whose lists grow a little have the same launches: grids and addresses follow from lengths that are
// rounded up. Here the places of a list, to a power of two; what follows the last entry is zero.
size_t kept_places(size_t n) {
  if (n == 0) return 0;
  size_t places = 64;
  while (places < n) places *= 2;
  return places;
}

// The length of a list that gives the grid: to a multiple of four, or of an eighth to a quarter of itself, by empty
// entries, at which a block ends. A branch adds a tile when it has grown by a part, kMinPart keys or more, so a
// grid stays for tens of steps.
size_t kept_count(size_t n) {
  size_t unit = 4;
  while (8 * unit <= n) unit *= 2;
  return (n + unit - 1) / unit * unit;
}

// Vectors side by side in one device buffer.
class Upload {
 public:
  template <class T>
  void add(const std::vector<T>& values, const T*& device) {
    const size_t bytes = values.size() * sizeof(T), at = host_.size();
    host_.resize(at + aligned(kept_places(values.size()) * sizeof(T)));
    std::copy_n(reinterpret_cast<const char*>(values.data()), bytes, host_.begin() + int64_t(at));
    places_.push_back([&device, at](const char* base) { device = reinterpret_cast<const T*>(base + at); });
  }
  Buffer send(Context& ctx) {
    Buffer device = pieces()->take(std::max<size_t>(host_.size(), 1));
    cuda::copy_to_device(ctx, device.data(), host_.data(), host_.size());
    for (const auto& place : places_) place(static_cast<const char*>(device.data()));
    return device;
  }

 private:
  std::vector<char> host_;
  std::vector<std::function<void(const char*)>> places_;
};

using Key = std::tuple<int64_t, int64_t, int64_t, AttentionKernels>;  // heads, kv_heads, kv_rows (backward), kernels

template <class Lists>
struct Kept {
  Key key;
  Buffer memory;
  Lists lists;
};

struct DerivedPlan {
  std::optional<Kept<ForwardLists>> forward;
  std::optional<Kept<BackwardLists>> backward;
  std::shared_ptr<Pieces> pool = pieces();
  ~DerivedPlan() {
    if (forward) pool->give(std::move(forward->memory));
    if (backward) pool->give(std::move(backward->memory));
  }
};

DerivedPlan& derived(const AttentionPlan& plan) {
  if (!plan.cache.derived) plan.cache.derived = std::make_shared<DerivedPlan>();
  return *static_cast<DerivedPlan*>(plan.cache.derived.get());
}

// What is kept under this key, or what fill(lists, upload) makes.
template <class Lists, class Fill>
const Lists& keep(Context& ctx, std::optional<Kept<Lists>>& kept, const Key& key, Fill fill) {
  if (kept && kept->key == key) return kept->lists;
  if (kept) pieces()->give(std::move(kept->memory));
  kept.emplace();
  kept->key = key;
  Upload upload;
  fill(kept->lists, upload);
  kept->memory = upload.send(ctx);
  return kept->lists;
}

}  // namespace

const ForwardLists& forward_lists(Context& ctx, const AttentionPlan& plan, int64_t heads, int64_t kv_heads,
                                  AttentionKernels kernels) {
  const TileSizes sizes =
      kernels == AttentionKernels::matrix ? TileSizes{kWideRows, kTileRows} : TileSizes{kDecodeRows, kDecodeRows};
  return keep(ctx, derived(plan).forward, Key{heads, kv_heads, 0, kernels}, [&](ForwardLists& lists, Upload& upload) {
    ForwardSchedule s = schedule_forward(plan, heads, kv_heads, sizes);
    upload.add(s.rows, lists.rows);
    upload.add(s.ranges, lists.ranges);
    upload.add(s.wide, lists.wide);
    upload.add(s.tiles, lists.tiles);
    s.decode.resize(kept_count(s.decode.size()));
    s.merges.resize(kept_count(s.merges.size()));
    upload.add(s.decode, lists.decode);
    upload.add(s.merges, lists.merges);
    upload.add(s.slots, lists.slots);
    lists.num_wide = int(s.wide.size());
    lists.num_tiles = int(s.tiles.size());
    lists.num_decode = int(s.decode.size());
    lists.num_merges = int(s.merges.size());
    lists.num_slots = int(kept_places(size_t(s.num_slots)));
  });
}

const BackwardLists& backward_lists(Context& ctx, const AttentionPlan& plan, int64_t heads, int64_t kv_heads,
                                    int64_t kv_rows, AttentionKernels kernels) {
  const int32_t tile_rows = kernels == AttentionKernels::matrix ? kTileRows : kDecodeRows;
  return keep(ctx, derived(plan).backward, Key{heads, kv_heads, kv_rows, kernels},
              [&](BackwardLists& lists, Upload& upload) {
                const BackwardSchedule s = schedule_backward(plan, heads, kv_heads, int32_t(kv_rows), tile_rows);
                upload.add(s.rows, lists.rows);
                upload.add(s.ranges, lists.ranges);
                upload.add(s.tiles, lists.tiles);
                upload.add(s.key_tiles, lists.key_tiles);
                upload.add(s.key_rows, lists.key_rows);
                lists.num_tiles = int(s.tiles.size());
                lists.num_key_tiles = int(s.key_tiles.size());
              });
}

}  // namespace vpref::cuda
