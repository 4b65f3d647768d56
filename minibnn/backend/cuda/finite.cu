// allowed stays true if every value is finite. All threads that write, write the same.
KERNEL note_finite(bool* allowed, const T* a, i64 n) {
    EACH(i, n) {
        if (!isfinite(a[i])) *allowed = false;
    }
}
