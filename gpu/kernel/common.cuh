// common: what every kernel here uses. It is put before each source; nothing
// else is included, so NVRTC needs no headers.

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef u16 bf16; // the upper half of a float

#define WARP 32
#define FULL 0xffffffffu
#define NEGATIVE_INFINITY __int_as_float(0xff800000)
#define LOG2E 1.4426950408889634f

struct alignas(16) Vec4 { u32 x, y, z, w; }; // 16 bytes: eight bf16

__device__ __forceinline__ Vec4 load16(const void* p) {
  Vec4 v;
  asm volatile("ld.global.v4.u32 {%0,%1,%2,%3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(p) : "memory");
  return v;
}
__device__ __forceinline__ void store16(void* p, Vec4 v) {
  asm volatile("st.global.v4.u32 [%0], {%1,%2,%3,%4};" ::"l"(p), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w) : "memory");
}

__device__ __forceinline__ float from_bf16(bf16 v) { return __uint_as_float((u32)v << 16); }
__device__ __forceinline__ float low(u32 pair) { return __uint_as_float(pair << 16); }
__device__ __forceinline__ float high(u32 pair) { return __uint_as_float(pair & 0xffff0000u); }
// pack rounds to nearest even; lo is the element at the lower address.
__device__ __forceinline__ u32 pack(float lo, float hi) {
  u32 r;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(hi), "f"(lo));
  return r;
}
__device__ __forceinline__ bf16 to_bf16(float v) { return (bf16)pack(v, 0.f); }

__device__ __forceinline__ void unpack(Vec4 v, float* f) {
  f[0] = low(v.x), f[1] = high(v.x), f[2] = low(v.y), f[3] = high(v.y);
  f[4] = low(v.z), f[5] = high(v.z), f[6] = low(v.w), f[7] = high(v.w);
}
__device__ __forceinline__ Vec4 pack8(const float* f) {
  Vec4 v;
  v.x = pack(f[0], f[1]), v.y = pack(f[2], f[3]), v.z = pack(f[4], f[5]), v.w = pack(f[6], f[7]);
  return v;
}

// floats8 are the eight floats of two vectors.
__device__ __forceinline__ void floats8(Vec4 lo, Vec4 hi, float* f) {
  f[0] = __uint_as_float(lo.x), f[1] = __uint_as_float(lo.y), f[2] = __uint_as_float(lo.z), f[3] = __uint_as_float(lo.w);
  f[4] = __uint_as_float(hi.x), f[5] = __uint_as_float(hi.y), f[6] = __uint_as_float(hi.z), f[7] = __uint_as_float(hi.w);
}

__device__ __forceinline__ float exp2_fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

__device__ __forceinline__ float warp_sum(float v) {
#pragma unroll
  for (int i = 16; i > 0; i /= 2) v += __shfl_xor_sync(FULL, v, i);
  return v;
}
__device__ __forceinline__ float warp_max(float v) {
#pragma unroll
  for (int i = 16; i > 0; i /= 2) v = fmaxf(v, __shfl_xor_sync(FULL, v, i));
  return v;
}

// block_sum adds up over a block, the same order every time; scratch holds a
// float per warp. All threads get the sum.
__device__ __forceinline__ float block_sum(float v, float* scratch) {
  v = warp_sum(v);
  int warps = blockDim.x / WARP;
  if (threadIdx.x % WARP == 0) scratch[threadIdx.x / WARP] = v;
  __syncthreads();
  v = warp_sum((int)(threadIdx.x % WARP) < warps ? scratch[threadIdx.x % WARP] : 0.f);
  __syncthreads();
  return v;
}

// Programmatic dependent launch: a kernel may be scheduled before the one
// ahead of it in the stream has ended. wait_for_previous comes before anything
// that another kernel wrote is read or overwritten, and every kernel calls it:
// so what comes before the previous kernel has ended, too. A kernel that lets the
// next start before it has waited itself may still have several unfinished ahead of
// that. So one that reads what a kernel further ahead wrote before it waits (decode
// attention, the experts' second product) stands behind one that has waited first.
__device__ __forceinline__ void wait_for_previous() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
__device__ __forceinline__ void let_next_start() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;");
#endif
}

// Asynchronous copies of 16 bytes from global to shared memory, past L1. With
// valid false the bytes become zero and nothing is read.
__device__ __forceinline__ u32 shared_address(const void* p) { return (u32)__cvta_generic_to_shared(p); }
__device__ __forceinline__ void copy16(u32 to, const void* from, bool valid) {
  int bytes = valid ? 16 : 0;
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes) : "memory");
}
// The same of what is not read again: it leaves L2 first.
__device__ __forceinline__ void copy16_once(u32 to, const void* from, bool valid) {
  int bytes = valid ? 16 : 0;
  u64 policy;
  asm("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
  asm volatile("cp.async.cg.shared.global.L2::cache_hint.L2::128B [%0], [%1], 16, %2, %3;" ::"r"(to), "l"(from), "r"(bytes), "l"(policy) : "memory");
}
// copy16 of 4 bytes.
__device__ __forceinline__ void copy4(u32 to, const void* from, bool valid) {
  int bytes = valid ? 4 : 0;
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(to), "l"(from), "r"(bytes) : "memory");
}
__device__ __forceinline__ void copies_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int N>
__device__ __forceinline__ void copies_wait() { asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory"); }

__device__ __forceinline__ Vec4 load_shared16(u32 from) {
  Vec4 v;
  asm volatile("ld.shared.v4.u32 {%0,%1,%2,%3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "r"(from) : "memory");
  return v;
}

__device__ __forceinline__ void store_shared(u32 at, float v) { asm volatile("st.shared.f32 [%0], %1;" ::"r"(at), "f"(v) : "memory"); }
__device__ __forceinline__ u32 load_shared4(u32 from) {
  u32 v;
  asm volatile("ld.shared.u32 %0, [%1];" : "=r"(v) : "r"(from) : "memory");
  return v;
}
__device__ __forceinline__ float2 load_shared_floats(u32 from) {
  float2 v;
  asm volatile("ld.shared.v2.f32 {%0,%1}, [%2];" : "=f"(v.x), "=f"(v.y) : "r"(from) : "memory");
  return v;
}

// Four 8×8 matrices of bf16 from shared memory; each lane gives the address of
// one row, lanes 8i to 8i+7 those of matrix i.
__device__ __forceinline__ void load_matrices(u32* r, u32 address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(address) : "memory");
}
__device__ __forceinline__ void load_matrices_transposed(u32* r, u32 address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(address) : "memory");
}

// transposed is what a lane has of the transpose of a matrix of 8×8 halves.
__device__ __forceinline__ u32 transposed(u32 pair) {
  u32 r;
  asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(r) : "r"(pair));
  return r;
}

// arrive counts one more, behind all that the block's threads before a barrier, or the
// warp's, have written, and returns how many were before.
__device__ __forceinline__ u32 arrive(u32* counter) {
  u32 before;
  asm volatile("atom.add.acq_rel.gpu.global.u32 %0, [%1], 1;" : "=r"(before) : "l"(counter) : "memory");
  return before;
}

// c[16×8] += a[16×16]·b[16×8]. Lane l holds, of c, row l/4 (c0, c1) and row
// l/4+8 (c2, c3) at columns 2(l%4) and one more; of a, the pairs at (l/4, 2(l%4)),
// (l/4+8, ·), (l/4, ·+8), (l/4+8, ·+8); of b, the pairs at (2(l%4), l/4), (·+8, l/4).
__device__ __forceinline__ void multiply_add(float* c, const u32* a, u32 b0, u32 b1) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
