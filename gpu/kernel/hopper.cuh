// hopper: what the kernels for sm_90a use besides common.cuh: barriers that
// count arrivals, products of warpgroups, the division of registers.

// Barriers in shared memory. A phase ends when all that were announced have
// arrived; a wait for a phase (0, 1, 0, …) passes once it has ended.
__device__ __forceinline__ void barrier_init(u32 at, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(at), "r"(arrivals) : "memory");
}
__device__ __forceinline__ void barrier_arrive(u32 at) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(at) : "memory");
}
// The arrival of this thread when all that it copies is there.
__device__ __forceinline__ void barrier_arrive_copied(u32 at) {
  asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(at) : "memory");
}
__device__ __forceinline__ void barrier_wait(u32 at, u32 phase) {
  u32 done;
  do {
    asm volatile("{.reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2; selp.u32 %0, 1, 0, p;}" : "=r"(done) : "r"(at), "r"(phase) : "memory");
  } while (!done);
}

// A place in a ring of N barriers, and the phase that is waited for there.
template <int N>
struct Place {
  int i = 0;
  u32 phase = 0;
  __device__ __forceinline__ void next() {
    if (++i == N) i = 0, phase ^= 1;
  }
};

// Operands of products, which name every register.
#define F4(x, i) "+f"(x[i]), "+f"(x[i + 1]), "+f"(x[i + 2]), "+f"(x[i + 3])
#define F16(x, i) F4(x, i), F4(x, i + 4), F4(x, i + 8), F4(x, i + 12)
#define F32(x) F16(x, 0), F16(x, 16)
#define F64(x) F16(x, 0), F16(x, 16), F16(x, 32), F16(x, 48)
#define L32 "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31"
#define L64 L32 ",%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63"

// Products of a warpgroup, 64 rows of it, which run on while threads do other work:
// between products_begin and a products_wait nothing else touches c.
//
// c[64×128] = or += a[64×16]·b[128×16]ᵀ, both in shared memory (descriptors, as
// the PTX manual has them). Thread t holds, of c, rows 16(t/32)+t%32/4 and 8 more,
// of each 8 columns 2(t%4) and one more: as multiply_add has it.
template <bool ADD>
__device__ __forceinline__ void product(float (&c)[64], u64 a, u64 b) {
  asm volatile("wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" L64 "}, %64, %65, %66, 1, 1, 0, 0;" : F64(c) : "l"(a), "l"(b), "n"(ADD));
}
// c[64×N] += a[64×16]·b[16×N], a in registers as multiply_add has it.
__device__ __forceinline__ void product(float (&c)[64], const u32* a, u64 b) {
  asm volatile("wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" L64 "}, {%64,%65,%66,%67}, %68, 1, 1, 1, 1;" : F64(c) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}
__device__ __forceinline__ void product(float (&c)[32], const u32* a, u64 b) {
  asm volatile("wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {" L32 "}, {%32,%33,%34,%35}, %36, 1, 1, 1, 1;" : F32(c) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}
// c[64×N] += a[64×16]·b[N×16]ᵀ, a in registers as multiply_add has it.
__device__ __forceinline__ void product_rows(float (&c)[64], const u32* a, u64 b) {
  asm volatile("wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" L64 "}, {%64,%65,%66,%67}, %68, 1, 1, 1, 0;" : F64(c) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}
__device__ __forceinline__ void product_rows(float (&c)[32], const u32* a, u64 b) {
  asm volatile("wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {" L32 "}, {%32,%33,%34,%35}, %36, 1, 1, 1, 0;" : F32(c) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}
// The same of half of the b's rows; the other half of c stays.
__device__ __forceinline__ void product_rows_half(float (&c)[64], const u32* a, u64 b) {
  asm volatile("wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {" L32 "}, {%32,%33,%34,%35}, %36, 1, 1, 1, 0;" : F32(c) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}
__device__ __forceinline__ void products_begin() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void products_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int N>
__device__ __forceinline__ void products_wait() { asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory"); }
// What is computed from c stays on its side of this.
template <int N>
__device__ __forceinline__ void pin(float (&c)[N]) {
#pragma unroll
  for (int i = 0; i < N; i++) asm volatile("" : "+f"(c[i])::"memory");
}
// Products read shared memory by another way than copies write it.
__device__ __forceinline__ void copies_visible() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

template <int N>
__device__ __forceinline__ void registers_raise() { asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(N)); }
template <int N>
__device__ __forceinline__ void registers_lower() { asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(N)); }

// elected is one thread of a warp, which the compiler knows to be alone.
__device__ __forceinline__ bool elected() {
  u32 is;
  asm volatile("{.reg .pred p; elect.sync _|p, 0xffffffff; selp.u32 %0, 1, 0, p;}" : "=r"(is)::"memory");
  return is;
}

// Copies of whole pieces, multiples of 16 bytes, that one thread starts and a barrier
// counts: those that are announced belong to what its phase waits for.
__device__ __forceinline__ void barrier_expect(u32 at, u32 bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(at), "r"(bytes) : "memory");
}
__device__ __forceinline__ void copy_piece(u32 to, const void* from, u32 bytes, u32 barrier) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(to), "l"(from), "r"(bytes), "r"(barrier) : "memory");
}


// meet is a barrier of some of a block's threads, which have a name for it; 0 is
// __syncthreads'.
__device__ __forceinline__ void meet(int name, int threads) { asm volatile("bar.sync %0, %1;" ::"r"(name), "r"(threads) : "memory"); }

// Blocks of a cluster: a barrier of all their threads, and each other's shared memory.
__device__ __forceinline__ void cluster_meet() {
  asm volatile("barrier.cluster.arrive;\n\tbarrier.cluster.wait;" ::: "memory");
}
__device__ __forceinline__ u32 shared_of(u32 at, u32 rank) {
  u32 there;
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(at), "r"(rank));
  return there;
}
__device__ __forceinline__ float load_of_cluster(u32 at) {
  float v;
  asm volatile("ld.shared::cluster.f32 %0, [%1];" : "=f"(v) : "r"(at) : "memory");
  return v;
}

// The same in two parts, and nothing is made visible.
__device__ __forceinline__ void cluster_arrive() { asm volatile("barrier.cluster.arrive.relaxed;" ::: "memory"); }
__device__ __forceinline__ void cluster_wait() { asm volatile("barrier.cluster.wait;" ::: "memory"); }

// c[16×8] += a[16×32]·b[32×8] of whole numbers, a's without sign. Lane l holds, of c, what
// it holds of multiply_add's; of a, the bytes at (l/4, 4(l%4)…), (l/4+8, ·), (l/4, ·+16),
// (l/4+8, ·+16); of b, those at (4(l%4)…, l/4), (·+16, l/4).
__device__ __forceinline__ void multiply_add_bytes(int* c, const u32* a, u32 b0, u32 b1) {
  asm("mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// The largest, and the sum, of a warp's.
__device__ __forceinline__ u32 warp_most(u32 v) {
  asm volatile("redux.sync.max.u32 %0, %0, 0xffffffff;" : "+r"(v));
  return v;
}
__device__ __forceinline__ int warp_total(int v) {
  asm volatile("redux.sync.add.s32 %0, %0, 0xffffffff;" : "+r"(v));
  return v;
}
__device__ __forceinline__ float reciprocal(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// keep has the compiler hold on to what it would make anew.
__device__ __forceinline__ void keep(u32& v) { asm volatile("" : "+r"(v)); }
