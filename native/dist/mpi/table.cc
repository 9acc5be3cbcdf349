// SPDX-License-Identifier: Apache-2.0
// The only file that knows mpi.h. Becomes vpref_mpi.so, which dist/mpi.cc opens when a run has several ranks.
#include "dist/mpi_table.h"

#include <mpi.h>
#include <pthread.h>
#include <unistd.h>

#include <cstdio>
#include <list>
#include <string>
#include <vector>

namespace {

constexpr int kNoticeTag = 1;

MPI_Comm world = MPI_COMM_NULL;  // a copy: our messages cannot meet another library's
int world_rank = 0, world_size = 1, provided = MPI_THREAD_SINGLE;
pthread_t init_thread;
std::vector<MPI_Request> pending;

struct Notice {
  int64_t number;
  std::vector<MPI_Request> sends;
};
std::list<Notice> notices;

const char* library() {
  static std::string text = [] {
    char version[MPI_MAX_LIBRARY_VERSION_STRING];
    int length = 0;
    MPI_Get_library_version(version, &length);
    const std::string whole(version, size_t(length));
    return whole.substr(0, whole.find_first_of(",\n"));
  }();
  return text.c_str();
}

const char* error_text(int code) {
  static char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  if (MPI_Error_string(code, text, &length) != MPI_SUCCESS) std::snprintf(text, sizeof text, "error %d", code);
  return text;
}

int init(int* rank, int* size) {
  int is_initialised = 0;
  MPI_Initialized(&is_initialised);
  // One thread computes and communicates; SERIALIZED lets another one end the run.
  if (!is_initialised) {
    if (const int code = MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &provided)) return code;
    init_thread = pthread_self();
  }
  if (world == MPI_COMM_NULL) {
    if (const int code = MPI_Comm_dup(MPI_COMM_WORLD, &world)) return code;
    MPI_Comm_set_errhandler(world, MPI_ERRORS_RETURN);
  }
  MPI_Comm_rank(world, &world_rank);
  MPI_Comm_size(world, &world_size);
  *rank = world_rank;
  *size = world_size;
  return MPI_SUCCESS;
}

int finalize() {
  for (Notice& n : notices) MPI_Waitall(int(n.sends.size()), n.sends.data(), MPI_STATUSES_IGNORE);
  notices.clear();
  // A notice that nobody looked for any more would keep its sender waiting.
  MPI_Barrier(world);
  for (;;) {
    int any = 0;
    MPI_Status status;
    MPI_Iprobe(MPI_ANY_SOURCE, kNoticeTag, world, &any, &status);
    if (!any) break;
    int64_t number = 0;
    MPI_Recv(&number, 1, MPI_INT64_T, status.MPI_SOURCE, kNoticeTag, world, MPI_STATUS_IGNORE);
  }
  MPI_Comm_free(&world);
  return MPI_Finalize();
}

void abort_all(int exit_code) {
  int is_initialised = 0, is_finalised = 0;
  MPI_Initialized(&is_initialised);
  MPI_Finalized(&is_finalised);
  if (is_finalised) return;
  // The others are on their way into MPI_Init: meet them there, then end together.
  if (!is_initialised && MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &provided) != MPI_SUCCESS) return;
  if (is_initialised && provided < MPI_THREAD_SERIALIZED && !pthread_equal(init_thread, pthread_self()))
    _exit(exit_code);
  MPI_Abort(MPI_COMM_WORLD, exit_code);
}

int barrier() { return MPI_Barrier(world); }
int broadcast(void* data, int bytes, int root) { return MPI_Bcast(data, bytes, MPI_BYTE, root, world); }
int all_reduce(double* values, int n, int is_max) {
  return MPI_Allreduce(MPI_IN_PLACE, values, n, MPI_DOUBLE, is_max ? MPI_MAX : MPI_SUM, world);
}
int all_gather(const void* mine, int bytes, void* all, const int* counts, const int* offsets) {
  return MPI_Allgatherv(mine, bytes, MPI_BYTE, all, counts, offsets, MPI_BYTE, world);
}

int start_all_reduce(float* data, int n) {
  pending.push_back(MPI_REQUEST_NULL);
  return MPI_Iallreduce(MPI_IN_PLACE, data, n, MPI_FLOAT, MPI_SUM, world, &pending.back());
}
int start_reduce_scatter(const float* data, float* part, const int* counts) {
  pending.push_back(MPI_REQUEST_NULL);
  return MPI_Ireduce_scatter(data, part, counts, MPI_FLOAT, MPI_SUM, world, &pending.back());
}
int start_all_gather(void* data, const int* counts, const int* offsets, int element_bytes) {
  pending.push_back(MPI_REQUEST_NULL);
  const MPI_Datatype type = element_bytes == 2 ? MPI_UINT16_T : MPI_FLOAT;
  return MPI_Iallgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, data, counts, offsets, type, world, &pending.back());
}
int progress() {
  int done = 0;
  return pending.empty() ? MPI_SUCCESS : MPI_Testall(int(pending.size()), pending.data(), &done, MPI_STATUSES_IGNORE);
}
int wait_all() {
  const int code = MPI_Waitall(int(pending.size()), pending.data(), MPI_STATUSES_IGNORE);
  pending.clear();
  return code;
}

int notify(int64_t number) {
  Notice& n = notices.emplace_back();
  n.number = number;
  for (int to = 0; to < world_size; ++to) {
    if (to == world_rank) continue;
    n.sends.push_back(MPI_REQUEST_NULL);
    if (const int code = MPI_Isend(&n.number, 1, MPI_INT64_T, to, kNoticeTag, world, &n.sends.back())) return code;
  }
  return MPI_SUCCESS;
}
int poll(int64_t* number, int* any) {
  MPI_Status status;
  if (const int code = MPI_Iprobe(MPI_ANY_SOURCE, kNoticeTag, world, any, &status)) return code;
  return *any ? MPI_Recv(number, 1, MPI_INT64_T, status.MPI_SOURCE, kNoticeTag, world, MPI_STATUS_IGNORE) : MPI_SUCCESS;
}

}  // namespace

extern "C" __attribute__((visibility("default"))) const VprefMpi* vpref_mpi_table(void) {
  static const VprefMpi table = {VPREF_MPI_TABLE_VERSION,
                                 library,
                                 error_text,
                                 init,
                                 finalize,
                                 abort_all,
                                 barrier,
                                 broadcast,
                                 all_reduce,
                                 all_gather,
                                 start_all_reduce,
                                 start_reduce_scatter,
                                 start_all_gather,
                                 progress,
                                 wait_all,
                                 notify,
                                 poll};
  return &table;
}
