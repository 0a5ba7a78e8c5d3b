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
// Launch:  a block per row, of as many whole warps as it has vectors for
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
  int intermediate;
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
  Vec4 w[PER];
#pragma unroll
  for (int i = 0; i < PER; i++) { // weights come from nobody's kernel
    int v = threadIdx.x + i * blockDim.x;
    if (v < vectors) w[i] = load16(a.w + v * 8);
  }
  wait_for_previous();
  let_next_start();
  float* row = a.x + (size_t)r * a.hidden;
  float f[PER][8], g[8], sum = 0.f, by = a.sums ? a.row_scales[r] : 0.f;
#pragma unroll
  for (int i = 0; i < PER; i++) {
    int v = threadIdx.x + i * blockDim.x;
    if (v >= vectors) continue;
    floats8(load16(row + v * 8), load16(row + v * 8 + 4), f[i]);
    if (a.sums) {
      float scale[8];
      unpack(load16(a.sums + (size_t)r * a.hidden + v * 8), g);
      floats8(load16(a.column_scales + v * 8), load16(a.column_scales + v * 8 + 4), scale);
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

template <int PER>
__device__ __forceinline__ void silu_codes(const SiluCodesArgs& a) {
  __shared__ float scratch[WARP];
  int vectors = a.intermediate / 8, r = blockIdx.x;
  wait_for_previous();
  let_next_start();
  const bf16* row = a.gate_up + (size_t)r * 2 * a.intermediate;
  float f[PER][8], u[8], by = a.row_scales ? a.row_scales[r] : 1.f;
  constexpr bool AHEAD = PER < 4; // there are registers for all that is read
  Vec4 gates[PER], ups[PER];
  auto load = [&](int i, int v) { gates[i] = load16(row + v * 8), ups[i] = load16(row + a.intermediate + v * 8); };
#pragma unroll
  for (int i = 0; AHEAD && i < PER; i++) {
    int v = threadIdx.x + i * blockDim.x;
    if (v < vectors) load(i, v);
  }
#pragma unroll
  for (int i = 0; i < PER; i++) {
    int v = threadIdx.x + i * blockDim.x;
    if (v >= vectors) continue;
    if (!AHEAD) load(i, v);
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
    for (int j = 0; j < 8; j++) f[i][j] = f[i][j] * sigmoid(f[i][j]) * u[j];
  }
  code_row<PER>(a.y, r, vectors, f, scratch);
}

extern "C" __global__ void __launch_bounds__(1024) silu_codes_1(const __grid_constant__ SiluCodesArgs a) { silu_codes<1>(a); }
extern "C" __global__ void __launch_bounds__(768) silu_codes_3(const __grid_constant__ SiluCodesArgs a) { silu_codes<3>(a); }
extern "C" __global__ void __launch_bounds__(1024) silu_codes_4(const __grid_constant__ SiluCodesArgs a) { silu_codes<4>(a); }

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
