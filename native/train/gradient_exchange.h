// SPDX-License-Identifier: Apache-2.0
// The trained parameters on several ranks. Gradients are summed bucket by bucket while the backward runs; all ranks
// compute the same norm; ZeRO-1 (Rajbhandari 2020, 1910.02054) splits the optimizer's state over the ranks. With one
// rank nothing is sent.
//
// A bucket is a range of the flat store whose gradient is final after one layer's backward; adjacent ones are merged up
// to a minimum message size. Rank r owns part_of(bucket, r). With ZeRO-1 only rank r keeps the moments of that part,
// receives its summed gradient (reduce-scatter), updates it, and sends the new values to all (all-gather). Without
// ZeRO-1 every rank receives every sum (all-reduce) and updates everything.
#pragma once
#include <vector>

#include "dist/collective.h"
#include "train/trainable.h"

namespace vpref {

class GradientExchange {
 public:
  // min_bytes: minimum size of a merged bucket.
  GradientExchange(Collective& world, const Trainable& trainable, bool zero, size_t min_bytes);

  bool zero() const { return zero_; }
  // The ranges of the store with optimizer state on this rank, ascending.
  const std::vector<Part>& owned() const { return owned_; }

  // The gradients of layer `layer` are final (the backward runs from the last layer to the first): starts the sums of
  // complete buckets.
  void layer_done(Context& ctx, ParameterStore& store, int64_t layer);
  // Starts the remaining sums and waits for all.
  void finish(Context& ctx, ParameterStore& store);
  // The norm of the summed gradient; the same bits on every rank, with and without ZeRO-1.
  double norm(Context& ctx, const ParameterStore& store);
  // After an update: sends every rank's parts of the values to all.
  void gather_values(Context& ctx, ParameterStore& store);
  // The same for gradients after finish(), for callers that read them.
  void gather_gradients(Context& ctx, ParameterStore& store);
  // The moments of the whole store, gathered on rank 0: [numel] on the host there, empty on other ranks.
  std::vector<float> collect_moment(Context& ctx, const ParameterStore& store, bool second);

  struct Bucket {
    Part range;         // elements of the store
    int64_t layer = 0;  // final after this layer's backward; -1: after the whole backward
  };
  const std::vector<Bucket>& buckets() const { return buckets_; }

 private:
  void start(Context& ctx, ParameterStore& store, const Bucket& bucket);
  void gather(Context& ctx, const Tensor& flat);

  Collective& world_;
  bool zero_;
  std::vector<Bucket> buckets_;  // in the order in which they become final
  std::vector<Part> owned_;
  size_t num_started_ = 0;
};

}  // namespace vpref
