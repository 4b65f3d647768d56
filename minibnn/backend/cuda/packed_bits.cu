// Rows of +1 and -1 as bits. The equations and contracts are in `packed/bits.py` and
// `packed/inference.py`. All numbers are integers, so every order of a sum gives the same result.

#define ROWS 4        // rows of a small input that a warp computes at once
#define TILE 64       // rows and columns of a block's part of a large product; 256 threads
#define DEPTH 8       // words of each row in shared memory at a time
#define MOST 4096     // the most values of a layer in `dense_layers`; WIDEST in `packed_bits.py`
#define LANES 8       // threads that share a sum in `dense_layers`

// Eight bytes, each zero or not, to the bits of one byte.
__device__ u8 octet(u64 bytes) {
    bytes |= bytes >> 4;
    bytes |= bytes >> 2;
    bytes |= bytes >> 1;
    bytes &= 0x0101010101010101ull;
    return (u8)(bytes * 0x0102040810204080ull >> 56);  // byte i goes to bit 56 + i
}

// n is rows * words * 8, the bytes of `words`.
KERNEL pack_rows(u8* words, const u8* bits, i64 width, i64 n) {
    i64 octets = (width + 63) / 64 * 8;
    bool whole = width % 8 == 0 && (u64)bits % 8 == 0;
    EACH(i, n) {
        i64 first = i % octets * 8;
        const u8* from = bits + i / octets * width + first;
        u64 bytes = 0;
        if (whole && first < width) {
            bytes = *(const u64*)from;
        } else {
            for (int j = 0; j < 8 && first + j < width; ++j) bytes |= (u64)from[j] << 8 * j;
        }
        words[i] = octet(bytes);
    }
}

__device__ int differing(u64 a, u64 b) { return __popcll(a ^ b); }

__device__ int differing(ulonglong2 a, ulonglong2 b) {
    return __popcll(a.x ^ b.x) + __popcll(a.y ^ b.y);
}

__device__ int sum_of_warp(int sum) {
    for (int mask = 16; mask; mask /= 2) sum += __shfl_xor_sync(~0u, sum, mask);
    return sum;
}

// Counts the bits that differ between up to ROWS rows of a and one row of b. The lanes of a warp share
// the words.
template <typename W>
__device__ void count_differing(int* sums, const W* a, const W* b, i64 rows, i64 words) {
    for (i64 i = threadIdx.x % 32; i < words; i += 32) {
        W w = b[i];
        for (int r = 0; r < ROWS; ++r)
            if (r < rows) sums[r] += differing(a[r * words + i], w);
    }
}

// out[r, c] = width - 2 popcount(a[r] xor b[c]), a warp for a column and ROWS rows.
KERNEL xnor_few(int* out, const u64* a, const u64* b, i64 n, i64 m, i64 words, i64 width) {
    i64 warp = (blockIdx.x * (i64)blockDim.x + threadIdx.x) / 32;
    i64 first = warp / m * ROWS, column = warp % m;
    if (first >= n) return;
    a += first * words;
    b += column * words;
    int sums[ROWS] = {};
    if (words % 2 == 0 && ((u64)a | (u64)b) % 16 == 0)
        count_differing(sums, (const ulonglong2*)a, (const ulonglong2*)b, n - first, words / 2);
    else
        count_differing(sums, a, b, n - first, words);
    for (int r = 0; r < ROWS; ++r) {
        int sum = sum_of_warp(sums[r]);
        if (threadIdx.x % 32 == 0 && first + r < n)
            out[(first + r) * m + column] = (int)width - 2 * sum;
    }
}

// The same: a block of 16 x 16 threads computes a tile of the result, each thread 4 x 4 values.
KERNEL xnor_tiled(int* out, const u64* a, const u64* b, i64 n, i64 m, i64 words, i64 width) {
    __shared__ u64 A[DEPTH][TILE + 1], B[DEPTH][TILE + 1];
    i64 top = blockIdx.x * (i64)TILE, left = blockIdx.y * (i64)TILE;
    int x = threadIdx.x % 16, y = threadIdx.x / 16;
    int sums[4][4] = {};
    for (i64 at = 0; at < words; at += DEPTH) {
        int depth = words - at < DEPTH ? (int)(words - at) : DEPTH;
        for (int k = threadIdx.x; k < TILE * DEPTH; k += 256) {
            int r = k / DEPTH, d = k % DEPTH;
            A[d][r] = top + r < n && d < depth ? a[(top + r) * words + at + d] : 0;
            B[d][r] = left + r < m && d < depth ? b[(left + r) * words + at + d] : 0;
        }
        __syncthreads();
        for (int d = 0; d < depth; ++d)
            for (int i = 0; i < 4; ++i)
                for (int j = 0; j < 4; ++j)
                    sums[i][j] += differing(A[d][y + 16 * i], B[d][x + 16 * j]);
        __syncthreads();
    }
    for (int i = 0; i < 4; ++i)
        for (int j = 0; j < 4; ++j) {
            i64 row = top + y + 16 * i, column = left + x + 16 * j;
            if (row < n && column < m) out[row * m + column] = (int)width - 2 * sums[i][j];
        }
}

// The lowest four bits as bytes.
__device__ u32 four_bits(u32 bits) { return (bits & 15u) * 0x00204081u & 0x01010101u; }

// Pixels 4 i to 4 i + 3 of a row; zeros beyond its end.
__device__ u32 four_pixels(const u8* row, i64 i, i64 width, bool whole) {
    if (whole) return ((const u32*)row)[i];
    u32 four = 0;
    for (int j = 0; j < 4 && 4 * i + j < width; ++j) four |= (u32)row[4 * i + j] << 8 * j;
    return four;
}

// The dot product of four bytes and four bytes; one instruction since compute capability 6.1.
__device__ int byte_products(u32 a, u32 b) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 610
    u32 sum = 0;
    for (int shift = 0; shift < 32; shift += 8) sum += (a >> shift & 255u) * (b >> shift & 255u);
    return (int)sum;
#else
    return (int)__dp4a(a, b, 0u);
#endif
}

// The sum of four pixels times their signs; `plus` has a byte 1 for each +1, else 0.
__device__ int signed_sum(u32 pixels, u32 plus) {
    return 2 * byte_products(pixels, plus) - byte_products(pixels, 0x01010101u);
}

// out[r, c] = sum over i of +-x[r, i], a warp for a column and ROWS rows.
KERNEL pixel_few(int* out, const u8* x, const u64* b, i64 n, i64 m, i64 words, i64 width) {
    i64 warp = (blockIdx.x * (i64)blockDim.x + threadIdx.x) / 32;
    i64 first = warp / m * ROWS, column = warp % m;
    if (first >= n) return;
    const u32* signs = (const u32*)(b + column * words);
    bool whole = width % 4 == 0 && (u64)x % 4 == 0;
    int sums[ROWS] = {};
    for (i64 i = threadIdx.x % 32; 4 * i < width; i += 32) {
        u32 plus = four_bits(signs[i / 8] >> 4 * (i % 8));
        for (int r = 0; r < ROWS; ++r)
            if (first + r < n)
                sums[r] += signed_sum(four_pixels(x + (first + r) * width, i, width, whole), plus);
    }
    for (int r = 0; r < ROWS; ++r) {
        int sum = sum_of_warp(sums[r]);
        if (threadIdx.x % 32 == 0 && first + r < n) out[(first + r) * m + column] = sum;
    }
}

// +1 or -1 as the bits of a float16.
KERNEL half_signs(unsigned short* out, const u8* bits, i64 n) {
    EACH(i, n) out[i] = bits[i] ? 0x3C00 : 0xBC00;
}

__device__ bool passes(int acc, int threshold, bool falling) {
    return falling ? acc <= threshold : acc >= threshold;
}

KERNEL threshold_bits(u8* bits, const int* acc, const int* thresholds, const bool* falling,
                      i64 channels, i64 n) {
    EACH(i, n) {
        i64 c = i % channels;
        bits[i] = passes(acc[i], thresholds[c], falling[c]);
    }
}

KERNEL integer_scores(i64* scores, const int* acc, const i64* A, const i64* B, i64 classes, i64 n) {
    EACH(i, n) scores[i] = A[i % classes] * acc[i] + B[i % classes];
}

// The first greatest score of a row, by a warp.
KERNEL score_labels(i64* labels, const int* acc, const i64* A, const i64* B, i64 classes,
                    i64 rows) {
    i64 row = (blockIdx.x * (i64)blockDim.x + threadIdx.x) / 32;
    if (row >= rows) return;
    i64 best = 0, score = 0;
    bool any = false;
    for (i64 c = threadIdx.x % 32; c < classes; c += 32) {
        i64 s = A[c] * acc[row * classes + c] + B[c];
        if (!any || s > score) score = s, best = c;
        any = true;
    }
    if (!any) best = classes;  // of fewer classes than lanes: never chosen
    for (int mask = 16; mask; mask /= 2) {
        i64 s = __shfl_xor_sync(~0u, score, mask), c = __shfl_xor_sync(~0u, best, mask);
        bool better = best == classes || s > score || (s == score && c < best);
        if (c != classes && better) score = s, best = c;
    }
    if (threadIdx.x % 32 == 0) labels[row] = best;
}

// All layers on one row by one block, 256 threads. The table has for each layer its width, its
// channels, and where its words and its thresholds start (-1 for the last one, which has none).
// Weights and thresholds of all layers stand one after another.
KERNEL dense_layers(int* acc, const u8* x, const u64* words, const int* thresholds,
                    const bool* falling, const i64* table, int layers, int pixels) {
    __shared__ u32 ink[MOST / 4];
    __shared__ u64 bytes[MOST / 8];  // bits as bytes
    __shared__ u64 row[MOST / 64];   // and as words
    int lane = threadIdx.x % LANES, group = threadIdx.x / LANES, groups = blockDim.x / LANES;
    u8* first = pixels ? (u8*)ink : (u8*)bytes;
    x += blockIdx.x * table[0];
    for (i64 i = threadIdx.x; i < (table[0] + 63) / 64 * 64; i += blockDim.x)
        first[i] = i < table[0] ? x[i] : 0;
    for (int layer = 0; layer < layers; ++layer, table += 4) {
        // All now: behind what is stored below, the compiler would have to read it again.
        i64 width = table[0], channels = table[1], first_word = table[2], first_channel = table[3];
        i64 count = (width + 63) / 64;
        bool of_pixels = pixels && layer == 0, last = first_channel < 0;
        __syncthreads();  // the layer before has ended
        if (!of_pixels) {
            for (i64 i = threadIdx.x; i < 8 * count; i += blockDim.x)
                ((u8*)row)[i] = octet(bytes[i]);
            __syncthreads();
        }
        i64 filled = last ? 0 : (channels + 63) / 64 * 64;
        for (i64 c = channels + threadIdx.x; c < filled; c += blockDim.x) ((u8*)bytes)[c] = 0;
        int ink_sum = 0;  // of this lane's pixels
        for (i64 i = lane; of_pixels && i < 2 * count; i += LANES)
            for (int j = 0; j < 8; ++j) ink_sum += byte_products(ink[8 * i + j], 0x01010101u);
        for (i64 start = 0; start < channels; start += groups) {
            i64 c = start + group;
            const u64* signs = words + first_word + c * count;
            int threshold = 0, sum = 0;
            bool falls = false;
            if (c < channels && !last) {  // before the sum, to arrive with its words
                threshold = thresholds[first_channel + c];
                falls = falling[first_channel + c];
            }
            if (c < channels && of_pixels) {
                for (i64 i = lane; i < 2 * count; i += LANES) {
                    u32 word = ((const u32*)signs)[i];
                    for (int j = 0; j < 8; ++j)
                        sum += byte_products(ink[8 * i + j], four_bits(word >> 4 * j));
                }
                sum = 2 * sum - ink_sum;
            } else if (c < channels) {
                for (i64 i = lane; i < count; i += LANES) sum += differing(row[i], signs[i]);
            }
            for (int mask = LANES / 2; mask; mask /= 2) sum += __shfl_xor_sync(~0u, sum, mask);
            if (lane || c >= channels) continue;
            int value = of_pixels ? sum : (int)width - 2 * sum;
            if (last)
                acc[blockIdx.x * channels + c] = value;
            else
                ((u8*)bytes)[c] = passes(value, threshold, falls);
        }
    }
}
