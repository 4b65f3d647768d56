/* `products.h` for x86-64 with AVX2. */
#if defined(__x86_64__)
#define NAMED(name) minibnn_##name##_avx2
#define FLOATS 8
#include <immintrin.h>
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,bmi,bmi2"))), apply_to = function)
#else
#pragma GCC target("avx2,bmi,bmi2")
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
