// SPDX-License-Identifier: Apache-2.0
// core/philox.h on the device.
#pragma once
#include <cstdint>

#include "backend/cuda/device.cuh"

namespace vpref::cuda {

// Philox4x32-10 of counter c, in place.
__device__ inline void philox4x32(uint64_t key, unsigned (&c)[4]) {
  unsigned k0 = unsigned(key), k1 = unsigned(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const unsigned high0 = __umulhi(0xD2511F53u, c[0]), low0 = 0xD2511F53u * c[0];
    const unsigned high1 = __umulhi(0xCD9E8D57u, c[2]), low1 = 0xCD9E8D57u * c[2];
    c[0] = high1 ^ c[1] ^ k0;
    c[1] = low1;
    c[2] = high0 ^ c[3] ^ k1;
    c[3] = low0;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
}

}  // namespace vpref::cuda
