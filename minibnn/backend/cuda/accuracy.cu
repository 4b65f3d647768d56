// Counting right answers; see `minibnn/losses/accuracy.py`.

// Whether logit b at j comes before logit a at i: it is greater, or equal and earlier. nan is the
// greatest.
__device__ bool comes_first(T a, int i, T b, int j) {
    if (isnan(b)) return !isnan(a) || j < i;
    return b > a || (b == a && j < i);
}

// sums[block] = number of rows whose greatest logit (the first of equal ones) is the label's, and
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

// The sum of the blocks' counts. One block of 1024 threads.
KERNEL __launch_bounds__(1024) add_counts(i64* sum, const i64* sums, i64 blocks) {
    __shared__ i64 shown[32];
    i64 all = 0;
    for (i64 k = threadIdx.x; k < blocks; k += blockDim.x) all += sums[k];
    all = block_sum(all, shown);
    if (threadIdx.x == 0) *sum = all;
}
