// SPDX-License-Identifier: Apache-2.0
// A family's vision tower with its connector (projector, merger): from images to the image rows among the
// tokens. The family creates it; it owns its weights.
//
//   crops -> features() -> features[N, feature_width()] -> connect() -> rows[num_planes() * R, D]
//            frozen                                         may be trained
//
// Sizes depend only on an image's ImageShape, so layout() and num_features() need no weights.
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

// A trainable tensor of the connector. Its gradient is f32, of the same shape.
struct ConnectorPart {
  std::string name;  // in transformers' module tree
  Tensor* value;
};

class Vision {
 public:
  virtual ~Vision() = default;

  // The layout of an image among the tokens. Throws Error{"request"} if the tower does not accept its crops.
  virtual ImageLayout layout(const ImageShape& image) const = 0;
  // Number of feature rows of an image; throws as layout() does.
  virtual int64_t num_features(const ImageShape& image) const = 0;
  virtual int64_t feature_width() const = 0;
  // Maximum features per image row, to plan memory before images are known.
  virtual int64_t max_features_per_row() const { return 1; }
  // Image rows are [planes][R, D]: plane 0 replaces the image tokens, plane k is added to them after decoder layer k -
  // 1 (DeepStack).
  virtual int64_t num_planes() const { return 1; }

  // Adds its groups, tensors and linears to the lists, with members of this object as slots; sizes its layers.
  virtual void list_tensors(FamilyTensors& out) = 0;
  // In the order of the files. Complete after list_tensors() and loading.
  virtual std::vector<ConnectorPart> connector() = 0;

  // The arena use of these three methods depends only on the sizes of their tensors, because a Measure plans memory
  // without images and shapes.
  //
  // Computes features[N, feature_width()] of all images, in order, in the compute dtype.
  virtual void features(Context& ctx, std::span<const Image* const> images, const Normalisation& normalisation,
                        const Tensor& features, Arena& scratch) const = 0;
  // Computes rows[num_planes() * R, D] from the features of `images`. kept: receives the tensors that the backward
  // needs, which stay in `arena`; null: keeps nothing.
  virtual void connect(Context& ctx, const Tensor& features, std::span<const ImageShape> images, const Tensor& rows,
                       std::vector<Tensor>* kept, Arena& arena) const = 0;
  // Adds the gradients of connector() from drows[num_planes() * R, D] to `grads`, one per part, in that order. The
  // frozen tower gets no gradient.
  virtual void connect_backward(Context& ctx, const Tensor& features, std::span<const ImageShape> images,
                                const std::vector<Tensor>& kept, const Tensor& drows, std::span<const Tensor> grads,
                                Arena& scratch) const = 0;
};

}  // namespace vpref
