# SPDX-License-Identifier: Apache-2.0
# Native benches: bench/engine is one program that runs the whole model.
if(TARGET vpref_infer)
  add_executable(bench_engine ${CMAKE_CURRENT_SOURCE_DIR}/../bench/engine/engine.cc)
  target_include_directories(bench_engine PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/../test/native)
  target_link_libraries(bench_engine PRIVATE vpref_infer)
endif()
if(TARGET vpref_train)
  add_executable(bench_train ${CMAKE_CURRENT_SOURCE_DIR}/../bench/train/train.cc)
  target_include_directories(bench_train PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/../test/native)
  target_link_libraries(bench_train PRIVATE vpref_train)
  add_executable(bench_scale ${CMAKE_CURRENT_SOURCE_DIR}/../bench/scale/scale.cc)
  target_include_directories(bench_scale PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/../test/native)
  target_link_libraries(bench_scale PRIVATE vpref_train)
endif()

# One program for all op benches: bench/ops/*.cc.
file(GLOB op_benches CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/../bench/ops/*.cc)
add_executable(ops_bench ${op_benches})
target_include_directories(ops_bench PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/../bench/ops)
target_link_libraries(ops_bench PRIVATE vpref_ops)
