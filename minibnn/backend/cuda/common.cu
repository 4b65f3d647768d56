// The beginning of every file of kernels. `kernels.py` puts a line before it that defines T, the type
// of the numbers: float or double, for images also u8 or int. Each file is compiled once for each T.
//
// Arrays are contiguous. Sums have a fixed order and no atomics, so a run repeats bit for bit.

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;

#define KERNEL extern "C" __global__ void

// A loop over n elements that any number of blocks share.
#define EACH(i, n)                                                                       \
    for (i64 i = blockIdx.x * (i64)blockDim.x + threadIdx.x; i < (n);                     \
         i += (i64)gridDim.x * blockDim.x)

// A number from the host: passed by value, or, in a captured step, read from the device's memory.
template <typename N>
__device__ N number(const N* at, N value) {
    return at ? *at : value;
}
