// What a captured step does around the model; the references are in `training/capture/operations.py`.

// Begins a step: `now` gets its number, and its scalars are copied from the tables.
// One thread. Tables: floats (steps, n_floats), keys (steps, n_keys).
KERNEL begin_step(i64* counter, i64* now, T* floats, const T* float_table, i64 n_floats, u32* keys,
                  const u32* key_table, i64 n_keys) {
    i64 step = *counter;
    *now = step;
    *counter = step + 1;
    for (i64 j = 0; j < n_floats; ++j) floats[j] = float_table[step * n_floats + j];
    for (i64 j = 0; j < n_keys; ++j) keys[j] = key_table[step * n_keys + j];
}

// A batch of two arrays with rows of `row` and `row_b` bytes: out[i] = a[order[now batch + i]], and
// likewise `other` from b.
KERNEL gather_batch(u8* out, const u8* a, i64 row, u8* other, const u8* b, i64 row_b,
                    const i64* order, const i64* now, i64 batch) {
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

// One thread. From the verdicts `with_refused` in `training/step.py` makes the nan of refused steps.
KERNEL note_step(double* losses, bool* verdicts, const i64* now, const T* loss, const bool* allowed) {
    losses[*now] = *loss;
    verdicts[*now] = *allowed;
}
