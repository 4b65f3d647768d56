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

// rest1 and rest2 are 1 - beta1 and 1 - beta2.
// `signs`, unless null, gets the signs of the new w. Where `alive` points to false nothing changes.
__device__ void adam_one(i64 i, T* w, const T* g, T* m, T* v, T* signs, T rate, T epsilon,
                         T beta1, T rest1, T beta2, T rest2, T bound) {
    T new_m = beta1 * m[i] + rest1 * g[i];
    T new_v = beta2 * v[i] + rest2 * (g[i] * g[i]);
    T new_w = w[i] - rate * (new_m / (sqrt(new_v) + epsilon));
    new_w = new_w > bound ? bound : (new_w < -bound ? -bound : new_w);
    m[i] = new_m;
    v[i] = new_v;
    w[i] = new_w;
    if (signs) signs[i] = signed_one(new_w);
}

KERNEL adam(T* w, const T* g, T* m, T* v, T* signs, const T* rate_at, T rate, const T* epsilon_at,
            T epsilon, T beta1, T rest1, T beta2, T rest2, T bound, const bool* alive, i64 n) {
    if (alive && !*alive) return;
    rate = number(rate_at, rate);
    epsilon = number(epsilon_at, epsilon);
    EACH(i, n) adam_one(i, w, g, m, v, signs, rate, epsilon, beta1, rest1, beta2, rest2, bound);
}

// The same on parts, each up to its end. Numbers (parts, 2): rate and epsilon; bounds (parts,).
KERNEL adam_parts(T* w, const T* g, T* m, T* v, T* signs, const T* numbers, const i64* ends,
                  const T* bounds, T beta1, T rest1, T beta2, T rest2, const bool* alive,
                  i64 n) {
    if (alive && !*alive) return;
    EACH(i, n) {
        int part = 0;
        while (i >= ends[part]) ++part;
        adam_one(i, w, g, m, v, signs, numbers[2 * part], numbers[2 * part + 1], beta1, rest1,
                 beta2, rest2, bounds[part]);
    }
}

__device__ u32 mixed(u32 h) {
    h ^= h >> 16;
    h *= 0x85ebca6bu;
    h ^= h >> 13;
    h *= 0xc2b2ae35u;
    return h ^ h >> 16;
}

KERNEL uniform(T* u, const u32* k0_at, u32 k0, const u32* k1_at, u32 k1, i64 n) {
    k0 = number(k0_at, k0);
    k1 = number(k1_at, k1);
    EACH(i, n) u[i] = T(mixed(mixed((u32)i + k0) ^ k1) >> 8) * T(5.9604644775390625e-8);
}
