// tensor: tiles of matrices in memory, which the copy engine finds by a map of the
// whole and brings to shared memory as products read them.

struct alignas(64) TensorMap { u64 of[16]; }; // what the driver made of a kernel.Tensor

__device__ __forceinline__ void barriers_visible() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }

// cluster_meet that makes nothing visible.
__device__ __forceinline__ void cluster_meet_only() {
  asm volatile("barrier.cluster.arrive.relaxed;\n\tbarrier.cluster.wait;" ::: "memory");
}

// Copies the tile at a column and a row. A barrier counts its bytes.
__device__ __forceinline__ void copy_tile(u32 to, const TensorMap& from, int column, int row, u32 barrier) {
  asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];" ::"r"(to), "l"(&from), "r"(column), "r"(row), "r"(barrier) : "memory");
}
// The same of a matrix of whose rows, sixteen by sixteen, those of even numbers come
// first (kernel.Tensor's Pairs): a thread of a product has neighbours then.
__device__ __forceinline__ void copy_tile_paired(u32 to, const TensorMap& from, int column, int sixteen, u32 barrier) {
  asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2, 0, 0, %3}], [%4];" ::"r"(to), "l"(&from), "r"(column), "r"(sixteen), "r"(barrier) : "memory");
}

// Two floats to shared memory of any block of the cluster, whose barrier, in the same
// block, counts their bytes.
__device__ __forceinline__ void store_there(u32 at, float x, float y, u32 barrier) {
  asm volatile("st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.v2.b32 [%0], {%1, %2}, [%3];" ::"r"(at), "r"(__float_as_uint(x)), "r"(__float_as_uint(y)), "r"(barrier) : "memory");
}
__device__ __forceinline__ void store_shared2(u32 at, float x, float y) { asm volatile("st.shared.v2.f32 [%0], {%1, %2};" ::"r"(at), "f"(x), "f"(y) : "memory"); }
__device__ __forceinline__ float4 load_shared4_floats(u32 at) {
  float4 v;
  asm volatile("ld.shared.v4.f32 {%0,%1,%2,%3}, [%4];" : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w) : "r"(at) : "memory");
  return v;
}

// What another kernel may have written while this one was here: not from L1.
__device__ __forceinline__ float4 load_fresh4(const float* p) {
  float4 v;
  asm volatile("ld.global.cg.v4.f32 {%0,%1,%2,%3}, [%4];" : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w) : "l"(p) : "memory");
  return v;
}

// Matrices in shared memory, for products: rows of 128 bytes whose 16-byte chunks are
// permuted by the row's last 3 bits; groups of 8 are 1024 bytes apart.
__device__ __forceinline__ u64 describe_rows(u32 at) {
  return (u64)(at >> 4) | (u64)1 << 16 | (u64)(1024 >> 4) << 32 | (u64)1 << 62;
}

// c[64×N] += a[64×16]·b[N×16]ᵀ, both in shared memory; c as product has it.
#define L8 "%0,%1,%2,%3,%4,%5,%6,%7"
#define L16 L8 ",%8,%9,%10,%11,%12,%13,%14,%15"
#define PRODUCT_TILES(SUMS, COLUMNS, LIST, OPERANDS, A, B)                                                                                                  \
  __device__ __forceinline__ void product_tiles(float (&c)[SUMS], u64 a, u64 b) {                                                                     \
    asm volatile("wgmma.mma_async.sync.aligned.m64n" COLUMNS "k16.f32.bf16.bf16 {" LIST "}, " A ", " B ", 1, 1, 1, 0, 0;" : OPERANDS : "l"(a), "l"(b)); \
  }
#define COMMA ,
// The same of codes, E4M3: c[64×N] = or += a[64×32]·b[N×32]ᵀ.
#define PRODUCT_CODES(SUMS, COLUMNS, LIST, OPERANDS, A, B, D)                                                                                                   \
  template <bool ADD>                                                                                                                                           \
  __device__ __forceinline__ void product_codes(float (&c)[SUMS], u64 a, u64 b) {                                                                               \
    asm volatile("wgmma.mma_async.sync.aligned.m64n" COLUMNS "k32.f32.e4m3.e4m3 {" LIST "}, " A ", " B ", " D ", 1, 1;" : OPERANDS : "l"(a), "l"(b), "n"(ADD)); \
  }
PRODUCT_TILES(8, "16", L8, F4(c, 0) COMMA F4(c, 4), "%8", "%9")
PRODUCT_TILES(16, "32", L16, F16(c, 0), "%16", "%17")
PRODUCT_TILES(32, "64", L32, F32(c), "%32", "%33")
PRODUCT_CODES(8, "16", L8, F4(c, 0) COMMA F4(c, 4), "%8", "%9", "%10")
PRODUCT_CODES(16, "32", L16, F16(c, 0), "%16", "%17", "%18")
PRODUCT_CODES(32, "64", L32, F32(c), "%32", "%33", "%34")
#undef COMMA
