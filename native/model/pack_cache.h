// SPDX-License-Identifier: Apache-2.0
// Packed weights on disk, so that a second start maps what the first one made.
#pragma once
#include <list>
#include <memory>
#include <span>
#include <string>

#include "core/arena.h"
#include "core/packed_weight.h"
#include "model/safetensors.h"

namespace vpref {

// A file of the packed matrices of one checkpoint in one form: a safetensors file that says which weight files it was
// made of (name, size, time of change) and has a sum of its own bytes. What does not fit is not used.
class PackCache {
 public:
  // Reads `path` and holds it against the weight files. note(): what came of it.
  PackCache(std::string path, Packing packing, std::span<const std::string> weight_files, int threads);
  const std::string& note() const { return note_; }

  // The weight of this name where it stands in the file, which holds it as long as this object; none: not there.
  PackedWeight find(const std::string& name, int64_t num_rows, int64_t num_cols);

  // One that was packed now; `memory` is as packed_layout laid it out, and stays until then.
  void add(const std::string& name, const PackedWeight& weight, const Buffer& memory);
  // Where any was packed now, writes the file with all found and added, whole or not at all, beside other processes
  // that write it too. Throws Error{"io"}.
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
