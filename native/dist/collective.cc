// SPDX-License-Identifier: Apache-2.0
#include "dist/collective.h"

#include <algorithm>
#include <chrono>

#include "core/error.h"
#include "dist/mpi.h"
#ifdef VPREF_NCCL
#include "dist/nccl.h"
#endif

namespace vpref {

namespace {

class SingleProcess : public Collective {
 public:
  SingleProcess() : Collective(0, 1) {}
  std::string name() const override { return "one process"; }
  void broadcast(void*, size_t, int) override {}
  void all_reduce(std::span<double>, Reduce) override {}
  std::vector<std::string> all_gather(const std::string& mine) override { return {mine}; }
  void barrier() override {}
  void notify() override {}
  bool notified() override { return false; }
  void leave() override {}

 protected:
  void all_reduce_flat(Context&, float*, int64_t) override {}
  void reduce_scatter_flat(Context&, float*, int64_t) override {}
  void all_gather_flat(Context&, void*, int64_t, DType) override {}
  void wait_flat(Context&) override {}
};

// Counted per process, as ranks are: several trainers may join one world in turn.
int64_t num_phases = 0;

}  // namespace

Part part_of(int64_t n, int rank, int size) {
  const int64_t share = ((n + size - 1) / size + 15) & ~int64_t(15);
  return {std::min(n, rank * share), std::min(n, (rank + 1) * share)};
}

void Collective::count(double payload_bytes, double share) {
  ++volume_.calls;
  volume_.payload_bytes += int64_t(payload_bytes);
  volume_.sent_bytes += share * payload_bytes * (size_ - 1) / size_;
}

void Collective::start_all_reduce(Context& ctx, float* data, int64_t n) {
  if (n == 0) return;
  count(double(n) * sizeof(float), 2);
  all_reduce_flat(ctx, data, n);
}

void Collective::start_reduce_scatter(Context& ctx, float* data, int64_t n) {
  if (n == 0) return;
  count(double(n) * sizeof(float), 1);
  reduce_scatter_flat(ctx, data, n);
}

void Collective::start_all_gather(Context& ctx, void* data, int64_t n, DType dtype) {
  if (n == 0) return;
  count(double(n) * double(dtype_size(dtype)), 1);
  all_gather_flat(ctx, data, n, dtype);
}

void Collective::wait(Context& ctx) {
  const auto start = std::chrono::steady_clock::now();
  wait_flat(ctx);
  volume_.wait_seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void Collective::begin_phase() {
  if (size_ > 1) ++num_phases;
}

int64_t Collective::phase() { return num_phases; }

std::unique_ptr<Collective> single_process() { return std::make_unique<SingleProcess>(); }

std::unique_ptr<Collective> join_world(const WorldOptions& options) {
  if (options.size == 1) return single_process();
  std::unique_ptr<Collective> world = join_mpi(options);
  if (options.device == Device::cpu) return world;
#ifdef VPREF_NCCL
  return nccl_over(std::move(world));
#else
  throw Error("dist",
              "device cuda: several ranks need NCCL, and this engine was built without it: install nccl.h "
              "(libnccl-dev, or pip install "
              "nvidia-nccl-cu13) and build again with scripts/build-native.sh --cuda");
#endif
}

}  // namespace vpref
