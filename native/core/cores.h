// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace vpref {

// Physical cores among the processors this process may use: two threads of one core share its vector units.
int physical_cores();

}  // namespace vpref
