// SPDX-License-Identifier: Apache-2.0
// Ranks over MPI, through vpref_mpi.so (dist/mpi_table.h), which is opened when a run has several.
#pragma once
#include "dist/collective.h"

namespace vpref {

std::unique_ptr<Collective> join_mpi(const WorldOptions& options);

// "Open MPI v4.1.4", for `vpref doctor`. Throws Error{"dist"} if vpref_mpi.so is missing or cannot be opened.
std::string mpi_library(const std::string& library_folder);

}  // namespace vpref
