// SPDX-License-Identifier: Apache-2.0
// The ranks of a run and their collectives. One interface, three transports: one process (nothing to do), MPI (start,
// agreement, CPU memory), NCCL over MPI (GPU memory). The engine's compute thread makes every call, in the same order
// on every rank.
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

// Bytes that the flat collectives moved, counted at the call. payload: size of the buffers. sent: bytes that a ring
// sends from one rank, 2 (size - 1) / size of an all-reduce's payload, half of that for a reduce-scatter or an
// all-gather.
struct Volume {
  int64_t calls = 0;
  int64_t payload_bytes = 0;
  double sent_bytes = 0;
  double wait_seconds = 0;  // inside wait(), not hidden by computation
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

  // Flat buffers in the memory of the context's device. wait() finishes them; until then the transport owns the buffer.
  void start_all_reduce(Context& ctx, float* data, int64_t n);  // sum over ranks, in place
  void start_reduce_scatter(Context& ctx, float* data,
                            int64_t n);  // part_of(n, rank, size) holds its sum, the rest is undefined
  void start_all_gather(Context& ctx, void* data, int64_t n,
                        DType dtype);  // every rank gives its part_of(n, rank, size)
  // Makes progress in a transport without its own thread; called between layers.
  virtual void progress() {}
  void wait(Context& ctx);
  const Volume& volume() const { return volume_; }

  // Tells all other ranks to abandon the current phase. Work is cut into phases, which every rank begins in the same
  // order. The others see the notice at their next check within the phase; after the phase it is dropped.
  void begin_phase();
  virtual void notify() = 0;
  virtual bool notified() = 0;

  // Ends the run on every rank. No call may follow.
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

// One rank: every operation is complete at once.
std::unique_ptr<Collective> single_process();

struct WorldOptions {
  int size = 1;                 // ranks started by the launcher; 1: no others
  Device device = Device::cpu;  // where the flat buffers are
  std::string library_folder;   // where vpref_mpi.so is; empty: beside this library
};

// Joins the other ranks. Throws Error{"dist"} if this build or machine cannot, or if launcher and MPI disagree about
// the size.
std::unique_ptr<Collective> join_world(const WorldOptions& options);

// Ends every rank of a run with several, from any thread, joined or not. Returns only if it cannot.
void abort_world(const std::string& library_folder, int exit_code);

}  // namespace vpref
