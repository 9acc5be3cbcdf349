// SPDX-License-Identifier: Apache-2.0
#include "dist/nccl.h"

#include <cuda_runtime.h>
#include <dlfcn.h>
#include <nccl.h>

#include <cstdlib>

#include "core/error.h"

namespace vpref {

namespace {

void cuda_ok(const char* what, cudaError_t status) {
  check(status == cudaSuccess, "dist", "NCCL: ", what, ": ", cudaGetErrorString(status));
}

// The functions used, from the machine's libnccl.so.2.
struct Library {
  decltype(&ncclGetErrorString) error_string;
  decltype(&ncclGetVersion) get_version;
  decltype(&ncclGetUniqueId) get_unique_id;
  decltype(&ncclCommInitRank) comm_init_rank;
  decltype(&ncclCommDestroy) comm_destroy;
  decltype(&ncclAllReduce) all_reduce;
  decltype(&ncclReduceScatter) reduce_scatter;
  decltype(&ncclAllGather) all_gather;
  decltype(&ncclReduce) reduce;
  decltype(&ncclBroadcast) broadcast;
  decltype(&ncclGroupStart) group_start;
  decltype(&ncclGroupEnd) group_end;

  Library() {
    void* handle = dlopen("libnccl.so.2", RTLD_NOW | RTLD_LOCAL);
    check(handle != nullptr, "dist", "NCCL cannot be loaded: ", handle ? "" : dlerror(),
          "; install it (Debian: libnccl2; pip install nvidia-nccl-cu13) and put its folder on LD_LIBRARY_PATH");
    const auto get = [&](auto& function, const char* name) {
      function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(handle, name));
      check(function != nullptr, "dist", "libnccl.so.2 has no ", name);
    };
    get(error_string, "ncclGetErrorString");
    get(get_version, "ncclGetVersion");
    get(get_unique_id, "ncclGetUniqueId");
    get(comm_init_rank, "ncclCommInitRank");
    get(comm_destroy, "ncclCommDestroy");
    get(all_reduce, "ncclAllReduce");
    get(reduce_scatter, "ncclReduceScatter");
    get(all_gather, "ncclAllGather");
    get(reduce, "ncclReduce");
    get(broadcast, "ncclBroadcast");
    get(group_start, "ncclGroupStart");
    get(group_end, "ncclGroupEnd");
  }
};

class Nccl : public Collective {
 public:
  explicit Nccl(std::unique_ptr<Collective> control)
      : Collective(control->rank(), control->size()), control_(std::move(control)) {
    ncclUniqueId id{};
    if (rank() == 0) ok("unique id", nccl_.get_unique_id(&id));
    control_->broadcast(&id, sizeof id, 0);
    ok("start", nccl_.comm_init_rank(&comm_, size(), id, rank()));
    cuda_ok("stream", cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
    cuda_ok("event", cudaEventCreateWithFlags(&event_, cudaEventDisableTiming));
  }

  ~Nccl() override {
    if (event_) cudaEventDestroy(event_);
    if (stream_) cudaStreamDestroy(stream_);
  }

  std::string name() const override {
    int version = 0;
    nccl_.get_version(&version);
    return cat("nccl ", version / 10000, ".", version / 100 % 100, ".", version % 100, " over ", control_->name());
  }
  void broadcast(void* data, size_t bytes, int root) override { control_->broadcast(data, bytes, root); }
  void all_reduce(std::span<double> values, Reduce how) override { control_->all_reduce(values, how); }
  std::vector<std::string> all_gather(const std::string& mine) override { return control_->all_gather(mine); }
  void barrier() override { control_->barrier(); }
  void notify() override { control_->notify(); }
  bool notified() override { return control_->notified(); }
  void leave() override {
    ok("end", nccl_.comm_destroy(comm_));
    control_->leave();
  }

 protected:
  void all_reduce_flat(Context& ctx, float* data, int64_t n) override {
    after_compute(ctx);
    ok("all-reduce", nccl_.all_reduce(data, data, size_t(n), ncclFloat32, ncclSum, comm_, stream_));
  }

  void reduce_scatter_flat(Context& ctx, float* data, int64_t n) override {
    after_compute(ctx);
    const Part mine = part_of(n, rank(), size());
    if (mine.size() * size() == n) {
      ok("reduce-scatter",
         nccl_.reduce_scatter(data, data + mine.begin, size_t(mine.size()), ncclFloat32, ncclSum, comm_, stream_));
      return;
    }
    each_part(n, [&](Part part, int owner) {
      ok("reduce", nccl_.reduce(data + part.begin, data + part.begin, size_t(part.size()), ncclFloat32, ncclSum, owner,
                                comm_, stream_));
    });
  }

  void all_gather_flat(Context& ctx, void* data, int64_t n, DType dtype) override {
    after_compute(ctx);
    const ncclDataType_t type = dtype == DType::f32 ? ncclFloat32 : ncclBfloat16;
    const Part mine = part_of(n, rank(), size());
    const auto at = [&](int64_t element) { return static_cast<char*>(data) + element * int64_t(dtype_size(dtype)); };
    if (mine.size() * size() == n) {
      ok("all-gather", nccl_.all_gather(at(mine.begin), data, size_t(mine.size()), type, comm_, stream_));
      return;
    }
    each_part(n, [&](Part part, int owner) {
      ok("broadcast",
         nccl_.broadcast(at(part.begin), at(part.begin), size_t(part.size()), type, owner, comm_, stream_));
    });
  }

  // Later work of the compute stream waits for the collectives.
  void wait_flat(Context& ctx) override {
    cuda_ok("event", cudaEventRecord(event_, stream_));
    cuda_ok("wait", cudaStreamWaitEvent(static_cast<cudaStream_t>(ctx.stream), event_, 0));
  }

 private:
  void after_compute(Context& ctx) {
    cuda_ok("event", cudaEventRecord(event_, static_cast<cudaStream_t>(ctx.stream)));
    cuda_ok("wait", cudaStreamWaitEvent(stream_, event_, 0));
  }

  // Parts differ in size: one call per owner, as one group.
  template <class F>
  void each_part(int64_t n, F f) {
    ok("group", nccl_.group_start());
    for (int r = 0; r < size(); ++r) {
      const Part part = part_of(n, r, size());
      if (part.size() > 0) f(part, r);
    }
    ok("group", nccl_.group_end());
  }

  void ok(const char* what, ncclResult_t status) const {
    check(status == ncclSuccess, "dist", "rank ", rank(), ": NCCL: ", what, ": ",
          status == ncclSuccess ? "" : nccl_.error_string(status));
  }

  Library nccl_;
  std::unique_ptr<Collective> control_;
  ncclComm_t comm_ = nullptr;
  cudaStream_t stream_ = nullptr;
  cudaEvent_t event_ = nullptr;
};

}  // namespace

std::unique_ptr<Collective> nccl_over(std::unique_ptr<Collective> control) {
  return std::make_unique<Nccl>(std::move(control));
}

}  // namespace vpref
