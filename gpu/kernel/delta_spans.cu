// delta_spans: the gated delta rule, as delta.cu has it, over the new tokens of
// requests, in chunks of 32 (arXiv:2406.06484, 2412.06464).
//   spans  Span [rows]   whose tokens
// Within a chunk, with γ the sum of logarithms of decays up to and with a token, S
// what was before the chunk, and k and q of length 1 and 1/√K:
//   x_i = σ(b_i)·(v_i − e^γi·Sᵀk_i − Σ_j<i e^(γi−γj)·(k_i·k_j)·x_j)
//   y_i = e^γi·Sᵀq_i + Σ_j≤i e^(γi−γj)·(q_i·k_j)·x_j
//   S   = e^γ·S + Σ_j e^(γ−γj)·k_j ⊗ x_j        γ the chunk's last
// Math:    products of bf16 with fp32 sums; S, and what is solved for x, in fp32
//
// A block has 64 columns of one head's state, all its rows, in registers as sums
// of products, from the first token to the last; for products with k and q it is
// in shared memory, too, rounded. Warps 0 and 1 have the keys' rows of the first
// products and solve for x, a column a thread; 2 and 3 have the queries' and make y.
// Chunks of 16 bytes in shared memory are permuted by the row's last 3 bits.
//
// Launch:  (heads·⌈V/64⌉, rows) of 128
// Limit:   of prompts, moving k, q, v and y
// Checked: TestDelta against ref.Delta
#define CHUNK 32
#define KEYS 128 // of a head, zero beyond key_dim
#define SLICE 64

struct Memory {
  bf16 rows[2 * CHUNK][KEYS]; // keys, then queries
  bf16 held[KEYS][SLICE];     // S
  bf16 moves[2][CHUNK][SLICE]; // x, and x·e^(γ−γj)
  bf16 look[CHUNK][CHUNK];    // of y_i at x_j
  float solve[CHUNK][CHUNK];  // of x_i at x_j, below the diagonal
  float wants[CHUNK][SLICE + 4]; // v, then x without what the chunk adds
  float beta[CHUNK], sum[CHUNK], before[CHUNK], behind[CHUNK]; // σ(b), γ, e^γ, e^(γ of the last − γ)
};
static_assert(sizeof(Memory) == DELTA_MEMORY, "size");

__device__ __forceinline__ u32 place(u32 base, int row, int row_bytes, int chunk) { return base + row * row_bytes + ((chunk ^ (row & 7)) * 16); }
// Rows of four chunks.
__device__ __forceinline__ u32 place4(u32 base, int row, int chunk) { return base + row * 64 + ((chunk ^ (row / 2 & 3)) * 16); }

__device__ __forceinline__ void store_shared16(u32 to, Vec4 v) {
  asm volatile("st.shared.v4.u32 [%0], {%1,%2,%3,%4};" ::"r"(to), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w) : "memory");
}
__device__ __forceinline__ void store_shared4(u32 to, u32 v) { asm volatile("st.shared.u32 [%0], %1;" ::"r"(to), "r"(v) : "memory"); }

// load_chunk brings n tokens from t on: keys and queries, scaled, values, and what
// follows from a and b.
__device__ __forceinline__ void load_chunk(const DeltaArgs& a, Memory& m, int t, int n, int head, int first_column, float decay, float step) {
  int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, part = threadIdx.x % 8;
  u32 rows = shared_address(m.rows);
  int key_column = head / (a.heads / a.key_heads) * a.key_dim;
#pragma unroll
  for (int pass = 0; pass < 4; pass++) { // keys twice, then queries, 16 tokens at a time
    int token = pass % 2 * 16 + (int)threadIdx.x / 8;
    const View& from = pass < 2 ? a.key : a.query;
    float f[16], sum = 0.f;
#pragma unroll
    for (int i = 0; i < 2; i++) {
      int column = i * 64 + part * 8;
      load8(from, t + (token < n ? token : 0), key_column + column, token < n ? a.key_dim - column : 0, f + i * 8);
    }
#pragma unroll
    for (int i = 0; i < 16; i++) sum += f[i] * f[i];
#pragma unroll
    for (int d = 1; d < 8; d *= 2) sum += __shfl_xor_sync(FULL, sum, d);
    float scale = rsqrtf((sum + 1e-6f) * (pass < 2 ? 1.f : (float)a.key_dim));
#pragma unroll
    for (int i = 0; i < 16; i++) f[i] *= scale;
    int row = pass / 2 * CHUNK + token;
    store_shared16(place(rows, row, KEYS * 2, part), pack8(f));
    store_shared16(place(rows, row, KEYS * 2, 8 + part), pack8(f + 8));
  }
#pragma unroll
  for (int i = 0; i < 2; i++) {
    int token = i * 16 + (int)threadIdx.x / 8, column = first_column + part * 8;
    float f[8];
    load8(a.value, t + (token < n ? token : 0), head * a.value_dim + column, token < n ? a.value_dim - column : 0, f);
#pragma unroll
    for (int j = 0; j < 8; j++) m.wants[token][part * 8 + j] = f[j];
  }
  if (warp == 0) { // a token a lane
    bool there = lane < n;
    float log = there ? log_decay(load1(a.a, t + lane, head) + step, decay) : 0.f;
#pragma unroll
    for (int d = 1; d < WARP; d *= 2) {
      float other = __shfl_up_sync(FULL, log, d);
      if (lane >= d) log += other;
    }
    float last = __shfl_sync(FULL, log, WARP - 1);
    m.beta[lane] = there ? sigmoid(load1(a.b, t + lane, head)) : 0.f;
    m.sum[lane] = log, m.before[lane] = expf(log), m.behind[lane] = expf(last - log);
  }
}

// fetch_ahead brings rows of n tokens to the cache that all share: what warps 2 and 3
// do while the others solve.
__device__ __forceinline__ void fetch_ahead(const View& v, int t, int n, int column, int width) {
  int size = v.half ? 2 : 4, lines = (width * size + 127) / 128;
#pragma unroll 1
  for (int i = threadIdx.x - 64; i < n * lines; i += 64)
    asm volatile("prefetch.global.L2 [%0];" ::"l"(v.at + ((size_t)(t + i / lines) * v.stride + column) * size + i % lines * 128));
}

// Products of 16 rows in shared memory, of 256 bytes each, with S or with keys.
__device__ __forceinline__ void look_back(const Memory& m, int row, float (&c)[8][4], float (&p)[4][4]) {
  int lane = threadIdx.x % WARP;
  u32 rows = shared_address(m.rows), held = shared_address(m.held);
#pragma unroll 2
  for (int k = 0; k < KEYS / 16; k++) {
    u32 a[4], b[4];
    load_matrices(a, place(rows, row + lane % 16, KEYS * 2, k * 2 + lane / 16));
#pragma unroll
    for (int n = 0; n < SLICE / 16; n++) {
      load_matrices_transposed(b, place(held, k * 16 + lane % 16, SLICE * 2, n * 2 + lane / 16));
      multiply_add(c[n * 2], a, b[0], b[1]);
      multiply_add(c[n * 2 + 1], a, b[2], b[3]);
    }
#pragma unroll
    for (int n = 0; n < CHUNK / 16; n++) {
      load_matrices(b, place(rows, n * 16 + lane / 16 * 8 + lane % 8, KEYS * 2, k * 2 + lane / 8 % 2));
      multiply_add(p[n * 2], a, b[0], b[1]);
      multiply_add(p[n * 2 + 1], a, b[2], b[3]);
    }
  }
}

// solve finds x of a column, and leaves it, rounded, where products read it.
__device__ __forceinline__ void solve(Memory& m, int column) {
  float x[CHUNK];
  u32 moves = shared_address(m.moves);
#pragma unroll
  for (int i = 0; i < CHUNK; i++) {
    float v = m.wants[i][column], w = 0.f;
#pragma unroll
    for (int j = 0; j < i; j++) {
      if (j % 2 == 0) {
        v -= m.solve[i][j] * x[j];
      } else {
        w += m.solve[i][j] * x[j];
      }
    }
    x[i] = v - w;
  }
#pragma unroll
  for (int i = 0; i < CHUNK; i++) {
    u32 at = place(moves, i, SLICE * 2, column / 8) + column % 8 * 2;
    asm volatile("st.shared.u16 [%0], %1;" ::"r"(at), "h"(to_bf16(x[i])) : "memory");
    asm volatile("st.shared.u16 [%0], %1;" ::"r"(at + CHUNK * SLICE * 2), "h"(to_bf16(x[i] * m.behind[i])) : "memory");
  }
}

// State is S as multiply_add has it: a warp has 32 rows, in two times 16.
typedef float State[2][8][4];

// each calls f for every two neighbours of a thread's: where they are, and which.
template <typename F>
__device__ __forceinline__ void each(State& S, F f) {
  int lane = threadIdx.x % WARP, first = threadIdx.x / WARP * 32;
#pragma unroll
  for (int i = 0; i < 2; i++)
#pragma unroll
    for (int n = 0; n < 8; n++)
#pragma unroll
      for (int h = 0; h < 2; h++) f(first + i * 16 + lane / 4 + h * 8, n * 8 + lane % 4 * 2, S[i][n][h * 2], S[i][n][h * 2 + 1]);
}

extern "C" __global__ void __launch_bounds__(128, 3) delta_spans(const __grid_constant__ DeltaArgs a) {
  extern __shared__ __align__(128) u8 memory[];
  Memory& m = *(Memory*)memory;
  int slices = (a.value_dim + SLICE - 1) / SLICE, head = blockIdx.x / slices, first_column = (int)(blockIdx.x % slices) * SLICE;
  int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, row = lane / 4, pair = lane % 4 * 2;
  float decay = expf(a.decay[head]), step = a.step_bias[head];
  wait_for_previous();
  Span s = a.spans[blockIdx.y];
  let_next_start();
  u32 held = shared_address(m.held);
  State S;
  float* state = a.of(s.slot, head) + first_column;
  each(S, [&](int k, int v, float& x, float& y) {
    bool there = s.start > 0 && k < a.key_dim && first_column + v < a.value_dim;
    float2 f = there ? *(const float2*)(state + (size_t)k * a.value_dim + v) : make_float2(0.f, 0.f);
    x = f.x, y = f.y;
  });
  for (int done = 0; done < s.count; done += CHUNK) {
    int n = min(CHUNK, s.count - done), t = s.first + done;
    load_chunk(a, m, t, n, head, first_column, decay, step);
    each(S, [&](int k, int v, float& x, float& y) { store_shared4(place(held, k, SLICE * 2, v / 8) + v % 8 * 2, pack(x, y)); });
    __syncthreads();
    float c[8][4] = {}, p[4][4] = {};
    look_back(m, warp * 16, c, p);
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
      for (int h = 0; h < 2; h++) {
        int at = warp % 2 * 16 + row + h * 8, j = i * 8 + pair;
        float here = m.sum[at], x = expf(min(0.f, here - m.sum[j])) * p[i][h * 2], y = expf(min(0.f, here - m.sum[j + 1])) * p[i][h * 2 + 1];
        if (warp < 2) {
          float beta = m.beta[at];
          m.solve[at][j] = beta * x, m.solve[at][j + 1] = beta * y; // read below the diagonal alone
        } else {
          store_shared4(place4(shared_address(m.look), at, j / 8) + j % 8 * 2, pack(j <= at ? x : 0.f, j + 1 <= at ? y : 0.f));
        }
      }
    if (warp < 2) {
#pragma unroll
      for (int i = 0; i < 8; i++)
#pragma unroll
        for (int h = 0; h < 4; h++) {
          int at = warp * 16 + row + h / 2 * 8;
          float& w = m.wants[at][i * 8 + pair + h % 2];
          w = m.beta[at] * (w - m.before[at] * c[i][h]);
        }
    }
    __syncthreads();
    if (warp < 2) {
      solve(m, threadIdx.x);
    } else if (int more = min(CHUNK, s.count - done - CHUNK); more > 0) {
      int key_column = head / (a.heads / a.key_heads) * a.key_dim;
#pragma unroll 1
      for (int i = 0; i < 2; i++) fetch_ahead(i ? a.key : a.query, t + CHUNK, more, key_column, a.key_dim);
    }
    __syncthreads();
    u32 moves = shared_address(m.moves), rows = shared_address(m.rows), b[4];
    if (warp >= 2) {
      int first = (warp - 2) * 16;
#pragma unroll
      for (int i = 0; i < 8; i++)
#pragma unroll
        for (int h = 0; h < 4; h++) c[i][h] *= m.before[first + row + h / 2 * 8];
#pragma unroll
      for (int k = 0; k < CHUNK / 16; k++) {
        u32 at[4];
        load_matrices(at, place4(shared_address(m.look), first + lane % 16, k * 2 + lane / 16));
#pragma unroll
        for (int i = 0; i < SLICE / 16; i++) {
          load_matrices_transposed(b, place(moves, k * 16 + lane % 16, SLICE * 2, i * 2 + lane / 16));
          multiply_add(c[i * 2], at, b[0], b[1]);
          multiply_add(c[i * 2 + 1], at, b[2], b[3]);
        }
      }
#pragma unroll
      for (int i = 0; i < 8; i++)
#pragma unroll
        for (int h = 0; h < 4; h++) {
          int token = first + row + h / 2 * 8, column = first_column + i * 8 + pair + h % 2;
          if (token < n && column < a.value_dim) store1(a.y, t + token, head * a.value_dim + column, c[i][h]);
        }
    }
    float keeps = m.before[CHUNK - 1];
    each(S, [&](int, int, float& x, float& y) { x *= keeps, y *= keeps; });
#pragma unroll
    for (int k = 0; k < CHUNK / 16; k++)
#pragma unroll
      for (int i = 0; i < 2; i++) {
        u32 at[4];
        load_matrices_transposed(at, place(rows, k * 16 + lane / 16 * 8 + lane % 8, KEYS * 2, warp * 4 + i * 2 + lane / 8 % 2));
#pragma unroll
        for (int j = 0; j < SLICE / 16; j++) {
          load_matrices_transposed(b, place(moves + CHUNK * SLICE * 2, k * 16 + lane % 16, SLICE * 2, j * 2 + lane / 16));
          multiply_add(S[i][j * 2], at, b[0], b[1]);
          multiply_add(S[i][j * 2 + 1], at, b[2], b[3]);
        }
      }
    __syncthreads();
  }
  each(S, [&](int k, int v, float& x, float& y) {
    if (k < a.key_dim && first_column + v < a.value_dim) *(float2*)(state + (size_t)k * a.value_dim + v) = make_float2(x, y);
  });
}
