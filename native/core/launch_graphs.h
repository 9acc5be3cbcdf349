// SPDX-License-Identifier: Apache-2.0
// CUDA graphs of steps with equal launches: a step is captured once, then replayed with one call. A decoding step has
// hundreds of small kernels, and the gaps between separate launches would take as long as the kernels. On the CPU there
// is nothing to capture.
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
  // Everything that the launches of a step depend on: kernels, grids, addresses and scalars. Steps with equal
  // signatures are treated as equal.
  using Signature = std::vector<uint64_t>;
  struct Counts {
    int64_t steps = 0, captured = 0, replayed = 0;  // the first step of a signature is neither
  };

  LaunchGraphs(Device device, bool enabled) : device_(device), enabled_(enabled) {}
  ~LaunchGraphs() { forget(); }
  LaunchGraphs(const LaunchGraphs&) = delete;
  LaunchGraphs& operator=(const LaunchGraphs&) = delete;

  // `step` only queues device work on ctx.stream: it reads nothing back, copies nothing from or to the host and
  // allocates nothing. The first call runs it directly: workspaces grow, libraries choose algorithms, kernels are
  // loaded. The second call captures it. Later calls replay the graph.
  void run(Context& ctx, const Signature& signature, const std::function<void()>& step);
  const Counts& counts() const { return counts_; }
  // The driver's reason when a capture failed; every later step then runs directly. Empty otherwise.
  const std::string& refusal() const { return refusal_; }

 private:
  struct Known {
    Signature signature;
    void* graph;  // null: run once, not captured yet
  };
  void forget();

  Device device_;
  bool enabled_;
  std::list<Known> known_;  // most recently used first
  Counts counts_;
  std::string refusal_;
};

#ifdef VPREF_CUDA
namespace cuda {
// Captures what `step` queues on ctx.stream, without running it. Returns null when the driver refuses, and sets
// `refusal` to its reason. Throws Error{"internal"} when the step does something that a graph cannot replay.
void* capture_graph(Context& ctx, const std::function<void()>& step, std::string& refusal);
// Queues the graph on ctx.stream. `step` is the step that was captured; the fiber executor of the tests captures it
// again and compares.
void launch_graph(Context& ctx, void* graph, const std::function<void()>& step);
void destroy_graph(void* graph);  // the graph may still be running
}  // namespace cuda
#endif

}  // namespace vpref
