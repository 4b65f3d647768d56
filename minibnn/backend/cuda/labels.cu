// Comparing rows of logits with labels. It has no kernels; it comes before the files that need it.
//
// Blocks have (wide, 1024 / wide) threads, where `wide` is a power of two of at most 32: `wide`
// neighbours in a warp share a row. A block writes its sum to `sums[block]`; a single block's sum is
// the result.

// Labels are u8, int or i64.
__device__ i64 label_at(const void* labels, i64 bytes, i64 row) {
    if (bytes == 1) return ((const u8*)labels)[row];
    return bytes == 4 ? ((const int*)labels)[row] : ((const i64*)labels)[row];
}

// The sum over a block, for all threads of the first warp.
template <typename N>
__device__ N block_sum(N sum, N* part) {
    unsigned thread = threadIdx.y * blockDim.x + threadIdx.x;
    for (unsigned d = 1; d < 32; d *= 2) sum += __shfl_xor_sync(~0u, sum, d);
    if (thread % 32 == 0) part[thread / 32] = sum;
    __syncthreads();
    if (thread >= 32) return sum;
    sum = part[thread];
    for (unsigned d = 1; d < 32; d *= 2) sum += __shfl_xor_sync(~0u, sum, d);
    return sum;
}

// Loops over all rows; the threads of a warp stay together, also beyond the last row.
#define EACH_GROUP(first)                                                          \
    for (i64 first = blockIdx.x * (i64)blockDim.y; first < n; first += gridDim.x * (i64)blockDim.y)
