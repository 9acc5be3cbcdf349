// SPDX-License-Identifier: Apache-2.0
#include "core/cores.h"

#include <sched.h>

#include <algorithm>
#include <fstream>
#include <set>
#include <string>
#include <thread>

#include "core/error.h"

namespace vpref {

int physical_cores() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0)
    return int(std::max(1u, std::thread::hardware_concurrency()));
  std::set<std::string> cores;
  int count = 0;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed)) continue;
    ++count;
    std::ifstream in(cat("/sys/devices/system/cpu/cpu", cpu, "/topology/thread_siblings_list"));
    std::string siblings;
    if (std::getline(in, siblings)) cores.insert(siblings);
  }
  return std::max(1, cores.empty() ? count : int(cores.size()));
}

}  // namespace vpref
