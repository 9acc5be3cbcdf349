# SPDX-License-Identifier: Apache-2.0
# The CUDA kernels' own sources on the CPU: compiled by the host compiler against the stand-in headers of test/native/fiber and run by its executor.
# Needs no CUDA. The op tests run over device cuda here as they do on a GPU.
set(fiber_root ${test_root}/fiber)
file(GLOB cuda_sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/backend/cuda/*.cu)
file(GLOB fiber_sources CONFIGURE_DEPENDS ${fiber_root}/*.cc ${CMAKE_CURRENT_SOURCE_DIR}/core/*.cc ${CMAKE_CURRENT_SOURCE_DIR}/ops/*.cc)
list(FILTER fiber_sources EXCLUDE REGEX "_test\\.cc$")
foreach(source ${cuda_sources})
  get_filename_component(stem ${source} NAME_WE)
  set(wrapper ${CMAKE_CURRENT_BINARY_DIR}/fiber/${stem}_cu.cc)
  file(CONFIGURE OUTPUT ${wrapper} CONTENT "#include \"backend/cuda/${stem}.cu\"\n")
  list(APPEND fiber_sources ${wrapper})
endforeach()

add_library(vpref_fiber OBJECT ${fiber_sources})
target_include_directories(vpref_fiber PUBLIC ${CMAKE_CURRENT_SOURCE_DIR} ${test_root} ${fiber_root}/cuda)
target_compile_definitions(vpref_fiber PUBLIC VPREF_CUDA VPREF_FIBER)
target_compile_options(vpref_fiber PUBLIC -Wno-unknown-pragmas -Wno-unused-function -fno-strict-aliasing)

function(fiber_test name)
  add_executable(${name}_tests ${ARGN} $<TARGET_OBJECTS:vpref_fiber>)
  target_include_directories(${name}_tests PRIVATE $<TARGET_PROPERTY:vpref_fiber,INTERFACE_INCLUDE_DIRECTORIES>)
  target_compile_definitions(${name}_tests PRIVATE VPREF_CUDA VPREF_FIBER VPREF_FIXTURES="${CMAKE_CURRENT_SOURCE_DIR}/../fixtures")
  target_compile_options(${name}_tests PRIVATE -Wno-unknown-pragmas -fno-strict-aliasing)
  target_link_libraries(${name}_tests PRIVATE vpref_backend_cpu GTest::gtest_main)
endfunction()

file(GLOB fiber_tests CONFIGURE_DEPENDS ${fiber_root}/*_test.cc)
fiber_test(fiber ${fiber_tests})
add_test(NAME fiber COMMAND fiber_tests)

file(GLOB op_tests CONFIGURE_DEPENDS ${test_root}/ops/*_test.cc ${test_root}/reference/*.cc)
fiber_test(fiber_ops ${op_tests})
foreach(seed 1 2)
  add_test(NAME fiber_ops_seed${seed} COMMAND fiber_ops_tests "--gtest_filter=*/cuda_*:-*Attention*")
  add_test(NAME fiber_attention_seed${seed} COMMAND fiber_ops_tests --gtest_filter=*Attention*/cuda_*)
  set_tests_properties(fiber_ops_seed${seed} fiber_attention_seed${seed} PROPERTIES ENVIRONMENT VPREF_FIBER_SEED=${seed})
endforeach()

# The whole engine on device cuda. In a CUDA build the same test runs on the GPU instead (tests.cmake).
if(NOT VPREF_CUDA)
  fiber_test(fiber_device ${test_root}/device/whole_model_test.cc ${test_root}/device/memory_test.cc
    ${test_root}/device/families_test.cc)
  # Their own objects of core and ops stand before these archives, which give only what lies above.
  target_link_libraries(fiber_device_tests PRIVATE vpref_infer vpref_train)
  add_test(NAME fiber_device COMMAND fiber_device_tests)
endif()

# The addon over the executor, for running commands with --device cuda: cmake --build DIR --target vpref_fiber_addon, VPREF_ADDON=DIR/fiber/vpref_fiber.node.
if(TARGET vpref_addon AND NOT VPREF_CUDA)
  add_library(vpref_fiber_addon MODULE EXCLUDE_FROM_ALL ${addon_sources} $<TARGET_OBJECTS:vpref_fiber>)
  target_include_directories(vpref_fiber_addon PRIVATE $<TARGET_PROPERTY:vpref_fiber,INTERFACE_INCLUDE_DIRECTORIES>)
  target_include_directories(vpref_fiber_addon SYSTEM PRIVATE $<TARGET_PROPERTY:vpref_addon,INCLUDE_DIRECTORIES>)
  target_compile_definitions(vpref_fiber_addon PRIVATE VPREF_CUDA VPREF_FIBER $<TARGET_PROPERTY:vpref_addon,COMPILE_DEFINITIONS>)
  target_compile_options(vpref_fiber_addon PRIVATE -Wno-unknown-pragmas)
  target_link_libraries(vpref_fiber_addon PRIVATE vpref_backend_cpu vpref_infer vpref_train)
  set_target_properties(vpref_fiber_addon PROPERTIES PREFIX "" SUFFIX ".node" OUTPUT_NAME vpref_fiber LIBRARY_OUTPUT_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/fiber CXX_VISIBILITY_PRESET hidden)
endif()

# The GPU benches over the executor, for trying bench/gpu.sh: cmake --build DIR --target fiber_benches, then scripts/checks/gpu-script.sh DIR.
if(VPREF_BENCH AND NOT VPREF_CUDA)
  function(fiber_bench name)
    add_executable(fiber_${name} EXCLUDE_FROM_ALL ${ARGN} $<TARGET_OBJECTS:vpref_fiber>)
    target_include_directories(fiber_${name} PRIVATE $<TARGET_PROPERTY:vpref_fiber,INTERFACE_INCLUDE_DIRECTORIES> ${CMAKE_CURRENT_SOURCE_DIR}/../bench/ops)
    target_compile_definitions(fiber_${name} PRIVATE VPREF_CUDA VPREF_FIBER)
    target_compile_options(fiber_${name} PRIVATE -Wno-unknown-pragmas -fno-strict-aliasing)
    target_link_libraries(fiber_${name} PRIVATE vpref_backend_cpu vpref_infer vpref_train)
  endfunction()
  file(GLOB op_benches CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/../bench/ops/*.cc)
  fiber_bench(ops_bench ${op_benches})
  fiber_bench(bench_engine ${CMAKE_CURRENT_SOURCE_DIR}/../bench/engine/engine.cc)
  fiber_bench(bench_train ${CMAKE_CURRENT_SOURCE_DIR}/../bench/train/train.cc)
  add_custom_target(fiber_benches DEPENDS fiber_ops_bench fiber_bench_engine fiber_bench_train)
endif()
