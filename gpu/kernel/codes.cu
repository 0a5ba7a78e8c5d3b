// norm_codes, silu_codes, code_rows: what the products of FP8 read, quantised where
// it is made.
//   norm_codes  y = rms_norm(x) of rows, as rms_norm has it (norm.cu), with what was
//               not yet added to x: x += sums·row_scales·column_scales first
//     x          f32  [R, H]   H % 128 == 0, H ≤ 16384; with sums written, too
//     w          bf16 [H]
//     sums       bf16 [R, H]   a product's without its scales; null: none
//     row_scales f32  [R], column_scales f32 [H]
//     y          Codes [R, H], or (rounded) bf16 [R, H] at the same place
//   silu_codes  y = silu(gate)·up
//     gate_up    bf16 [R, 2I]  gates, then ups; I % 8 == 0, I ≤ 32768
//     row_scales f32  [R], column_scales f32 [2I]  what they are multiplied by first;
//                              null: nothing
//     y          Codes [R, I]
//   code_rows   y Codes [R, W] of x View [R, W], W % 8 == 0, W ≤ 32768
// Math:    fp32
// Launch:  a block per row, or for several of silu_codes, which reads the next while it adds up one;
//          of as many whole warps as a row has vectors for
// Limit:   memory traffic: what is read and written
// Checked: TestNormCodes, TestSiluCodes, TestCodeRows
struct NormCodesArgs {
  float* x;
  const bf16* w;
  const bf16* sums;
  const float* row_scales;
  const float* column_scales;
  Codes y;
  int hidden, rounded;
  float eps;
};
struct SiluCodesArgs {
  const bf16* gate_up;
  const float* row_scales;
  const float* column_scales;
  Codes y;
  int intermediate, rows;
};
struct CodeRowsArgs {
  View x;
  Codes y;
  int width;
};

template <int PER>
__device__ __forceinline__ void norm_codes(const NormCodesArgs& a) {
  __shared__ float scratch[WARP];
  int vectors = a.hidden / 8, r = blockIdx.x;
  Vec4 w[PER], by_column[PER][2], x[PER][2], sums[PER];
#pragma unroll
  for (int i = 0; i < PER; i++) { // weights and their scales come from nobody's kernel
    int v = threadIdx.x + i * blockDim.x;
    if (v >= vectors) continue;
    w[i] = load16(a.w + v * 8);
    if (a.sums) by_column[i][0] = load16(a.column_scales + v * 8), by_column[i][1] = load16(a.column_scales + v * 8 + 4);
  }
  wait_for_previous();
  let_next_start();
  float* row = a.x + (size_t)r * a.hidden;
  float f[PER][8], g[8], sum = 0.f, by = a.sums ? a.row_scales[r] : 0.f;
#pragma unroll
  for (int i = 0; i < PER; i++) {
    int v = threadIdx.x + i * blockDim.x;
    if (v >= vectors) continue;
    x[i][0] = load16(row + v * 8), x[i][1] = load16(row + v * 8 + 4);
    if (a.sums) sums[i] = load16(a.sums + (size_t)r * a.hidden + v * 8);
  }
#pragma unroll
  for (int i = 0; i < PER; i++) {
    int v = threadIdx.x + i * blockDim.x;
    if (v >= vectors) continue;
    floats8(x[i][0], x[i][1], f[i]);
    if (a.sums) {
      float scale[8];
      unpack(sums[i], g);
      floats8(by_column[i][0], by_column[i][1], scale);
#pragma unroll
      for (int j = 0; j < 8; j++) f[i][j] += g[j] * (by * scale[j]);
      store16(row + v * 8, {__float_as_uint(f[i][0]), __float_as_uint(f[i][1]), __float_as_uint(f[i][2]), __float_as_uint(f[i][3])});
      store16(row + v * 8 + 4, {__float_as_uint(f[i][4]), __float_as_uint(f[i][5]), __float_as_uint(f[i][6]), __float_as_uint(f[i][7])});
    }
#pragma unroll
    for (int j = 0; j < 8; j++) sum += f[i][j] * f[i][j];
  }
  float scale = rsqrtf(block_sum(sum, scratch) / a.hidden + a.eps);
#pragma unroll
  for (int i = 0; i < PER; i++) {
    int v = threadIdx.x + i * blockDim.x;
    if (v >= vectors) continue;
    unpack(w[i], g);
#pragma unroll
    for (int j = 0; j < 8; j++) f[i][j] *= scale * g[j];
    if (a.rounded) store16((bf16*)a.y.at + (size_t)r * a.hidden + v * 8, pack8(f[i]));
  }
  if (!a.rounded) code_row<PER>(a.y, r, vectors, f, scratch);
}

extern "C" __global__ void __launch_bounds__(256) norm_codes_1(const __grid_constant__ NormCodesArgs a) { norm_codes<1>(a); }
extern "C" __global__ void __launch_bounds__(1024) norm_codes_2(const __grid_constant__ NormCodesArgs a) { norm_codes<2>(a); }

// load_once is load16 of what is not read again, past L1, which column scales stay in.
__device__ __forceinline__ Vec4 load_once(const void* p) {
  Vec4 v;
  asm volatile("ld.global.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(p) : "memory");
  return v;
}

template <int PER>
__device__ __forceinline__ void silu_codes(const SiluCodesArgs& a) {
  __shared__ float scratch[2][WARP];
  int vectors = a.intermediate / 8;
  wait_for_previous();
  let_next_start();
  float f[PER][8], u[8];
#if __CUDA_ARCH__ >= 900
  constexpr bool AHEAD = PER < 4; // there are registers for all that is read
#else
  constexpr bool AHEAD = PER < 3;
#endif
  Vec4 gates[PER], ups[PER];
  auto load = [&](int r, int i) {
    int v = threadIdx.x + i * blockDim.x;
    const bf16* row = a.gate_up + (size_t)r * 2 * a.intermediate;
    if (v < vectors) gates[i] = load_once(row + v * 8), ups[i] = load_once(row + a.intermediate + v * 8);
  };
  float by;
  auto load_row = [&](int r) {
    by = a.row_scales ? a.row_scales[r] : 1.f;
#pragma unroll
    for (int i = 0; AHEAD && i < PER; i++) load(r, i);
  };
  load_row(blockIdx.x);
  for (int r = blockIdx.x, turn = 0; r < a.rows; r += (int)gridDim.x, turn ^= 1) {
#pragma unroll
    for (int i = 0; i < PER; i++) {
      int v = threadIdx.x + i * blockDim.x;
      if (v >= vectors) continue;
      if (!AHEAD) load(r, i);
      unpack(gates[i], f[i]);
      unpack(ups[i], u);
      if (a.row_scales) {
        const float* scales = a.column_scales + v * 8;
        float s[8];
        floats8(load16(scales), load16(scales + 4), s);
#pragma unroll
        for (int j = 0; j < 8; j++) f[i][j] *= by * s[j];
        floats8(load16(scales + a.intermediate), load16(scales + a.intermediate + 4), s);
#pragma unroll
        for (int j = 0; j < 8; j++) u[j] *= by * s[j];
      }
#pragma unroll
      for (int j = 0; j < 8; j++) f[i][j] = __fdividef(f[i][j], 1.f + exp2_fast(-LOG2E * f[i][j])) * u[j];
    }
    if (r + (int)gridDim.x < a.rows) load_row(r + gridDim.x);
    code_row<PER>(a.y, r, vectors, f, scratch[turn]);
  }
}

extern "C" __global__ void __launch_bounds__(1024) silu_codes_1(const __grid_constant__ SiluCodesArgs a) { silu_codes<1>(a); }
extern "C" __global__ void __launch_bounds__(768) silu_codes_3(const __grid_constant__ SiluCodesArgs a) { silu_codes<3>(a); }
extern "C" __global__ void __launch_bounds__(1024) silu_codes_4(const __grid_constant__ SiluCodesArgs a) {
#if __CUDA_ARCH__ >= 900
  silu_codes<4>(a);
#else
  __trap(); // codes are held on Hopper alone, and before it this would spill
#endif
}

template <int PER>
__device__ __forceinline__ void code_rows(const CodeRowsArgs& a) {
  __shared__ float scratch[WARP];
  int vectors = a.width / 8, r = blockIdx.x;
  wait_for_previous();
  let_next_start();
  float f[PER][8];
#pragma unroll
  for (int i = 0; i < PER; i++) {
    int v = threadIdx.x + i * blockDim.x;
    if (v < vectors) load8(a.x, r, v * 8, 8, f[i]);
  }
  code_row<PER>(a.y, r, vectors, f, scratch);
}

extern "C" __global__ void __launch_bounds__(1024) code_rows_1(const __grid_constant__ CodeRowsArgs a) { code_rows<1>(a); }
extern "C" __global__ void __launch_bounds__(1024) code_rows_4(const __grid_constant__ CodeRowsArgs a) { code_rows<4>(a); }
