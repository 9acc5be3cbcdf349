// SPDX-License-Identifier: Apache-2.0
// Runs the source of a CUDA kernel on the CPU. Every thread of a block is a fiber; blocks run in sequence. A seed
// (VPREF_FIBER_SEED) decides which warp runs next, so code that lacks a barrier gives wrong results instead of lucky
// ones. What is undefined on a GPU is an error: a barrier that some threads never reach, a shuffle whose lanes do not
// all arrive.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <source_location>
#include <string>

struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;

namespace vpref::fiber {

using Where = std::source_location;

// --- host side
// ----------------------------------------------------------------------

// Runs `thread` for each thread of every block of the grid. Throws Error{"device"} for a launch that no GPU accepts,
// and for errors of a kernel. dependent: each thread must call grid_dependency_synchronize().
void run(dim3 grid, dim3 block, size_t shared_bytes, bool dependent, const std::function<void()>& thread);

// Sets the seed of the order of warps, lanes and blocks of later runs; the first seed is VPREF_FIBER_SEED (default 1).
void set_seed(uint64_t seed);

// Number of kernels that have run.
uint64_t launches();

// True while a kernel runs.
bool in_kernel();

// --- called by threads
// ----------------------------------------------------------------------

// The block's dynamic shared memory, filled with 0xff (NaN) before each block.
void* dynamic_shared();

// Waits for the lanes of `mask`, which must all call it from the same place; the last one runs resolve(mask, operands
// by lane).
using Resolve = void (*)(unsigned mask, void* const* operands);
void warp_collective(unsigned mask, void* operand, Resolve resolve, const Where& where);

// Waits for every thread of the block. Returns the number of predicates that are not 0.
int block_barrier(int predicate, const Where& where);

// cp.async: the destination holds NaN until this thread waits for the copy's group, which is mandatory. Bytes beyond
// `valid` become 0.
void copy_later(void* to, const void* from, size_t bytes, size_t valid);
void commit_copies();
void wait_copies(int groups_left);

// Launches run in sequence here: it records the call. In the first block, device memory is closed until all call it.
void grid_dependency_synchronize();

int lane();
[[noreturn]] void fail(const char* message);

}  // namespace vpref::fiber
