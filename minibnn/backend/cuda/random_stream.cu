// Random numbers by hashing; the equation is in `minibnn/random_stream.py`. `first` is the position of
// the array's first number in the whole batch: see `RandomStream.uniform`.

__device__ u32 mixed(u32 h) {
    h ^= h >> 16;
    h *= 0x85ebca6bu;
    h ^= h >> 13;
    h *= 0xc2b2ae35u;
    return h ^ h >> 16;
}

KERNEL uniform(T* u, const u32* k0_at, u32 k0, const u32* k1_at, u32 k1, u32 first, i64 n) {
    k0 = number(k0_at, k0);
    k1 = number(k1_at, k1);
    EACH(i, n) u[i] = T(mixed(mixed(first + (u32)i + k0) ^ k1) >> 8) * T(5.9604644775390625e-8);
}
