// moe_combine: adds what a token's experts made of it to the residual stream.
//   x      f32  [T, H]   H % 4 == 0
//   y      bf16 [N, H], an entry's row; shares are in it
//   place  i32  [T, k]   which entries are a token's; negative: none
//   x[t] += Σ_j y[place[t, j]]
// Math:    fp32, in the order of j
// Launch:  (⌈H/512⌉, T) blocks of 128
// Limit:   (2k + 8)·T·H bytes of memory traffic
// Checked: TestCombine
struct CombineArgs {
  float* x;
  const bf16* y;
  const int* place;
  int hidden, chosen;
};

extern "C" __global__ void __launch_bounds__(128) moe_combine(const __grid_constant__ CombineArgs a) {
  int column = (blockIdx.x * 128 + threadIdx.x) * 4;
  wait_for_previous();
  let_next_start();
  if (column >= a.hidden) return;
  Vec4* to = (Vec4*)(a.x + (size_t)blockIdx.y * a.hidden + column);
  const int* place = a.place + (size_t)blockIdx.y * a.chosen;
  Vec4 x = *to;
  float sum[4] = {};
#pragma unroll 8
  for (int j = 0; j < a.chosen; j++) {
    int entry = place[j];
    if (entry < 0) continue;
    const u32* p = (const u32*)(a.y + (size_t)entry * a.hidden + column);
    u32 v = p[0], w = p[1];
    sum[0] += low(v), sum[1] += high(v), sum[2] += low(w), sum[3] += high(w);
  }
  x.x = __float_as_uint(__uint_as_float(x.x) + sum[0]), x.y = __float_as_uint(__uint_as_float(x.y) + sum[1]);
  x.z = __float_as_uint(__uint_as_float(x.z) + sum[2]), x.w = __float_as_uint(__uint_as_float(x.w) + sum[3]);
  *to = x;
}
