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
