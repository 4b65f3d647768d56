// Sums over the rows of a matrix (rows, columns), and batch norm, which consists of such sums. A batch
// of images is also such a matrix: a row for each position of each image, a column for each channel.
//
// A block has (wide, 1024 / wide) threads, where `wide` is a power of two of at most 32. It takes
// `wide` columns of a chunk of rows, so a warp reads neighbours in memory. A short matrix is one chunk,
// and one launch. In a long matrix, each chunk writes its sums to `parts` (sums, chunks, columns), and
// each block of the next launch adds all of these, in the same order. So a reduction has enough blocks,
// no atomics, and no extra launch for the last few numbers.

// Gives each thread the sums over its column's threads: first within warps, then over warps.
template <int N>
__device__ void add_up(T (&sum)[N], T (*part)[32][33], T (*total)[32]) {
    unsigned wide = blockDim.x, thread = threadIdx.y * wide + threadIdx.x;
    unsigned warp = thread / 32, lane = thread % 32;
    for (int k = 0; k < N; ++k) {
        for (unsigned d = wide; d < 32; d *= 2) sum[k] += __shfl_xor_sync(~0u, sum[k], d);
        if (lane < wide) part[k][warp][lane] = sum[k];
    }
    __syncthreads();
    if (warp < wide)
        for (int k = 0; k < N; ++k) {
            T all = part[k][lane][warp];
            for (unsigned d = 1; d < 32; d *= 2) all += __shfl_xor_sync(~0u, all, d);
            if (lane == 0) total[k][warp] = all;
        }
    __syncthreads();
    for (int k = 0; k < N; ++k) sum[k] = total[k][threadIdx.x];
}

// This thread's column, which may lie beyond the last one.
#define COLUMN (blockIdx.x * (i64)blockDim.x + threadIdx.x)

// Loops over this thread's values of its column and chunk: every blockDim.y-th row.
#define EACH_ROW(at)                                                                      \
    for (i64 row = blockIdx.y * chunk + threadIdx.y, at = row * columns + c,              \
             end = c < columns ? min(blockIdx.y * chunk + chunk, rows) : 0;               \
         row < end; row += blockDim.y, at += blockDim.y * columns)

// Loops over this thread's chunks, when the chunks' sums are added.
#define EACH_CHUNK(k, at)                                                                 \
    for (i64 k = threadIdx.y, at = k * columns + c, end = c < columns ? chunks : 0;       \
         k < end; k += blockDim.y, at += blockDim.y * columns)

// sums[chunk, c] = sum of x[i, c].
KERNEL __launch_bounds__(1024)
column_sums(T* sums, const T* x, i64 rows, i64 columns, i64 chunk) {
    __shared__ T part[1][32][33], total[1][32];
    i64 c = COLUMN;
    T sum[1] = {0};
    EACH_ROW(at) sum[0] += x[at];
    add_up(sum, part, total);
    if (c < columns && threadIdx.y == 0) sums[blockIdx.y * columns + c] = sum[0];
}

// A chunk's rounded mean m, and the sums of x - m and of (x - m)^2. From these follows, exactly, what
// the chunk adds to the variance about any other mean.
KERNEL __launch_bounds__(1024)
moments(T* parts, const T* x, i64 rows, i64 columns, i64 chunk) {
    __shared__ T part[2][32][33], total[2][32];
    i64 c = COLUMN;
    T sum[1] = {0}, about[2] = {0, 0};
    EACH_ROW(at) sum[0] += x[at];
    add_up(sum, part, total);
    T mean = sum[0] / T(min(chunk, rows - blockIdx.y * chunk));
    EACH_ROW(at) {
        T d = x[at] - mean;
        about[0] += d;
        about[1] += d * d;
    }
    add_up(about, part, total);
    if (c >= columns || threadIdx.y) return;
    i64 one = gridDim.y * columns;
    parts += blockIdx.y * columns + c;
    parts[0] = mean;
    parts[one] = about[0];
    parts[2 * one] = about[1];
}

// x_hat = (x - mean) inv_std and y = gamma x_hat + beta; gamma is null for 1. `parts` from `moments`;
// null if there is one chunk.
KERNEL __launch_bounds__(1024)
batch_norm(T* y, T* x_hat, T* mean, T* var, T* inv_std, const T* x, const T* gamma,
           const T* beta, T epsilon, const T* parts, i64 chunks, i64 rows, i64 columns, i64 chunk) {
    __shared__ T part[1][32][33], total[1][32];
    i64 c = COLUMN, one = chunks * columns;
    T sum[1] = {0}, square[1] = {0};
    if (parts) {
        EACH_CHUNK(k, at)
            sum[0] += T(min(chunk, rows - k * chunk)) * parts[at] + parts[one + at];
    } else {
        EACH_ROW(at) sum[0] += x[at];
    }
    add_up(sum, part, total);
    T center = sum[0] / T(rows);
    if (parts) {
        EACH_CHUNK(k, at) {
            T d = parts[at] - center, n = T(min(chunk, rows - k * chunk));
            square[0] += parts[2 * one + at] + d * (2 * parts[one + at] + n * d);
        }
    } else {
        EACH_ROW(at) {
            T d = x[at] - center;
            square[0] += d * d;
        }
    }
    add_up(square, part, total);
    T variance = square[0] / T(rows), factor = sqrt(variance + epsilon) / (variance + epsilon);
    if (c < columns && blockIdx.y == 0 && threadIdx.y == 0) {
        mean[c] = center;
        var[c] = variance;
        inv_std[c] = factor;
    }
    T scale = gamma && c < columns ? gamma[c] : T(1), shift = c < columns ? beta[c] : T(0);
    EACH_ROW(at) {
        T value = (x[at] - center) * factor;
        x_hat[at] = value;
        y[at] = value * scale + shift;
    }
}

// A chunk's part of dbeta and dgamma.
KERNEL __launch_bounds__(1024)
gradient_sums(T* parts, const T* dy, const T* x_hat, i64 rows, i64 columns, i64 chunk) {
    __shared__ T part[2][32][33], total[2][32];
    i64 c = COLUMN;
    T sum[2] = {0, 0};
    EACH_ROW(at) {
        sum[0] += dy[at];
        sum[1] += dy[at] * x_hat[at];
    }
    add_up(sum, part, total);
    if (c >= columns || threadIdx.y) return;
    parts += blockIdx.y * columns + c;
    parts[0] = sum[0];
    parts[gridDim.y * columns] = sum[1];
}

// dbeta = sum of dy, dgamma = sum of dy x_hat, dx = gamma inv_std (dy - x_hat dgamma / n - dbeta / n).
// dx and dgamma are null if not wanted, gamma for 1. `parts` from `gradient_sums`; null if there is
// one chunk.
KERNEL __launch_bounds__(1024)
batch_norm_gradient(T* dx, T* dbeta, T* dgamma, const T* dy, const T* x_hat, const T* inv_std,
                    const T* gamma, const T* parts, i64 chunks, i64 rows, i64 columns, i64 chunk) {
    __shared__ T part[2][32][33], total[2][32];
    i64 c = COLUMN;
    T sum[2] = {0, 0};
    if (parts) {
        EACH_CHUNK(k, at) {
            sum[0] += parts[at];
            sum[1] += parts[chunks * columns + at];
        }
    } else {
        EACH_ROW(at) {
            sum[0] += dy[at];
            sum[1] += dy[at] * x_hat[at];
        }
    }
    add_up(sum, part, total);
    if (c >= columns) return;
    if (blockIdx.y == 0 && threadIdx.y == 0) {
        dbeta[c] = sum[0];
        if (dgamma) dgamma[c] = sum[1];
    }
    if (!dx) return;
    T scale = gamma ? gamma[c] * inv_std[c] : inv_std[c];
    T slope = scale * sum[1] / T(rows), shift = scale * sum[0] / T(rows);
    EACH_ROW(at) dx[at] = dy[at] * scale - x_hat[at] * slope - shift;
}

// Batch norm in evaluation.
KERNEL normalize(T* y, const T* x, const T* mean, const T* scale, const T* shift, i64 channels,
                 i64 n) {
    EACH(i, n) {
        i64 c = i % channels;
        y[i] = (x[i] - mean[c]) * scale[c] + shift[c];
    }
}

// running <- keep running + take batch, for the means and the variances (times variance_factor) of all
// channels, unless one is not finite. One block, since all have to be checked first.
KERNEL __launch_bounds__(1024)
update_running(T* running_mean, T* running_var, const T* mean, const T* var, T keep, T take,
               T variance_factor, i64 channels) {
    bool broken = false;
    for (i64 c = threadIdx.x; c < channels; c += blockDim.x)
        broken |= !isfinite(mean[c] + var[c] * variance_factor);
    if (__syncthreads_or(broken)) return;
    for (i64 c = threadIdx.x; c < channels; c += blockDim.x) {
        running_mean[c] = keep * running_mean[c] + take * mean[c];
        running_var[c] = keep * running_var[c] + take * (var[c] * variance_factor);
    }
}
