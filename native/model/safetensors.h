// SPDX-License-Identifier: Apache-2.0
// The safetensors format: 8 bytes of header length, a JSON header {name: {dtype, shape, data_offsets}}, then the
// tensors' bytes without gaps. The reader maps the file, so bytes are read at first use. Every header field is checked.
#pragma once
#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/tensor.h"

namespace vpref {

// A file mapped for reading. Moved, never copied.
class MappedFile {
 public:
  MappedFile() = default;
  explicit MappedFile(const std::string& path);  // throws Error{"io"}
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  const std::byte* data() const { return data_; }
  size_t size() const { return size_; }
  // Asks the kernel for all pages of a mapped range at once. At first use this is ten times as fast as one page fault
  // every few pages.
  static void fetch(const void* begin, size_t bytes);
  // Lets the kernel drop the resident pages of this range; a later read loads them again.
  void drop(const void* begin, size_t bytes) const;

 private:
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

struct StoredTensor {
  std::optional<DType> dtype;  // none: valid in the format, not readable by the engine
  std::string dtype_name;      // as written
  std::vector<int64_t> shape;
  size_t begin = 0, end = 0;  // bytes within the file
};

// "[2, 3]".
std::string shape_text(const std::vector<int64_t>& shape);

class Safetensors {
 public:
  // Throws Error{"io"} or Error{"checkpoint"} "PATH: TENSOR: expected X, got Y".
  explicit Safetensors(const std::string& path);
  const std::string& path() const { return path_; }
  const std::map<std::string, StoredTensor>& tensors() const { return tensors_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  bool contains(const std::string& name) const { return tensors_.contains(name); }
  // A view into the file: rank as stored (at most Tensor::kMaxRank), valid as long as this object. Bytes that are not
  // aligned to their dtype are copied. Throws Error{"checkpoint"} if there is no such tensor or its dtype is not
  // readable.
  Tensor view(const std::string& name) const;
  const MappedFile& file() const { return file_; }

 private:
  std::string path_;
  MappedFile file_;
  std::map<std::string, StoredTensor> tensors_;
  std::map<std::string, std::string> metadata_;
  mutable std::list<std::vector<std::byte>> copies_;
};

using NamedTensors = std::vector<std::pair<std::string, Tensor>>;
using Metadata = std::vector<std::pair<std::string, std::string>>;

// Writes PATH atomically (PATH.partial, then rename). Tensors are dense and written in the given order; names must be
// unique.
void write_safetensors(const std::string& path, const NamedTensors& tensors, const Metadata& metadata = {});

// The bytes before the tensors: the length of the JSON, and the JSON.
std::string safetensors_header(const NamedTensors& tensors, const Metadata& metadata = {});

const char* safetensors_dtype(DType dtype);  // "F32", "BF16", ...

}  // namespace vpref
