// SPDX-License-Identifier: Apache-2.0
// Packed weights on disk: a later start maps the file instead of packing again.
#pragma once
#include <list>
#include <memory>
#include <span>
#include <string>

#include "core/arena.h"
#include "core/packed_weight.h"
#include "model/safetensors.h"

namespace vpref {

// A safetensors file of one checkpoint's packed matrices, in one form. Its metadata hold the names, sizes and
// modification times of the weight files, and a checksum of its own bytes. If one does not match, the file is not used.
class PackCache {
 public:
  // Reads `path` and checks it against the weight files. note(): the result, for the user.
  PackCache(std::string path, Packing packing, std::span<const std::string> weight_files, int threads);
  const std::string& note() const { return note_; }

  // The weight of this name, a view into the file; valid as long as this object. Empty if not in the file.
  PackedWeight find(const std::string& name, int64_t num_rows, int64_t num_cols);

  // Lets the kernel drop the resident pages of a weight that was found.
  void drop(const PackedWeight& weight) const;
  // Adds a newly packed weight. `memory` has the layout of packed_layout, and must live until write().
  void add(const std::string& name, const PackedWeight& weight, const Buffer& memory);
  // If any weight was added, writes the file with all weights found and added. The write is atomic, also with several
  // writers. Throws Error{"io"}.
  void write();

 private:
  std::string problem(const Safetensors& file, int threads) const;

  std::string path_, origin_;
  Packing packing_;
  std::unique_ptr<Safetensors> file_;
  std::string note_;
  NamedTensors tensors_;
  std::list<float> offsets_;
  bool is_new_ = false;
  int threads_;
};

}  // namespace vpref
