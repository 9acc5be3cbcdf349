# SPDX-License-Identifier: Apache-2.0
# CUDA backend: own kernels and cuBLASLt, from the toolkit or from the pip package nvidia-cublas (-DVPREF_CUBLAS=DIR with include/ and lib/).
# Architectures: A100 and Hopper as code, anything newer from PTX.
if(CMAKE_VERSION VERSION_LESS 3.24)
  message(FATAL_ERROR "the CUDA build needs CMake 3.24 or later, found ${CMAKE_VERSION}")
endif()
if(NOT CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES 80-real 90a-real 90-virtual)
endif()
set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
set(CMAKE_CUDA_STANDARD 17)  # CMake 3.25 knows no newer one for nvcc 13
enable_language(CUDA)
# vpref_pip_folder(VARIABLE FOLDER DOC): a folder to be given as -DVARIABLE, else where pip puts FOLDER for the python3 on the path.
function(vpref_pip_folder variable folder doc)
  set(${variable} "" CACHE PATH "${doc}")
  if(NOT ${variable})
    execute_process(COMMAND python3 -c "import sysconfig; print(sysconfig.get_paths()['purelib'])" OUTPUT_VARIABLE site OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
    set(${variable} ${site}/${folder} PARENT_SCOPE)
  endif()
endfunction()
vpref_pip_folder(VPREF_CUBLAS nvidia/cu13 "folder with cuBLAS's include/ and lib/, when the toolkit has none")
find_path(CUBLASLT_INCLUDE cublasLt.h HINTS ${VPREF_CUBLAS}/include ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES})
find_library(CUBLASLT_LIBRARY NAMES cublasLt libcublasLt.so.13 libcublasLt.so.12 HINTS ${VPREF_CUBLAS}/lib ${VPREF_CUBLAS}/lib64 ${CMAKE_CUDA_IMPLICIT_LINK_DIRECTORIES})
if(NOT CUBLASLT_INCLUDE OR NOT CUBLASLT_LIBRARY)
  message(FATAL_ERROR "cuBLASLt is missing: the toolkit's libcublas-dev, or pip install nvidia-cublas and -DVPREF_CUBLAS=.../site-packages/nvidia/cu13")
endif()
file(GLOB cuda_sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/backend/cuda/*.cu)
add_library(vpref_backend_cuda STATIC ${cuda_sources})
target_include_directories(vpref_backend_cuda PUBLIC ${CMAKE_CURRENT_SOURCE_DIR})
# After the compiler's own folders: pip's folder may hold the runtime's headers of another release too.
target_include_directories(vpref_backend_cuda SYSTEM PRIVATE ${CUBLASLT_INCLUDE})
target_link_libraries(vpref_backend_cuda PUBLIC vpref_core ${CUBLASLT_LIBRARY})
target_compile_options(vpref_backend_cuda PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:-lineinfo>)
