// SPDX-License-Identifier: Apache-2.0
// The trained parameters of several ranks: gradients summed bucket by bucket while the backward still runs, the norm
// that all agree on, and with ZeRO-1 (Rajbhandari 2020, 1910.02054) the optimizer's state split over the ranks. With
// one rank nothing is sent.
//
// A bucket is a piece of the flat store whose gradient is final after one layer's backward; neighbours are merged until
// a bucket is worth a message. Rank r owns part_of(bucket, r): with ZeRO-1 it alone keeps the moments of that part,
// gets its summed gradient (reduce-scatter), updates it, and gives the new values to all (all-gather). Without, every
// rank gets every sum (all-reduce) and updates everything.
#pragma once
#include <vector>

#include "dist/collective.h"
#include "train/trainable.h"

namespace vpref {

class GradientExchange {
 public:
  // min_bytes: buckets are merged up to this size.
  GradientExchange(Collective& world, const Trainable& trainable, bool zero, size_t min_bytes);

  bool zero() const { return zero_; }
  // What this rank keeps optimizer state for: ranges of the store, ascending.
  const std::vector<Part>& owned() const { return owned_; }

  // The gradients of layer `layer` (the backward goes from the last to the first) are final: starts what has become
  // whole.
  void layer_done(Context& ctx, ParameterStore& store, int64_t layer);
  // Starts the rest and waits for all.
  void finish(Context& ctx, ParameterStore& store);
  // Of the summed gradient: the same bits on every rank, with and without ZeRO-1.
  double norm(Context& ctx, const ParameterStore& store);
  // After an update: every rank's parts of the values to all.
  void gather_values(Context& ctx, ParameterStore& store);
  // The same for gradients after finish(), for those who want to read them.
  void gather_gradients(Context& ctx, ParameterStore& store);
  // The moments of the whole store, collected on rank 0: [numel] on the host there, empty elsewhere.
  std::vector<float> collect_moment(Context& ctx, const ParameterStore& store, bool second);

  struct Bucket {
    Part range;         // elements of the store
    int64_t layer = 0;  // final after this layer's backward; -1: after everything
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
