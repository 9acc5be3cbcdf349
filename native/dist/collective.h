// SPDX-License-Identifier: Apache-2.0
// The ranks of a run and what they do together. One face, three transports: one process (nothing to do), MPI (start-up,
// agreements, CPU memory), NCCL over MPI (GPU memory). Every call is made from the engine's compute thread, in the same
// order on every rank.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/context.h"
#include "core/dtype.h"

namespace vpref {

// A rank's share of n elements: begins at multiples of 16, so that pieces stay aligned; may be empty.
struct Part {
  int64_t begin = 0, end = 0;
  int64_t size() const { return end - begin; }
};
Part part_of(int64_t n, int rank, int size);

enum class Reduce { sum, max };

// What the flat collectives have moved, counted at the call: payload is the size of the buffers; sent is what a ring
// sends from one rank, 2 (size - 1) / size of an all-reduce's payload and half of that for a reduce-scatter or an
// all-gather.
struct Volume {
  int64_t calls = 0;
  int64_t payload_bytes = 0;
  double sent_bytes = 0;
  double wait_seconds = 0;  // inside wait(): what computing did not hide
};

class Collective {
 public:
  virtual ~Collective() = default;
  int rank() const { return rank_; }
  int size() const { return size_; }
  virtual std::string name() const = 0;  // "mpi (Open MPI v4.1.4)", for people

  // Host memory; complete on return.
  virtual void broadcast(void* data, size_t bytes, int root) = 0;
  virtual void all_reduce(std::span<double> values, Reduce how) = 0;
  virtual std::vector<std::string> all_gather(const std::string& mine) = 0;  // every rank's bytes, by rank
  virtual void barrier() = 0;

  // Flat buffers in the memory of the context's device. Started here, finished by wait(); the buffer belongs to the
  // transport until then.
  void start_all_reduce(Context& ctx, float* data, int64_t n);  // sum over ranks, in place
  void start_reduce_scatter(Context& ctx, float* data,
                            int64_t n);  // part_of(n, rank, size) holds its sum, the rest is undefined
  void start_all_gather(Context& ctx, void* data, int64_t n,
                        DType dtype);  // every rank gives its part_of(n, rank, size)
  // Lets a transport without a thread of its own get on; called between layers.
  virtual void progress() {}
  void wait(Context& ctx);
  const Volume& volume() const { return volume_; }

  // A notice from one rank to all others that what they do now is not to be finished. Work is cut into phases, which
  // every rank begins in the same order; a notice is seen at the others' next look within its phase, and dropped after
  // it.
  void begin_phase();
  virtual void notify() = 0;
  virtual bool notified() = 0;

  // The orderly end, on every rank; nothing may be called afterwards.
  virtual void leave() = 0;

 protected:
  Collective(int rank, int size) : rank_(rank), size_(size) {}
  static int64_t phase();
  virtual void all_reduce_flat(Context& ctx, float* data, int64_t n) = 0;
  virtual void reduce_scatter_flat(Context& ctx, float* data, int64_t n) = 0;
  virtual void all_gather_flat(Context& ctx, void* data, int64_t n, DType dtype) = 0;
  virtual void wait_flat(Context& ctx) = 0;

 private:
  void count(double payload_bytes, double share);
  int rank_, size_;
  Volume volume_;
};

// One rank: everything is done already.
std::unique_ptr<Collective> single_process();

struct WorldOptions {
  int size = 1;                 // ranks that the launcher has started; 1 joins nothing
  Device device = Device::cpu;  // where the flat buffers are
  std::string library_folder;   // where vpref_mpi.so is; empty: beside this library
};

// Joins the other ranks. Throws Error{"dist"} when this build or this machine cannot, or when the launcher and MPI
// disagree about the size.
std::unique_ptr<Collective> join_world(const WorldOptions& options);

// Ends every rank of a run that was started with others, from any thread, whether or not it has joined; returns only
// where it cannot.
void abort_world(const std::string& library_folder, int exit_code);

}  // namespace vpref
