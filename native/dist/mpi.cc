// SPDX-License-Identifier: Apache-2.0
#include "dist/mpi.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstring>
#include <filesystem>

#include "core/error.h"
#include "dist/mpi_table.h"

namespace vpref {

namespace {

constexpr int64_t kMaxCount = int64_t(1) << 30;  // elements of one MPI call

// The folder of the library or program that holds this code: the addon or a test.
std::string own_folder() {
  Dl_info info;
  if (!dladdr(reinterpret_cast<void*>(&own_folder), &info) || !info.dli_fname) return ".";
  const std::string folder = std::filesystem::path(info.dli_fname).parent_path().string();
  return folder.empty() ? "." : folder;
}

const VprefMpi& open_table(const std::string& library_folder) {
  static const VprefMpi* table = nullptr;
  if (table) return *table;
  const std::string path = (library_folder.empty() ? own_folder() : library_folder) + "/vpref_mpi.so";
  check(std::filesystem::exists(path), "dist", path,
        ": expected the MPI part of the engine, got nothing: this build found no MPI; install one (Debian: ",
        "libopenmpi-dev; on a cluster: module load openmpi) and run scripts/build-native.sh");
  // Global: MPI's own plugins look for its symbols.
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL);
  check(library != nullptr, "dist", path, ": cannot be loaded: ", library ? "" : dlerror());
  const auto get = reinterpret_cast<const VprefMpi* (*)()>(dlsym(library, "vpref_mpi_table"));
  check(get != nullptr && get()->version == VPREF_MPI_TABLE_VERSION, "dist", path,
        ": is of another build; run scripts/build-native.sh");
  table = get();
  return *table;
}

class Mpi : public Collective {
 public:
  Mpi(const VprefMpi& mpi, int rank, int size) : Collective(rank, size), mpi_(mpi) {}
  std::string name() const override { return cat("mpi (", mpi_.library(), ")"); }

  void broadcast(void* data, size_t bytes, int root) override {
    for (size_t done = 0; done < bytes; done += size_t(kMaxCount)) {
      ok("broadcast",
         mpi_.broadcast(static_cast<char*>(data) + done, int(std::min(bytes - done, size_t(kMaxCount))), root));
    }
  }

  void all_reduce(std::span<double> values, Reduce how) override {
    ok("all-reduce", mpi_.all_reduce(values.data(), int(values.size()), how == Reduce::max));
  }

  std::vector<std::string> all_gather(const std::string& mine) override {
    std::vector<double> lengths(size_t(size()), 0.0);
    lengths[size_t(rank())] = double(mine.size());
    all_reduce(lengths, Reduce::sum);
    std::vector<int> counts, offsets;
    double total = 0;
    for (const double n : lengths) {
      counts.push_back(int(n));
      offsets.push_back(int(total));
      total += n;
    }
    check(total < double(kMaxCount), "dist", "all-gather: expected less than 1 GiB in all, got ", total, " bytes");
    std::string all(size_t(total), '\0');
    ok("all-gather", mpi_.all_gather(mine.data(), int(mine.size()), all.data(), counts.data(), offsets.data()));
    std::vector<std::string> out;
    for (int r = 0; r < size(); ++r) out.push_back(all.substr(size_t(offsets[r]), size_t(counts[r])));
    return out;
  }

  void barrier() override { ok("barrier", mpi_.barrier()); }
  void progress() override { ok("progress", mpi_.progress()); }
  void notify() override { ok("notice", mpi_.notify(phase())); }
  bool notified() override {
    for (;;) {
      int64_t number = 0;
      int any = 0;
      ok("notice", mpi_.poll(&number, &any));
      if (!any) return false;
      if (number == phase()) return true;
    }
  }
  void leave() override { ok("end", mpi_.finalize()); }

 protected:
  void all_reduce_flat(Context&, float* data, int64_t n) override {
    for (int64_t begin = 0; begin < n; begin += kMaxCount)
      ok("all-reduce", mpi_.start_all_reduce(data + begin, int(std::min(n - begin, kMaxCount))));
  }

  void reduce_scatter_flat(Context&, float* data, int64_t n) override {
    const Part mine = part_of(n, rank(), size());
    Scattered& s = scattered_.emplace_back();
    s.part.resize(size_t(mine.size()));
    s.to = data + mine.begin;
    s.counts = counts_of(n).first;
    ok("reduce-scatter", mpi_.start_reduce_scatter(data, s.part.data(), s.counts.data()));
  }

  void all_gather_flat(Context&, void* data, int64_t n, DType dtype) override {
    gathered_.push_back(counts_of(n));
    const auto& [counts, offsets] = gathered_.back();
    ok("all-gather", mpi_.start_all_gather(data, counts.data(), offsets.data(), int(dtype_size(dtype))));
  }

  void wait_flat(Context&) override {
    ok("wait", mpi_.wait_all());
    for (const Scattered& s : scattered_) std::memcpy(s.to, s.part.data(), s.part.size() * sizeof(float));
    scattered_.clear();
    gathered_.clear();
  }

 private:
  // A rank's sum arrives in another buffer, because MPI has no in-place form that leaves it at its offset.
  struct Scattered {
    std::vector<float> part;
    std::vector<int> counts;
    float* to;
  };
  using CountsAndOffsets = std::pair<std::vector<int>, std::vector<int>>;

  CountsAndOffsets counts_of(int64_t n) const {
    check(n < 2 * kMaxCount, "internal", "a bucket of ", n, " elements is too large for one MPI call");
    CountsAndOffsets out;
    for (int r = 0; r < size(); ++r) {
      const Part part = part_of(n, r, size());
      out.first.push_back(int(part.size()));
      out.second.push_back(int(part.begin));
    }
    return out;
  }

  void ok(const char* what, int code) const {
    check(code == 0, "dist", "rank ", rank(), ": MPI: ", what, ": ", code ? mpi_.error_text(code) : "");
  }

  const VprefMpi& mpi_;
  std::vector<Scattered> scattered_;
  std::vector<CountsAndOffsets> gathered_;  // MPI reads them until the wait
};

}  // namespace

std::unique_ptr<Collective> join_mpi(const WorldOptions& options) {
  const VprefMpi& mpi = open_table(options.library_folder);
  int rank = 0, size = 1;
  const int code = mpi.init(&rank, &size);
  check(code == 0, "dist", "MPI cannot start: ", code ? mpi.error_text(code) : "");
  check(size == options.size, "dist", "the launcher says ", options.size, " ranks, ", mpi.library(), " says ", size,
        ": is it the same MPI that the engine was built with? (srun --mpi=list; scripts/build-native.sh builds for the "
        "mpicxx on the path)");
  return std::make_unique<Mpi>(mpi, rank, size);
}

void abort_world(const std::string& library_folder, int exit_code) {
  try {
    open_table(library_folder).abort_all(exit_code);
  } catch (const Error&) {
    // Without MPI no rank can be notified; the launcher sees the exit code.
  }
}

std::string mpi_library(const std::string& library_folder) { return open_table(library_folder).library(); }

}  // namespace vpref
