// Signs and their straight-through gradients; see `minibnn/functions/signs.py`.

__device__ float sign_of(float x) {
    // From its bits: CuPy compiles with -ftz=true, so a denormal number would equal zero.
    u32 bits = __float_as_uint(x), size = bits & 0x7fffffffu;
    u32 minus = size == 0u ? 0u : bits & 0x80000000u;
    return size > 0x7f800000u ? x : __uint_as_float(0x3f800000u | minus);
}

__device__ double sign_of(double x) { return x >= 0 ? 1 : (x < 0 ? -1 : x); }

KERNEL binary_sign(T* y, const T* x, i64 n) {
    EACH(i, n) y[i] = sign_of(x[i]);
}

KERNEL straight_through_gradient(T* dx, const T* dy, const T* x, T clip, i64 n) {
    // A product, as in the reference: nan and inf times 0 are nan.
    EACH(i, n) dx[i] = dy[i] * (fabs(x[i]) <= clip ? T(1) : T(0));
}
