// SPDX-License-Identifier: Apache-2.0
// A family's vision tower with the connector behind it (projector, merger): from images to what stands among the
// tokens. An object of the family, which owns its weights.
//
//   crops -> features() -> features[N, feature_width()] -> connect() -> rows[num_planes() * R, D]
//            frozen                                         may be trained
//
// What is sized by an image follows from its ImageShape alone: layout() and num_features() need no weights.
#pragma once
#include <span>
#include <string>
#include <vector>

#include "core/arena.h"
#include "core/context.h"
#include "input/pixels.h"
#include "model/image_layout.h"

namespace vpref {

struct FamilyTensors;

// A tensor of the connector that training may change. Its gradient is f32 of the same shape.
struct ConnectorPart {
  std::string name;  // in transformers' module tree
  Tensor* value;
};

class Vision {
 public:
  virtual ~Vision() = default;

  // What an image is among the tokens. Throws Error{"request"} where its crops are not what the tower takes.
  virtual ImageLayout layout(const ImageShape& image) const = 0;
  // Rows of what the frozen part makes of an image; throws as layout() does.
  virtual int64_t num_features(const ImageShape& image) const = 0;
  virtual int64_t feature_width() const = 0;
  // Features that make a row among the tokens, at most: for memory that is planned before images are known.
  virtual int64_t max_features_per_row() const { return 1; }
  // Rows are [planes][R, D]: plane 0 stands among the tokens, plane k is added to them after decoder layer k - 1
  // (DeepStack).
  virtual int64_t num_planes() const { return 1; }

  // Adds its groups, tensors and linears, with fields of this object as slots; sizes its layers.
  virtual void list_tensors(FamilyTensors& out) = 0;
  // In the order of their files. Complete once list_tensors() and the loading are done.
  virtual std::vector<ConnectorPart> connector() = 0;

  // What these three take of an arena follows from the sizes of their tensors alone, for memory is planned by a Measure
  // of them, without images and shapes.
  //
  // features[N, feature_width()] of all images in order, in the compute dtype.
  virtual void features(Context& ctx, std::span<const Image* const> images, const Normalisation& normalisation,
                        const Tensor& features, Arena& scratch) const = 0;
  // rows[num_planes() * R, D] from the features of `images`. kept: receives the tensors that the backward needs, which
  // stay in `arena`; null: nothing is kept.
  virtual void connect(Context& ctx, const Tensor& features, std::span<const ImageShape> images, const Tensor& rows,
                       std::vector<Tensor>* kept, Arena& arena) const = 0;
  // Sums the gradients of connector() from drows[num_planes() * R, D] into `grads`, one per part in that order; nothing
  // flows into the frozen tower.
  virtual void connect_backward(Context& ctx, const Tensor& features, std::span<const ImageShape> images,
                                const std::vector<Tensor>& kept, const Tensor& drows, std::span<const Tensor> grads,
                                Arena& scratch) const = 0;
};

}  // namespace vpref
