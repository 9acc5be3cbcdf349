// SPDX-License-Identifier: Apache-2.0
// GPU memory over NCCL, one GPU per rank. Small host data goes through `control`. libnccl.so.2 is opened at run time.
#pragma once
#include "dist/collective.h"

namespace vpref {

// Collective: rank 0 sends the id to all others through `control`. The current CUDA device is the rank's. Throws
// Error{"dist"}.
std::unique_ptr<Collective> nccl_over(std::unique_ptr<Collective> control);

}  // namespace vpref
