// Rescaling of bytes; see `minibnn/layers/reshape.py`.

// From bytes: y = scale x + offset.
KERNEL rescale(T* y, const u8* x, T scale, T offset, i64 n) {
    EACH(i, n) y[i] = T(x[i]) * scale + offset;
}
