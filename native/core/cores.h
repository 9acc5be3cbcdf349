// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace vpref {

// Number of physical cores that this process may use. Two hardware threads of a core share its vector units.
int physical_cores();

}  // namespace vpref
