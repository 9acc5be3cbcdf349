// SPDX-License-Identifier: Apache-2.0
#include "core/launch_graphs.h"

#include <algorithm>

namespace vpref {

#ifdef VPREF_CUDA
namespace {

constexpr size_t kMaxKnown = 64;  // a graph of a large model takes several megabytes

}  // namespace

void LaunchGraphs::run(Context& ctx, const Signature& signature, const std::function<void()>& step) {
  if (ctx.measuring()) return step();
  ++counts_.steps;
  if (device_ == Device::cpu || !enabled_ || !refusal_.empty()) return step();
  const auto found =
      std::find_if(known_.begin(), known_.end(), [&](const Known& k) { return k.signature == signature; });
  if (found == known_.end()) {
    step();
    known_.push_front({signature, nullptr});
    if (known_.size() <= kMaxKnown) return;
    if (known_.back().graph) cuda::destroy_graph(known_.back().graph);
    known_.pop_back();
    return;
  }
  known_.splice(known_.begin(), known_, found);
  Known& known = known_.front();
  if (known.graph) {
    ++counts_.replayed;
    return cuda::launch_graph(ctx, known.graph, step);
  }
  known.graph = cuda::capture_graph(ctx, step, refusal_);
  if (!known.graph) {
    forget();
    return step();
  }
  ++counts_.captured;
  cuda::launch_graph(ctx, known.graph, step);
}

void LaunchGraphs::forget() {
  for (const Known& k : known_)
    if (k.graph) cuda::destroy_graph(k.graph);
  known_.clear();
}
#else
void LaunchGraphs::run(Context& ctx, const Signature&, const std::function<void()>& step) {
  counts_.steps += ctx.measuring() ? 0 : 1;
  step();
}

void LaunchGraphs::forget() {}
#endif

}  // namespace vpref
