// fp8: numbers of E4M3 (sign, 4 bits of exponent, 3 of fraction, up to 448;
// arXiv:2209.05433), and rows that are quantised to it. It comes after common.cuh.
#define E4M3_MOST 448.f

#if __CUDA_ARCH__ < 890
// What processors before have no instruction for.
__device__ __forceinline__ u32 e4m3(float v) {
  u32 sign = __float_as_uint(v) >> 24 & 0x80;
  float a = fminf(fabsf(v), E4M3_MOST);
  if (a < 0.015625f) return sign | (u32)__float2int_rn(a * 512.f); // eighths of the smallest normal
  u32 bits = __float_as_uint(a);
  return sign | ((bits + 0x7ffff + (bits >> 20 & 1)) >> 20) - (120 << 3);
}
#endif

// pack_e4m3 rounds to nearest even, what is beyond to the most; a is at the lowest
// address.
__device__ __forceinline__ u32 pack_e4m3(float a, float b, float c, float d) {
#if __CUDA_ARCH__ >= 890
  u16 lo, hi;
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(lo) : "f"(b), "f"(a));
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(hi) : "f"(d), "f"(c));
  return (u32)lo | (u32)hi << 16;
#else
  return e4m3(a) | e4m3(b) << 8 | e4m3(c) << 16 | e4m3(d) << 24;
#endif
}

// widen makes four codes halves, exactly: lo those at the lower addresses.
__device__ __forceinline__ void widen(u32 codes, u32& lo, u32& hi) {
#if __CUDA_ARCH__ >= 890
  asm("{.reg .b16 a, b; mov.b32 {a, b}, %2; cvt.rn.f16x2.e4m3x2 %0, a; cvt.rn.f16x2.e4m3x2 %1, b;}" : "=r"(lo), "=r"(hi) : "r"(codes));
#else
  // A code's bits are those of a half in their place, but for the exponents' bias:
  // 15 for 7.
  auto half2 = [](u32 v) {
    u32 wide;
    asm("mul.rn.f16x2 %0, %1, %2;" : "=r"(wide) : "r"((v & 0x80008000u) | (v >> 1 & 0x3f803f80u)), "r"(0x5c005c00u)); // · 2⁸
    return wide;
  };
  lo = half2(__byte_perm(codes, 0, 0x1404)), hi = half2(__byte_perm(codes, 0, 0x3424));
#endif
}

// floats4 widens four codes.
__device__ __forceinline__ void floats4(u32 codes, float* f) {
  u32 lo, hi;
  widen(codes, lo, hi);
  asm("{.reg .b16 a, b; mov.b32 {a, b}, %2; cvt.f32.f16 %0, a; cvt.f32.f16 %1, b;}" : "=f"(f[0]), "=f"(f[1]) : "r"(lo));
  asm("{.reg .b16 a, b; mov.b32 {a, b}, %2; cvt.f32.f16 %0, a; cvt.f32.f16 %1, b;}" : "=f"(f[2]), "=f"(f[3]) : "r"(hi));
}

// halves rounds to nearest even; lo is at the lower address. What is beyond 65,504
// becomes that.
__device__ __forceinline__ u32 halves(float lo, float hi) {
  u32 r;
  asm("{cvt.rn.f16x2.f32 %0, %1, %2; min.f16x2 %0, %0, %3; max.f16x2 %0, %0, %4;}" : "=r"(r) : "f"(hi), "f"(lo), "r"(0x7bff7bffu), "r"(0xfbfffbffu));
  return r;
}

// multiply_add (common.cuh) of halves.
__device__ __forceinline__ void multiply_add_halves(float* c, const u32* a, u32 b0, u32 b1) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// A row's numbers are quantised by one scale, or every 128 by one: what is written
// times its scale is the number.
struct Codes {
  u8* at;        // [R, width]
  float* scales; // [R]; by groups [width/128, stride], a row's one behind another of the next row
  int stride;    // 0: a scale a row
};

__device__ __forceinline__ float scale_of(float most) { return fmaxf(most, 1e-20f) * (1.f / E4M3_MOST); }

// What is kept of a position for a head has a scale of its own, unless one is known: nothing
// has to be known beforehand, and the codes depend on nothing else. Attention takes values
// times their probability and VALUE_UNIT for halves, so that there is a most.
#define VALUE_UNIT 256.f
__device__ __forceinline__ float cache_scale(float most, float known) { return fminf(known > 0.f ? known : scale_of(most), 65504.f / VALUE_UNIT / 2); }

__device__ __forceinline__ void store_codes(u8* to, const float* f, float by) {
  u32 lo = pack_e4m3(f[0] * by, f[1] * by, f[2] * by, f[3] * by), hi = pack_e4m3(f[4] * by, f[5] * by, f[6] * by, f[7] * by);
  asm volatile("st.global.v2.u32 [%0], {%1,%2};" ::"l"(to), "r"(lo), "r"(hi) : "memory");
}

__device__ __forceinline__ float block_max(float v, float* scratch) {
  v = warp_max(v);
  int warps = blockDim.x / WARP;
  if (threadIdx.x % WARP == 0) scratch[threadIdx.x / WARP] = v;
  __syncthreads();
  return warp_max((int)(threadIdx.x % WARP) < warps ? scratch[threadIdx.x % WARP] : 0.f);
}

// code_row quantises a row that a block of whole warps has: of its vectors of
// eight, PER a thread at most, every blockDim.x-th. By groups there are whole ones.
template <int PER>
__device__ __forceinline__ void code_row(const Codes& to, int row, int vectors, const float (&f)[PER][8], float* scratch) {
  float top[PER], most = 0.f;
#pragma unroll
  for (int i = 0; i < PER; i++) {
    top[i] = 0.f;
    if ((int)(threadIdx.x + i * blockDim.x) < vectors)
#pragma unroll
      for (int j = 0; j < 8; j++) top[i] = fmaxf(top[i], fabsf(f[i][j]));
    most = fmaxf(most, top[i]);
  }
  if (!to.stride) most = block_max(most, scratch);
#pragma unroll
  for (int i = 0; i < PER; i++) {
    int v = threadIdx.x + i * blockDim.x;
    if (to.stride) { // sixteen threads have a group
      most = top[i];
#pragma unroll
      for (int d = 8; d > 0; d /= 2) most = fmaxf(most, __shfl_xor_sync(FULL, most, d));
    }
    float scale = scale_of(most);
    if (v >= vectors) continue;
    store_codes(to.at + ((size_t)row * vectors + v) * 8, f[i], 1.f / scale);
    if (to.stride && v % 16 == 0) to.scales[(size_t)(v / 16) * to.stride + row] = scale;
    if (!to.stride && v == 0) to.scales[row] = scale;
  }
}
