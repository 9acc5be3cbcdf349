// SPDX-License-Identifier: Apache-2.0
#include "model/pack_cache.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <random>

#include "core/error.h"
#include "core/parallel.h"
#include "model/json.h"

namespace vpref {

namespace {

// Change the number when packed_layout changes.
constexpr const char* kFormat = "vpref-packed-1";
constexpr const char* kOffset = ".offset";
constexpr uint64_t kFactor = 0x9E3779B97F4A7C15;

std::string base_name(const std::string& path) { return path.substr(path.rfind('/') + 1); }

// Before hours of packing, not after.
void check_writable(const std::string& path) {
  const size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  struct stat s;
  int reason = 0;
  if (stat(path.c_str(), &s) == 0 && S_ISDIR(s.st_mode))
    reason = EISDIR;
  else if (access(folder.c_str(), W_OK | X_OK) != 0)
    reason = errno;
  check(reason == 0, "io", path, ": packed weights cannot be written to it: ", std::strerror(reason));
}

std::string hex(uint64_t n) {
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(n));
  return text;
}

// Removes what writers of `path` left that were killed. A writer that lives has written within the hour.
void remove_abandoned(const std::string& path) {
  namespace fs = std::filesystem;
  const auto oldest = fs::file_time_type::clock::now() - std::chrono::hours(1);
  const fs::path folder = fs::path(path).parent_path();
  std::error_code ignored;  // another process may remove the same file
  for (fs::directory_iterator at(folder.empty() ? fs::path(".") : folder, ignored), end; at != end;
       at.increment(ignored)) {
    std::string name = at->path().filename().string();
    if (!name.starts_with(base_name(path) + ".")) continue;
    // PATH.HEX, or PATH.HEX.partial
    name.erase(0, base_name(path).size() + 1);
    if (name.ends_with(".partial")) name.resize(name.size() - 8);
    if (name.size() != 16 || name.find_first_not_of("0123456789abcdef") != std::string::npos) continue;
    const fs::file_time_type written = fs::last_write_time(at->path(), ignored);
    if (!ignored && written < oldest) fs::remove(at->path(), ignored);
  }
}

// The modification time is included because a fingerprint of samples misses some changed bytes. A copy of the files is
// packed again.
std::string origin_of(std::span<const std::string> files) {
  std::string all;
  for (const std::string& file : files) {
    struct stat s;
    check(stat(file.c_str(), &s) == 0, "io", file, ": ", std::strerror(errno));
    all += cat(all.empty() ? "" : "; ", base_name(file), " ", int64_t(s.st_size), " ", int64_t(s.st_mtim.tv_sec), ".",
               int64_t(s.st_mtim.tv_nsec));
  }
  return all;
}

uint64_t sum_of(const std::byte* bytes, size_t count, uint64_t sum) {
  for (; count >= 8; bytes += 8, count -= 8) {
    uint64_t word;
    std::memcpy(&word, bytes, 8);
    sum = (sum ^ word) * kFactor;
    sum ^= sum >> 29;
  }
  for (; count > 0; ++bytes, --count) sum = (sum ^ uint64_t(*bytes)) * kFactor;
  return sum;
}

// Detects damaged files, not forged ones.
uint64_t sum_of(const Tensor& t, int threads) {
  constexpr int64_t kPart = int64_t(1) << 20;
  const int64_t bytes = int64_t(t.bytes());
  std::atomic<uint64_t> sum{0};
  parallel_items(threads, (bytes + kPart - 1) / kPart, [&](int, int64_t part) {
    const int64_t begin = part * kPart;
    const size_t count = size_t(std::min(kPart, bytes - begin));
    MappedFile::fetch(t.as<char>() + begin, count);
    sum += sum_of(t.as<std::byte>() + begin, count, uint64_t(begin) + 1);
  });
  return sum * kFactor;
}

uint64_t sum_of(const std::string& name, const Tensor& t, int threads) {
  return sum_of(t, threads) ^ sum_of(reinterpret_cast<const std::byte*>(name.data()), name.size(), 1);
}

}  // namespace

PackCache::PackCache(std::string path, Packing packing, std::span<const std::string> weight_files, int threads)
    : path_(std::move(path)), origin_(origin_of(weight_files)), packing_(packing), threads_(threads) {
  if (!file_exists(path_)) {
    check_writable(path_);
    note_ = path_ + ": packed weights are written to it";
    return;
  }
  std::string why;
  try {
    auto file = std::make_unique<Safetensors>(path_);
    why = problem(*file, threads);
    if (why.empty()) file_ = std::move(file);
  } catch (const Error& e) {
    why = e.what();
    if (why.starts_with(path_ + ": ")) why = why.substr(path_.size() + 2);
  }
  if (!file_) check_writable(path_);
  note_ = file_ ? path_ + ": packed weights are read from it" : cat(path_, ": not used, and written again: ", why);
}

std::string PackCache::problem(const Safetensors& file, int threads) const {
  const auto metadata = [&](const char* key) {
    const auto found = file.metadata().find(key);
    return found == file.metadata().end() ? std::string("nothing") : found->second;
  };
  if (metadata("format") != kFormat) return cat("format: expected ", kFormat, ", got ", metadata("format"));
  if (metadata("form") != packing_name(packing_))
    return cat("form: expected ", packing_name(packing_), ", got ", metadata("form"));
  if (metadata("origin") != origin_) return cat("weight files: expected ", origin_, ", got ", metadata("origin"));
  uint64_t sum = 0;
  for (const auto& [name, stored] : file.tensors()) sum += sum_of(name, file.view(name), threads);
  if (metadata("sum") != hex(sum)) return cat("sum: expected ", metadata("sum"), ", its bytes have ", hex(sum));
  return "";
}

PackedWeight PackCache::find(const std::string& name, int64_t num_rows, int64_t num_cols) {
  if (!file_ || !file_->contains(name) || !file_->contains(name + kOffset)) return {};
  const Tensor bytes = file_->view(name), offset = file_->view(name + kOffset);
  const bool fits = bytes.dtype == DType::u8 && bytes.bytes() == packed_bytes(packing_, num_rows, num_cols) &&
                    offset.dtype == DType::f32 && offset.numel() == 1 &&
                    reinterpret_cast<uintptr_t>(bytes.data) % 64 == 0;
  if (!fits) return {};
  PackedWeight w = packed_layout(packing_, num_rows, num_cols, bytes.data);
  w.offset = *offset.as<float>();
  tensors_.emplace_back(name, bytes);
  offsets_.push_back(w.offset);
  return w;
}

void PackCache::drop(const PackedWeight& weight) const { file_->file().drop(weight.codes.data, weight.codes.bytes()); }

void PackCache::add(const std::string& name, const PackedWeight& weight, const Buffer& memory) {
  tensors_.emplace_back(name, Tensor(memory.data(), DType::u8, {int64_t(memory.bytes())}));
  offsets_.push_back(weight.offset);
  is_new_ = true;
}

void PackCache::write() {
  if (!is_new_) return;
  // Matrices first: their sizes are multiples of 64 and the header is padded to 64, so all of them are aligned.
  auto offset = offsets_.begin();
  for (size_t i = 0, n = tensors_.size(); i < n; ++i, ++offset)
    tensors_.emplace_back(tensors_[i].first + kOffset, Tensor(&*offset, DType::f32, {1}));
  uint64_t sum = 0;
  for (const auto& [name, t] : tensors_) sum += sum_of(name, t, threads_);
  Metadata metadata = {
      {"format", kFormat}, {"form", packing_name(packing_)}, {"origin", origin_}, {"sum", hex(sum)}, {"pad", ""}};
  metadata.back().second.assign((64 - safetensors_header(tensors_, metadata).size() % 64) % 64, ' ');
  remove_abandoned(path_);
  // A unique name, because another process may write the same file.
  std::random_device random;
  const std::string own = cat(path_, ".", hex(uint64_t(random()) << 32 | random()));
  write_safetensors(own, tensors_, metadata);
  if (std::rename(own.c_str(), path_.c_str()) != 0) {
    const int cause = errno;
    std::remove(own.c_str());
    throw Error("io", cat(path_, ": could not be written: ", std::strerror(cause)));
  }
  is_new_ = false;
}

}  // namespace vpref
