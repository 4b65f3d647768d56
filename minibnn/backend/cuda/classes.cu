// Cross-entropy and its gradient, and how many answers are right: rows of logits against labels.
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

// sums[block] = -1/n sum of keep log p[row, label] + part sum over k of log p[row, k], and
// dlogits = p / n - hit [k = label] - each. keep = 1 - e, part = e / classes, hit = keep / n, each =
// part / n, with e the label smoothing. A label that is no class makes the sum nan.
KERNEL __launch_bounds__(1024)
cross_entropy(T* sums, T* dlogits, const T* logits, const void* labels, i64 label_bytes, T keep,
              T part, T hit, T each, i64 n, i64 classes) {
    __shared__ T shown[32];
    T score = 0;
    EACH_GROUP(first) {
        i64 row = first + threadIdx.y, last = row < n ? classes : 0;
        const T* x = logits + row * classes;
        T* d = dlogits + row * classes;
        i64 label = last ? label_at(labels, label_bytes, row) : 0;
        // Of a row with nan the greatest may be anything: the total is nan.
        T greatest = last ? x[min((i64)threadIdx.x, classes - 1)] : T(0), total = 0;
        for (i64 k = threadIdx.x; k < last; k += blockDim.x)
            greatest = x[k] > greatest ? x[k] : greatest;
        for (unsigned lane = 1; lane < blockDim.x; lane *= 2) {
            T other = __shfl_xor_sync(~0u, greatest, lane);
            greatest = other > greatest ? other : greatest;
        }
        for (i64 k = threadIdx.x; k < last; k += blockDim.x) total += exp(x[k] - greatest);
        for (unsigned lane = 1; lane < blockDim.x; lane *= 2)
            total += __shfl_xor_sync(~0u, total, lane);
        T log_total = log(total);
        for (i64 k = threadIdx.x; k < last; k += blockDim.x) {
            T s = x[k] - greatest, logp = s - log_total, slope = exp(s) / total / T(n);
            if (k == label) {
                score += keep * logp;
                slope -= hit;
            }
            if (part != 0) {
                score += part * logp;
                slope -= each;
            }
            d[k] = slope;
        }
        if (last && (label < 0 || label >= classes)) score = T(__uint_as_float(0x7fc00000u));
    }
    T sum = block_sum(score, shown);
    if (threadIdx.x == 0 && threadIdx.y == 0) sums[blockIdx.x] = -sum / T(n);
}

// Whether the second logit is greater, or as great and before; nan is the greatest.
__device__ bool comes_first(T a, int i, T b, int j) {
    if (isnan(b)) return !isnan(a) || j < i;
    return b > a || (b == a && j < i);
}

// sums[block] = how many rows have their greatest logit, the first of equals, at their label, and it is
// finite.
KERNEL __launch_bounds__(1024)
count_correct(i64* sums, const T* logits, const void* labels, i64 label_bytes, i64 n, i64 classes) {
    __shared__ i64 shown[32];
    i64 correct = 0;
    EACH_GROUP(first) {
        i64 row = first + threadIdx.y, last = row < n ? classes : 0;
        const T* x = logits + row * classes;
        int best = min((i64)threadIdx.x, classes - 1);
        T greatest = last ? x[best] : T(0);
        for (i64 k = threadIdx.x; k < last; k += blockDim.x)
            if (comes_first(greatest, best, x[k], k)) greatest = x[best = k];
        for (unsigned lane = 1; lane < blockDim.x; lane *= 2) {
            T other = __shfl_xor_sync(~0u, greatest, lane);
            int its = __shfl_xor_sync(~0u, best, lane);
            if (comes_first(greatest, best, other, its)) greatest = other, best = its;
        }
        if (last && threadIdx.x == 0)
            correct += isfinite(greatest) && best == label_at(labels, label_bytes, row);
    }
    i64 sum = block_sum(correct, shown);
    if (threadIdx.x == 0 && threadIdx.y == 0) sums[blockIdx.x] = sum;
}

// The sum of what the blocks counted. One block of 1024.
KERNEL __launch_bounds__(1024) add_counts(i64* sum, const i64* sums, i64 blocks) {
    __shared__ i64 shown[32];
    i64 all = 0;
    for (i64 k = threadIdx.x; k < blocks; k += blockDim.x) all += sums[k];
    all = block_sum(all, shown);
    if (threadIdx.x == 0) *sum = all;
}
