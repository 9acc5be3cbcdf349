// SPDX-License-Identifier: Apache-2.0
#define VPREF_ISA avx512
#include "backend/cpu/kernels_table.h"
