// rms_norm: RMSNorm of rows picked from the residual stream.
//   x     f32  [·, H]   H % 8 == 0, H ≤ 16384
//   w     bf16 [H]
//   rows  i32  [R]      which rows of x; null: 0, 1, 2, …
//   y     bf16 [R, H]   y[r] = x[rows[r]] / √(mean(x²) + ε) · w
// The residual is added by the matrix product before it (beta = 1).
// Math:    fp32; arXiv:1910.07467
// Launch:  a block per row. A row is read once and kept in registers.
// Limit:   6·R·H bytes of memory traffic
// Checked: TestRMSNorm against ref.RMSNorm
struct NormArgs {
  const float* x;
  const bf16* w;
  const int* rows;
  bf16* y;
  int hidden;
  float eps;
  int early, pad; // the kernel behind may begin at once: it waits before it reads but weights
};

// PER is the vectors of eight that a thread holds at most: hidden ≤ 8·256·PER.
template <int PER>
__device__ __forceinline__ void norm(const NormArgs& a) {
  __shared__ float scratch[8];
  Vec4 w[PER], x[PER][2];
  int vectors = a.hidden / 8, r = blockIdx.x;
#pragma unroll
  for (int i = 0; i < PER; i++) { // weights come from nobody's kernel
    int v = threadIdx.x + i * blockDim.x;
    if (v < vectors) w[i] = load16(a.w + v * 8);
  }
  if (a.early) let_next_start();
  wait_for_previous();
  if (!a.early) let_next_start();
  const float* row = a.x + (size_t)(a.rows ? a.rows[r] : r) * a.hidden;
  float sum = 0.f, f[8], g[8];
#pragma unroll
  for (int i = 0; i < PER; i++) {
    int v = threadIdx.x + i * blockDim.x;
    if (v < vectors) x[i][0] = load16(row + v * 8), x[i][1] = load16(row + v * 8 + 4);
  }
#pragma unroll
  for (int i = 0; i < PER; i++) {
    if ((int)(threadIdx.x + i * blockDim.x) >= vectors) continue;
    floats8(x[i][0], x[i][1], f);
#pragma unroll
    for (int j = 0; j < 8; j++) sum += f[j] * f[j];
  }
  float scale = rsqrtf(block_sum(sum, scratch) / a.hidden + a.eps);
  bf16* out = a.y + (size_t)r * a.hidden;
#pragma unroll
  for (int i = 0; i < PER; i++) {
    int v = threadIdx.x + i * blockDim.x;
    if (v >= vectors) continue;
    floats8(x[i][0], x[i][1], f);
    unpack(w[i], g);
#pragma unroll
    for (int j = 0; j < 8; j++) f[j] = f[j] * scale * g[j];
    store16(out + v * 8, pack8(f));
  }
}

extern "C" __global__ void __launch_bounds__(256) rms_norm(const __grid_constant__ NormArgs a) { norm<1>(a); }
extern "C" __global__ void __launch_bounds__(256) rms_norm_some(const __grid_constant__ NormArgs a) { norm<3>(a); }
extern "C" __global__ void __launch_bounds__(256) rms_norm_wide(const __grid_constant__ NormArgs a) { norm<8>(a); }

// rms_norm_heads, rms_norm_groups, rms_norm_groups_wide: RMSNorm of every `group`
// columns of rows, in place or not.
//   x, y  View [R, groups·group], group % 8 == 0; up to 256, 2048, 16384
//   w     bf16 [group], or (every) [groups·group]
// Math:    fp32
// Launch:  rms_norm_heads: a warp per group, 8 a block; else a block per group
// Limit:   memory traffic: x read and y written
// Checked: TestGroupNorm against ref.RMSNorm
struct GroupNormArgs {
  View x, y;
  const bf16* w;
  int rows, groups, group, every;
  float eps;
};

// TEAM threads have a group, each PER vectors of it at most.
template <int TEAM, int PER>
__device__ __forceinline__ void group_norm(const GroupNormArgs& a) {
  __shared__ float scratch[8];
  size_t which = (size_t)blockIdx.x * (256 / TEAM) + threadIdx.x / TEAM;
  int thread = threadIdx.x % TEAM, vectors = a.group / 8;
  size_t row = which / a.groups;
  int at = (int)(which % a.groups) * a.group;
  wait_for_previous();
  let_next_start();
  if (row >= (size_t)a.rows) return; // whole teams
  float f[PER][8], sum = 0.f;
#pragma unroll
  for (int i = 0; i < PER; i++) {
    int v = thread + i * TEAM;
    if (v >= vectors) continue;
    load8(a.x, row, at + v * 8, 8, f[i]);
#pragma unroll
    for (int j = 0; j < 8; j++) sum += f[i][j] * f[i][j];
  }
  sum = TEAM == WARP ? warp_sum(sum) : block_sum(sum, scratch);
  float scale = rsqrtf(sum / a.group + a.eps), w[8];
#pragma unroll
  for (int i = 0; i < PER; i++) {
    int v = thread + i * TEAM;
    if (v >= vectors) continue;
    weights8(a.w + (a.every ? at : 0) + v * 8, 8, w);
#pragma unroll
    for (int j = 0; j < 8; j++) f[i][j] *= scale * w[j];
    store8(a.y, row, at + v * 8, 8, f[i]);
  }
}

extern "C" __global__ void __launch_bounds__(256) rms_norm_heads(const __grid_constant__ GroupNormArgs a) { group_norm<WARP, 1>(a); }
extern "C" __global__ void __launch_bounds__(256) rms_norm_groups(const __grid_constant__ GroupNormArgs a) { group_norm<256, 1>(a); }
extern "C" __global__ void __launch_bounds__(256) rms_norm_groups_wide(const __grid_constant__ GroupNormArgs a) { group_norm<256, 8>(a); }
