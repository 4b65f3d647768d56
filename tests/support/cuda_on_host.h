// Enough of CUDA to run the kernels of minibnn/backend/cuda on the host.
//
// Blocks run one after another, and each thread of a block is a fiber, which runs until it comes to a
// barrier. Between two barriers the warps, and their threads, run in an order that the caller chooses: a
// result that depends on it lacks a barrier. Shared memory starts with garbage in every block.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <ucontext.h>
#include <utility>

#define __global__
#define __device__ inline __attribute__((always_inline))  // so that accesses know what array they are in
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__ static __attribute__((section("shared_memory")))
#define __restrict__
using std::exp;
using std::fabs;
using std::isfinite;
using std::isnan;
using std::log;
using std::sqrt;

struct dim3 {
    unsigned x, y, z;
};
struct alignas(16) ulonglong2 {
    unsigned long long x, y;
};
static dim3 threadIdx, blockIdx, blockDim, gridDim;
static const unsigned warpSize = 32;

extern char __start_shared_memory[], __stop_shared_memory[];
static char shared_memory_exists __attribute__((section("shared_memory"), used));

namespace host {

enum State : char { RUNS, AT_WARP_BARRIER, AT_BLOCK_BARRIER, DONE };

static const unsigned most = 1024;  // threads in a block
static unsigned count;              // of this block's threads
static unsigned current;
static dim3 indices[most];
static State states[most];  // by themselves: every round looks at all of them
static bool started[most];
typedef void* Place[5];  // in the code, as __builtin_setjmp wants it
static Place places[most], scheduler;
static char stacks[most][(1 << 15) + 320];  // not a power of two apart, which caches do not like
static uint64_t slots[most];  // what the lanes of a warp show each other

// Jumps, since swapcontext asks the system twice each time; the compiler's own are the fastest. A
// function may not jump from where another jump ends. Nor may its callers see inside (`noipa`): they
// would keep values in registers that other fibers use.
[[noreturn]] __attribute__((noipa)) static void jump(Place& to) { __builtin_longjmp(to, 1); }

__attribute__((noipa)) static void wait(State where) {
    states[current] = where;
    if (!__builtin_setjmp(places[current])) jump(scheduler);
}

static unsigned lane() { return current % warpSize; }
static uint64_t* warp() { return slots + current / warpSize * warpSize; }

// Shows `value` to the warp and gives what lane `from` shows.
template <typename V>
static V exchange(V value, unsigned from) {
    static_assert(sizeof(V) <= 8, "a lane shows at most 8 bytes");
    std::memcpy(&warp()[lane()], &value, sizeof(V));
    wait(AT_WARP_BARRIER);
    V other;
    std::memcpy(&other, &warp()[from % warpSize], sizeof(V));
    wait(AT_WARP_BARRIER);  // nobody shows the next value before everybody has read this one
    return other;
}

static unsigned ballot(bool yes) {
    warp()[lane()] = yes;
    wait(AT_WARP_BARRIER);
    unsigned bits = 0, first = current / warpSize * warpSize;
    for (unsigned i = 0; i < warpSize && first + i < count; ++i)
        if (states[first + i] != DONE && warp()[i]) bits |= 1u << i;
    wait(AT_WARP_BARRIER);
    return bits;
}

static bool anybody(bool yes) {
    static bool said[most];
    said[current] = yes;
    wait(AT_BLOCK_BARRIER);
    bool any = false;
    for (unsigned i = 0; i < count; ++i) any |= states[i] != DONE && said[i];
    wait(AT_BLOCK_BARRIER);
    return any;
}

using Body = void (*)(void**);
static Body body;
static void** arguments;

// A fiber lives on from block to block and from launch to launch.
static void entry() {
    for (;;) {
        body(arguments);
        wait(DONE);
    }
}

__attribute__((noipa)) static void resume() {
    if (__builtin_setjmp(scheduler)) return;
    if (started[current]) jump(places[current]);
    started[current] = true;
    ucontext_t start;
    getcontext(&start);
    start.uc_stack.ss_sp = stacks[current];
    start.uc_stack.ss_size = sizeof(stacks[current]);
    start.uc_link = nullptr;
    makecontext(&start, entry, 0);
    setcontext(&start);
}

// Where all threads of [first, last) that are not done wait at `barrier`, they go on.
static bool release(unsigned first, unsigned last, State barrier) {
    bool any = false;
    for (unsigned i = first; i < last; ++i) {
        if (states[i] == DONE) continue;
        if (states[i] != barrier) return false;
        any = true;
    }
    for (unsigned i = first; any && i < last; ++i)
        if (states[i] == barrier) states[i] = RUNS;
    return any;
}

// Until its threads are done or wait for other warps.
static void run_warp(unsigned first, unsigned last, bool descending) {
    do {
        for (unsigned k = first; k < last; ++k) {
            current = descending ? first + last - 1 - k : k;
            if (states[current] == RUNS) {
                threadIdx = indices[current];
                resume();
            }
        }
    } while (release(first, last, AT_WARP_BARRIER));
}

// Warp by warp: what two warps do between barriers of the block has the other order, too.
static bool run_block(bool descending) {
    std::memset(__start_shared_memory, 0xA5, __stop_shared_memory - __start_shared_memory);
    std::memset(states, RUNS, count);
    unsigned warps = (count + warpSize - 1) / warpSize;
    do {
        for (unsigned k = 0; k < warps; ++k) {
            unsigned first = (descending ? warps - 1 - k : k) * warpSize;
            run_warp(first, first + warpSize < count ? first + warpSize : count, descending);
        }
    } while (release(0, count, AT_BLOCK_BARRIER));
    for (unsigned i = 0; i < count; ++i)
        if (states[i] != DONE) return false;  // threads wait at different barriers for ever
    return true;
}

static int run(Body kernel, void** given, dim3 grid, dim3 block, bool descending) {
    body = kernel;
    arguments = given;
    gridDim = grid;
    blockDim = block;
    count = block.x * block.y * block.z;
    for (unsigned i = 0; i < count; ++i)
        indices[i] = {i % block.x, i / block.x % block.y, i / block.x / block.y};
    unsigned blocks = grid.x * grid.y * grid.z;
    for (unsigned k = 0; k < blocks; ++k) {
        unsigned b = descending ? blocks - 1 - k : k;
        blockIdx = {b % grid.x, b / grid.x % grid.y, b / grid.x / grid.y};
        if (!run_block(descending)) {
            std::memset(started, false, count);  // their fibers would wait on
            return 1;
        }
    }
    return 0;
}

template <typename... A, std::size_t... I>
static void call(void (*f)(A...), void** a, std::index_sequence<I...>) {
    f(*static_cast<std::decay_t<A>*>(a[I])...);
}

template <typename... A>
static void call(void (*f)(A...), void** a) {
    call(f, a, std::index_sequence_for<A...>{});
}

// The sizes of a kernel's parameters: the caller holds its arguments against them.
template <typename... A>
static int sizes(void (*)(A...), int* out) {
    int n = 0;
    ((out[n++] = std::is_pointer<A>::value ? -1 : int(sizeof(A))), ...);
    return n;
}

}  // namespace host

static inline void __syncthreads() { host::wait(host::AT_BLOCK_BARRIER); }
static inline int __syncthreads_or(int yes) { return host::anybody(yes); }
static inline void __syncwarp(unsigned = ~0u) { host::wait(host::AT_WARP_BARRIER); }
template <typename V>
static V __shfl_sync(unsigned, V value, int from) {
    return host::exchange(value, from);
}
template <typename V>
static V __shfl_xor_sync(unsigned, V value, int mask) {
    return host::exchange(value, host::lane() ^ mask);
}
template <typename V>
static V __shfl_down_sync(unsigned, V value, unsigned delta) {
    unsigned from = host::lane() + delta;
    return host::exchange(value, from < warpSize ? from : host::lane());
}
static inline unsigned __ballot_sync(unsigned, bool yes) { return host::ballot(yes); }
static inline int __popc(unsigned x) { return __builtin_popcount(x); }
static inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
static inline unsigned __dp4a(unsigned a, unsigned b, unsigned c) {
    for (int i = 0; i < 32; i += 8) c += (a >> i & 255u) * (b >> i & 255u);
    return c;
}
static inline unsigned __float_as_uint(float x) {
    unsigned bits;
    std::memcpy(&bits, &x, 4);
    return bits;
}
static inline float __uint_as_float(unsigned bits) {
    float x;
    std::memcpy(&x, &bits, 4);
    return x;
}
template <typename V>
static V __ldg(const V* at) {
    return *at;
}
template <typename V>
static V min(V a, V b) {
    return b < a ? b : a;
}
template <typename V>
static V max(V a, V b) {
    return a < b ? b : a;
}
