// moe_combine: sums what a token's experts made of it, or adds that to the
// residual stream.
//   x      f32  [T, H]   H % 4 == 0
//   y      bf16 [N, H], an entry's row
//   share  f32  [T, k]   what each counts; null: shares are in the rows
//   place  i32  [T, k]   which entries are a token's; negative: none
//   x[t] = Σ_j share[t, j]·y[place[t, j]], with add x[t] more
// Math:    fp32, in the order of j
// Launch:  (⌈H/512⌉, T) blocks of 128
// Limit:   (2k + 8)·T·H bytes of memory traffic
// Checked: TestCombine
struct CombineArgs {
  float* x;
  const bf16* y;
  const float* share;
  const int* place;
  int hidden, chosen, add;
};

extern "C" __global__ void __launch_bounds__(128) moe_combine(const __grid_constant__ CombineArgs a) {
  int column = (blockIdx.x * 128 + threadIdx.x) * 4;
  wait_for_previous();
  let_next_start();
  if (column >= a.hidden) return;
  Vec4* to = (Vec4*)(a.x + (size_t)blockIdx.y * a.hidden + column);
  const int* place = a.place + (size_t)blockIdx.y * a.chosen;
  Vec4 x = {};
  if (a.add) x = *to;
  float sum[4] = {};
#pragma unroll 8
  for (int j = 0; j < a.chosen; j++) {
    int entry = place[j];
    if (entry < 0) continue;
    const u32* p = (const u32*)(a.y + (size_t)entry * a.hidden + column);
    u32 v = p[0], w = p[1];
    float share = a.share ? a.share[(size_t)blockIdx.y * a.chosen + j] : 1.f;
    sum[0] += share * low(v), sum[1] += share * high(v), sum[2] += share * low(w), sum[3] += share * high(w);
  }
  x.x = __float_as_uint(__uint_as_float(x.x) + sum[0]), x.y = __float_as_uint(__uint_as_float(x.y) + sum[1]);
  x.z = __float_as_uint(__uint_as_float(x.z) + sum[2]), x.w = __float_as_uint(__uint_as_float(x.w) + sum[3]);
  *to = x;
}
