// Rows of logits against labels. No kernels of its own: it stands before files that need it.
//
// Blocks are (wide, 1024 / wide) threads, wide a power of two of at most 32: `wide` neighbours in a
// warp share a row. What a block has added up goes to `sums[block]`, which is the result if there is
// one block.

// Labels of 1 byte without sign, of 4 or of 8 with one.
__device__ i64 label_at(const void* labels, i64 bytes, i64 row) {
    if (bytes == 1) return ((const u8*)labels)[row];
    return bytes == 4 ? ((const int*)labels)[row] : ((const i64*)labels)[row];
}

// The sum over a block: all threads of the first warp get it.
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

// All rows in turn; the threads of a warp stay together, also beyond the last row.
#define EACH_GROUP(first)                                                          \
    for (i64 first = blockIdx.x * (i64)blockDim.y; first < n; first += gridDim.x * (i64)blockDim.y)
