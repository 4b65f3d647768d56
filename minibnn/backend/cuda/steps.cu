// What a recorded step does around the layers: it finds its numbers and its batch, and notes its loss.

// The step that begins takes its numbers out of the tables, and the next one will be the one after it.
// One thread. Tables: floats (steps, n_floats), keys (steps, n_keys); `now` gets the step's number.
KERNEL begin_step(i64* counter, i64* now, T* floats, const T* float_table, i64 n_floats, u32* keys,
                  const u32* key_table, i64 n_keys) {
    i64 step = *counter;
    *now = step;
    *counter = step + 1;
    for (i64 j = 0; j < n_floats; ++j) floats[j] = float_table[step * n_floats + j];
    for (i64 j = 0; j < n_keys; ++j) keys[j] = key_table[step * n_keys + j];
}

// A batch's rows of two arrays, of so many bytes each: out[i] = a[order[now batch + i]], and likewise
// `other` from b.
KERNEL gather(u8* out, const u8* a, i64 row, u8* other, const u8* b, i64 row_b, const i64* order,
              const i64* now, i64 batch) {
    order += *now * batch;
    i64 first = batch * row;
    EACH(i, first + batch * row_b) {
        if (i < first) {
            out[i] = a[order[i / row] * row + i % row];
        } else {
            i64 k = i - first;
            other[k] = b[order[k / row_b] * row_b + k % row_b];
        }
    }
}

// losses[now] = loss; all_finite stays true as long as every loss is finite. One thread.
KERNEL note_loss(double* losses, bool* all_finite, const i64* now, const T* loss) {
    losses[*now] = *loss;
    *all_finite = *all_finite && isfinite(*loss);
}

// losses[now] = nan if all_finite is false and no loss up to now shows it. One thread.
KERNEL note_refused(double* losses, const bool* all_finite, const i64* now) {
    if (*all_finite) return;
    for (i64 k = 0; k <= *now; ++k)
        if (!isfinite(losses[k])) return;
    losses[*now] = __uint_as_float(0x7fc00000u);
}
