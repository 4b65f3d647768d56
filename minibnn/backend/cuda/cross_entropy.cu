// Cross-entropy and its gradient; the equations are in `minibnn/losses/cross_entropy.py`.

// p = softmax of each row, and sums[block] = -1/n sum over rows of keep log p[row, label] + part sum
// over k of log p[row, k], with keep = 1 - e, part = e / classes, and e the label smoothing. A label
// outside the classes makes the sum nan.
KERNEL __launch_bounds__(1024)
cross_entropy(T* sums, T* p, const T* logits, const void* labels, i64 label_bytes, T keep, T part,
              i64 n, i64 classes) {
    __shared__ T shown[32];
    T score = 0;
    EACH_GROUP(first) {
        i64 row = first + threadIdx.y, last = row < n ? classes : 0;
        const T* x = logits + row * classes;
        T* p_row = p + row * classes;
        i64 label = last ? label_at(labels, label_bytes, row) : 0;
        // In a row with nan, any value may be the greatest: the total is nan.
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
            T s = x[k] - greatest, logp = s - log_total;
            if (k == label) score += keep * logp;
            if (part != 0) score += part * logp;
            p_row[k] = exp(s) / total;
        }
        if (last && (label < 0 || label >= classes)) score = T(__uint_as_float(0x7fc00000u));
    }
    T sum = block_sum(score, shown);
    if (threadIdx.x == 0 && threadIdx.y == 0) sums[blockIdx.x] = -sum / T(n);
}

// dlogits = p / rows - hit 1[k = label] - each, with hit = keep / rows and each = part / rows.
KERNEL cross_entropy_gradient(T* dlogits, const T* p, const void* labels, i64 label_bytes, T hit,
                              T each, i64 rows, i64 classes, i64 n) {
    EACH(i, n) {
        T slope = p[i] / T(rows);
        if (i % classes == label_at(labels, label_bytes, i / classes)) slope -= hit;
        dlogits[i] = each == 0 ? slope : slope - each;
    }
}
