/* `products.h` for x86-64 with AVX-512 and VPOPCNTDQ, which counts bits in one instruction. */
#if defined(__x86_64__)
#define NAMED(name) minibnn_##name##_avx512_vpopcntdq
#define FLOATS 16
#define COUNT_LANES
#include <immintrin.h>
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vpopcntdq,bmi,bmi2"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vpopcntdq,bmi,bmi2")
#endif
#include "products.h"
#include "windows.h"
#include "convolutions.h"
#include "pooling.h"
#include "small_windows.h"
#include "sparse.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
