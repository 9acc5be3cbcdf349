// SPDX-License-Identifier: Apache-2.0
#define VPREF_ISA plain
#include "backend/cpu/kernels_table.h"
