// Adam; the equations are in `optimizers/adam.py`. rest1 and rest2 are 1 - beta1 and 1 - beta2. An
// infinite bound clips nothing. If `allowed` points to false, nothing changes.
KERNEL adam(T* w, const T* g, T* m, T* v, const T* alpha_at, T alpha, const T* epsilon_at, T epsilon,
            T beta1, T rest1, T beta2, T rest2, T bound, const bool* allowed, i64 n) {
    if (allowed && !*allowed) return;
    alpha = number(alpha_at, alpha);
    epsilon = number(epsilon_at, epsilon);
    EACH(i, n) {
        T new_m = beta1 * m[i] + rest1 * g[i];
        T new_v = beta2 * v[i] + rest2 * (g[i] * g[i]);
        T new_w = w[i] - alpha * (new_m / (sqrt(new_v) + epsilon));
        m[i] = new_m;
        v[i] = new_v;
        w[i] = new_w > bound ? bound : (new_w < -bound ? -bound : new_w);
    }
}
