// SPDX-License-Identifier: Apache-2.0
// Steps whose launches are the same are recorded once and then sent to the GPU as one: a decoding step is hundreds of
// small kernels, and the gaps between them would cost as much as the work. A device that runs what it is given at once
// (the CPU) has nothing to record.
#pragma once
#include <cstdint>
#include <functional>
#include <list>
#include <string>
#include <vector>

#include "core/context.h"

namespace vpref {

class LaunchGraphs {
 public:
  // All that a step's launches depend on: which kernels, grids, addresses and numbers. Steps of equal signatures are
  // taken for the same.
  using Signature = std::vector<uint64_t>;
  struct Counts {
    int64_t steps = 0, captured = 0, replayed = 0;  // the first step of a signature is neither
  };

  LaunchGraphs(Device device, bool enabled) : device_(device), enabled_(enabled) {}
  ~LaunchGraphs() { forget(); }
  LaunchGraphs(const LaunchGraphs&) = delete;
  LaunchGraphs& operator=(const LaunchGraphs&) = delete;

  // `step` only queues work of the device on ctx.stream: it reads nothing back, copies nothing from or to the host and
  // allocates nothing. The first time it runs as it is (workspaces grow, libraries choose, kernels are loaded); the
  // second time it is recorded; from then on the record runs in its place.
  void run(Context& ctx, const Signature& signature, const std::function<void()>& step);
  const Counts& counts() const { return counts_; }
  // Why a driver would not record: then every step runs as it is. Empty while it would.
  const std::string& refusal() const { return refusal_; }

 private:
  struct Known {
    Signature signature;
    void* graph;  // null: seen once
  };
  void forget();

  Device device_;
  bool enabled_;
  std::list<Known> known_;  // the last used first
  Counts counts_;
  std::string refusal_;
};

#ifdef VPREF_CUDA
namespace cuda {
// What `step` queues on ctx.stream, without running it. Null when the driver refuses, with its reason.
// Error{"internal"} for a step that does what a record cannot repeat.
void* capture_graph(Context& ctx, const std::function<void()>& step, std::string& refusal);
// Queues the record on ctx.stream. `step` is what it stands for (the fiber executor of the tests compares them).
void launch_graph(Context& ctx, void* graph, const std::function<void()>& step);
void destroy_graph(void* graph);  // may still be running
}  // namespace cuda
#endif

}  // namespace vpref
