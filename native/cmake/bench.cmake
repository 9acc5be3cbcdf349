# SPDX-License-Identifier: Apache-2.0
# Native benches: bench/engine is one program that runs the whole model.
if(TARGET vpref_infer)
  add_executable(bench_engine ${CMAKE_CURRENT_SOURCE_DIR}/../bench/engine/engine.cc)
  target_link_libraries(bench_engine PRIVATE vpref_infer)
endif()
if(TARGET vpref_train)
  add_executable(bench_train ${CMAKE_CURRENT_SOURCE_DIR}/../bench/train/train.cc)
  target_link_libraries(bench_train PRIVATE vpref_train)
endif()
