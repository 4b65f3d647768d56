// Elementwise primitives: one pass over memory each. Their equations stand in `backend/base.py`.

__device__ float signed_one(float x) {
    // By its bits: CuPy compiles with -ftz=true, for which a denormal number equals zero.
    u32 bits = __float_as_uint(x), size = bits & 0x7fffffffu;
    u32 minus = size == 0u ? 0u : bits & 0x80000000u;
    return size > 0x7f800000u ? x : __uint_as_float(0x3f800000u | minus);
}

__device__ double signed_one(double x) { return x >= 0 ? 1 : (x < 0 ? -1 : x); }

KERNEL binarize(T* y, const T* x, i64 n) {
    EACH(i, n) y[i] = signed_one(x[i]);
}

KERNEL gate(T* dx, const T* dy, const T* x, T limit, i64 n) {
    // A product, as in the plain body: nan and inf times 0 are nan.
    EACH(i, n) dx[i] = dy[i] * (fabs(x[i]) <= limit ? T(1) : T(0));
}

// From bytes: y = scale x + offset.
KERNEL rescale(T* y, const u8* x, T scale, T offset, i64 n) {
    EACH(i, n) y[i] = T(x[i]) * scale + offset;
}

// y[i, j] = shift[j] + a[j] x1[i, j] + b[j] x2[i, j]; x2 and b may be null.
KERNEL affine(T* y, const T* shift, const T* a, const T* x1, const T* b, const T* x2, i64 width,
              i64 n) {
    EACH(i, n) {
        i64 j = i % width;
        T sum = x1[i] * a[j];
        if (x2) sum += x2[i] * b[j];
        y[i] = sum + shift[j];
    }
}

// Batch norm in evaluation; c is the channel of a value.
KERNEL normalize(T* y, const T* x, const T* mean, const T* scale, const T* shift, i64 channels,
                 i64 n) {
    EACH(i, n) {
        i64 c = i % channels;
        y[i] = (x[i] - mean[c]) * scale[c] + shift[c];
    }
}
