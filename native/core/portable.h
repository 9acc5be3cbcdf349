// SPDX-License-Identifier: Apache-2.0
// Included first in every file of a portable build (VPREF_PORTABLE). Selects the oldest version of each symbol of the
// C++ library, so that the addon runs with the library of GCC 11 (RHEL 9), even if the compiler is newer.
#pragma once

__asm__(
    ".symver _ZNSt18condition_variable4waitERSt11unique_lockISt5mutexE,"
    "_ZNSt18condition_variable4waitERSt11unique_lockISt5mutexE@GLIBCXX_3.4.11");
