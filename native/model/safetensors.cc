// SPDX-License-Identifier: Apache-2.0
#include "model/safetensors.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <limits>
#include <utility>

#include "core/error.h"
#include "model/json.h"

namespace vpref {

namespace {

// The format's limit.
constexpr uint64_t kMaxHeaderBytes = 100'000'000;

struct NamedDType {
  const char* name;
  size_t size;
  std::optional<DType> dtype;  // none: valid in the format, not used by the engine
};

constexpr NamedDType kDTypes[] = {{"F32", 4, DType::f32},   {"BF16", 2, DType::bf16}, {"F16", 2, DType::f16},
                                  {"I32", 4, DType::i32},   {"U8", 1, DType::u8},     {"F64", 8, std::nullopt},
                                  {"I64", 8, std::nullopt}, {"U64", 8, std::nullopt}, {"U32", 4, std::nullopt},
                                  {"I16", 2, std::nullopt}, {"U16", 2, std::nullopt}, {"I8", 1, std::nullopt},
                                  {"BOOL", 1, std::nullopt}};

const NamedDType* find_dtype(const std::string& name) {
  for (const NamedDType& d : kDTypes) {
    if (name == d.name) return &d;
  }
  return nullptr;
}

// A whole number of bytes or elements from the header. Throws unless 0 <= value.
uint64_t size_field(const Json& j, const std::string& where) {
  check(j.is_integer() && j.integer() >= 0, "checkpoint", where, ": expected a whole number, got ",
        j.is_number() ? cat(j.number()) : std::string(j.kind_name()));
  return uint64_t(j.integer());
}

StoredTensor parse_entry(const Json& entry, const std::string& where, size_t data_begin, size_t file_size) {
  check(entry.is_object(), "checkpoint", where, ": expected an object, got ", entry.kind_name());
  const Json* dtype = entry.find("dtype");
  const Json* shape = entry.find("shape");
  const Json* offsets = entry.find("data_offsets");
  check(dtype && dtype->is_string(), "checkpoint", where, ": dtype: expected a string");
  check(shape && shape->kind() == Json::Kind::array, "checkpoint", where, ": shape: expected an array");
  check(offsets && offsets->kind() == Json::Kind::array && offsets->array().size() == 2, "checkpoint", where,
        ": data_offsets: expected two numbers");
  const NamedDType* known = find_dtype(dtype->string());
  check(known, "checkpoint", where, ": dtype: expected F32, BF16, F16, ..., got ", json_quote(dtype->string()));

  StoredTensor t;
  t.dtype = known->dtype;
  t.dtype_name = known->name;
  uint64_t bytes = known->size;
  for (const Json& d : shape->array()) {
    const uint64_t n = size_field(d, where + ": shape");
    check(n == 0 || bytes <= uint64_t(std::numeric_limits<int64_t>::max()) / n, "checkpoint", where,
          ": shape: too large to address");
    bytes *= n;
    t.shape.push_back(int64_t(n));
  }
  const uint64_t begin = size_field(offsets->array()[0], where + ": data_offsets");
  const uint64_t end = size_field(offsets->array()[1], where + ": data_offsets");
  const uint64_t data_size = file_size - data_begin;
  check(begin <= end && end <= data_size, "checkpoint", where, ": data_offsets: expected a range within ", data_size,
        " bytes, got [", begin, ", ", end, "] (is the file truncated?)");
  check(end - begin == bytes, "checkpoint", where, ": data_offsets: expected ", bytes,
        " bytes for its shape and dtype, got ", end - begin);
  t.begin = data_begin + begin;
  t.end = data_begin + end;
  return t;
}

void check_overlap(const std::map<std::string, StoredTensor>& tensors, const std::string& path) {
  std::vector<std::pair<const StoredTensor*, const std::string*>> order;
  for (const auto& [name, t] : tensors) order.emplace_back(&t, &name);
  std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
    return std::pair(a.first->begin, a.first->end) < std::pair(b.first->begin, b.first->end);
  });
  for (size_t i = 1; i < order.size(); ++i) {
    check(order[i].first->begin >= order[i - 1].first->end, "checkpoint", path, ": ", *order[i].second,
          ": overlaps with ", *order[i - 1].second);
  }
}

}  // namespace

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string s = "[";
  for (size_t i = 0; i < shape.size(); ++i) s += (i ? ", " : "") + std::to_string(shape[i]);
  return s + "]";
}

MappedFile::MappedFile(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  check(fd >= 0, "io", path, ": ", std::strerror(errno));
  struct stat s;
  const bool known = fstat(fd, &s) == 0;
  const bool regular = known && S_ISREG(s.st_mode);
  void* data = nullptr;
  if (regular && s.st_size > 0) data = mmap(nullptr, size_t(s.st_size), PROT_READ, MAP_PRIVATE, fd, 0);
  const int error = errno;
  close(fd);
  check(known && data != MAP_FAILED, "io", path, ": ", std::strerror(error));
  check(regular, "io", path, ": expected a file");
  data_ = static_cast<const std::byte*>(data);
  size_ = size_t(s.st_size);
}

MappedFile::~MappedFile() {
  if (data_) munmap(const_cast<std::byte*>(data_), size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

void MappedFile::fetch([[maybe_unused]] const void* begin, [[maybe_unused]] size_t bytes) {
#ifdef MADV_POPULATE_READ  // if it fails (older kernels), pages are loaded one by one
  const size_t page = size_t(sysconf(_SC_PAGESIZE));
  const uintptr_t first = reinterpret_cast<uintptr_t>(begin) / page * page;
  madvise(reinterpret_cast<void*>(first), reinterpret_cast<uintptr_t>(begin) + bytes - first, MADV_POPULATE_READ);
#endif
}

void MappedFile::drop(const void* begin, size_t bytes) const {
  // A tensor that was copied is not part of the mapping.
  if (begin < data_ || static_cast<const std::byte*>(begin) + bytes > data_ + size_) return;
  const size_t page = size_t(sysconf(_SC_PAGESIZE));
  const uintptr_t first = (reinterpret_cast<uintptr_t>(begin) + page - 1) / page * page;
  const uintptr_t last = (reinterpret_cast<uintptr_t>(begin) + bytes) / page * page;
  if (last > first) madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
}

Safetensors::Safetensors(const std::string& path) : path_(path), file_(path) {
  check(file_.size() >= 8, "checkpoint", path, ": expected at least 8 bytes, got ", file_.size());
  uint64_t header_bytes = 0;
  for (int i = 7; i >= 0; --i) header_bytes = header_bytes << 8 | uint64_t(file_.data()[i]);
  check(header_bytes <= kMaxHeaderBytes && header_bytes <= file_.size() - 8, "checkpoint", path,
        ": header length: expected at most ", std::min<uint64_t>(kMaxHeaderBytes, file_.size() - 8), ", got ",
        header_bytes, " (is this a complete safetensors file?)");
  const std::string_view text(reinterpret_cast<const char*>(file_.data()) + 8, size_t(header_bytes));
  const Json header = Json::parse(text, path + ": header");
  check(header.is_object(), "checkpoint", path, ": header: expected an object, got ", header.kind_name());
  for (const auto& [name, entry] : header.object()) {
    if (name == "__metadata__") {
      check(entry.is_object(), "checkpoint", path, ": __metadata__: expected an object, got ", entry.kind_name());
      for (const auto& [key, value] : entry.object()) {
        check(value.is_string(), "checkpoint", path, ": __metadata__: ", key, ": expected a string, got ",
              value.kind_name());
        metadata_.emplace(key, value.string());
      }
    } else {
      tensors_.emplace(name, parse_entry(entry, path + ": " + name, size_t(8 + header_bytes), file_.size()));
    }
  }
  check_overlap(tensors_, path);
}

Tensor Safetensors::view(const std::string& name) const {
  const auto found = tensors_.find(name);
  check(found != tensors_.end(), "checkpoint", path_, ": ", name, ": expected this tensor, got none");
  const StoredTensor& s = found->second;
  check(bool(s.dtype), "checkpoint", path_, ": ", name, ": dtype: expected F32, BF16 or F16, got ", s.dtype_name);
  check(s.shape.size() <= size_t(Tensor::kMaxRank), "checkpoint", path_, ": ", name, ": shape: expected at most ",
        Tensor::kMaxRank, " dimensions, got ", s.shape.size());
  // The type of a view is writable memory, but nothing writes to a mapped weight: the mapping is read-only.
  std::byte* data = const_cast<std::byte*>(file_.data() + s.begin);
  if (s.begin % dtype_size(*s.dtype) != 0) {  // a writer that did not pad its header: the bytes are not aligned
    copies_.emplace_back(file_.data() + s.begin, file_.data() + s.end);
    data = copies_.back().data();
  }
  return Tensor(data, *s.dtype, s.shape);
}

const char* safetensors_dtype(DType dtype) {
  for (const NamedDType& d : kDTypes) {
    if (d.dtype == dtype) return d.name;
  }
  return "?";
}

namespace {

std::string metadata_json(const Metadata& metadata) {
  std::string json;
  for (const auto& [key, value] : metadata)
    json += cat(json.empty() ? "" : ",", json_quote(key), ":", json_quote(value));
  return cat("{", json, "}");
}

}  // namespace

std::string safetensors_header(const NamedTensors& tensors, const Metadata& metadata) {
  std::string header = metadata.empty() ? "{" : cat("{\"__metadata__\":", metadata_json(metadata));
  size_t offset = 0;
  for (const auto& [name, t] : tensors) {
    check(t.dense(), "internal", "write_safetensors: ", name, " is not dense");
    std::string shape;
    for (int i = 0; i < t.rank; ++i) shape += cat(i > 0 ? "," : "", t.shape[size_t(i)]);
    header += cat(header.size() > 1 ? "," : "", json_quote(name), ":{\"dtype\":\"", safetensors_dtype(t.dtype),
                  "\",\"shape\":[", shape, "],\"data_offsets\":[", offset, ",", offset + t.bytes(), "]}");
    offset += t.bytes();
  }
  header += "}";
  header.resize((header.size() + 7) / 8 * 8,
                ' ');  // aligns each tensor as far as the sizes of earlier ones allow
  std::string length(8, '\0');
  for (size_t i = 0; i < 8; ++i) length[i] = char(uint64_t(header.size()) >> (8 * i));
  return length + header;
}

void write_safetensors(const std::string& path, const NamedTensors& tensors, const Metadata& metadata) {
  const std::string header = safetensors_header(tensors, metadata);
  const std::string partial = path + ".partial";
  std::FILE* out = std::fopen(partial.c_str(), "wb");
  check(out != nullptr, "io", partial, ": ", std::strerror(errno));
  bool ok = std::fwrite(header.data(), 1, header.size(), out) == header.size();
  for (const auto& [name, t] : tensors) ok = ok && std::fwrite(t.data, 1, t.bytes(), out) == t.bytes();
  ok = ok && std::fflush(out) == 0 && fsync(fileno(out)) == 0;
  const int error = errno;
  ok = std::fclose(out) == 0 && ok;
  if (!ok || std::rename(partial.c_str(), path.c_str()) != 0) {
    const int cause = ok ? errno : error;
    std::remove(partial.c_str());
    throw Error("io", cat(path, ": could not be written: ", std::strerror(cause)));
  }
}

}  // namespace vpref
