// SPDX-License-Identifier: Apache-2.0
// Included first in every file of a portable build (VPREF_PORTABLE): asks for the oldest version of each symbol of the
// C++ library, so that the addon also runs where that library is older than the compiler's: GCC 11's, which RHEL 9 has.
#pragma once

__asm__(
    ".symver _ZNSt18condition_variable4waitERSt11unique_lockISt5mutexE,"
    "_ZNSt18condition_variable4waitERSt11unique_lockISt5mutexE@GLIBCXX_3.4.11");
