/* SPDX-License-Identifier: Apache-2.0 */
/* What vpref_mpi.so offers: the part of MPI that the engine uses, as a table of C functions. The addon is not linked
   with MPI, so that it runs on machines without one, and a cluster can build this one file against its own. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VPREF_MPI_TABLE_VERSION 1

/* Functions that return int: 0, or MPI's error code, which error_text explains. Element counts are below 2^31 (the
 * caller cuts). */
typedef struct VprefMpi {
  int version;
  const char* (*library)(void);
  const char* (*error_text)(int code);
  int (*init)(int* rank, int* size); /* the thread that calls it makes all other calls, but for abort_all */
  int (*finalize)(void);
  void (*abort_all)(int exit_code);
  int (*barrier)(void);
  int (*broadcast)(void* data, int bytes, int root);
  int (*all_reduce)(double* values, int n, int is_max);
  int (*all_gather)(const void* mine, int bytes, void* all, const int* counts, const int* offsets);
  /* Started here, finished by wait_all. */
  int (*start_all_reduce)(float* data, int n);
  int (*start_reduce_scatter)(const float* data, float* part, const int* counts);
  int (*start_all_gather)(void* data, const int* counts, const int* offsets, int element_bytes);
  int (*progress)(void);
  int (*wait_all)(void);
  /* A number from one rank to all others; poll takes one that has arrived. */
  int (*notify)(int64_t number);
  int (*poll)(int64_t* number, int* any);
} VprefMpi;

const VprefMpi* vpref_mpi_table(void);

#ifdef __cplusplus
}
#endif
