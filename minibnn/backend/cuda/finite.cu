// Clears `allowed` if a value is not finite. All threads that write, write the same value.
KERNEL note_finite(bool* allowed, const T* a, i64 n) {
    EACH(i, n) {
        if (!isfinite(a[i])) *allowed = false;
    }
}
