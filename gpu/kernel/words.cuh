// words: what blocks of one kernel tell each other through memory while they run. It
// comes after common.cuh and hopper.cuh.
//
// A word is 32 bits of data with 32 that number the time it was written: data are their
// own flag. So what a block makes is at all others after one way to the L2 and one
// back, with no barrier, fence or second look. 64 bits are written and read at once.

__device__ __forceinline__ void tell(u64* to, u32 data, u32 time) {
  u64 word = (u64)time << 32 | data;
  asm volatile("st.relaxed.gpu.global.b64 [%0], %1;" ::"l"(to), "l"(word) : "memory");
}

// Two words that lie side by side: x and y the first's data and time.
__device__ __forceinline__ Vec4 look(const u64* at) {
  u64 a, b;
  asm volatile("ld.relaxed.gpu.global.v2.b64 {%0,%1}, [%2];" : "=l"(a), "=l"(b) : "l"(at) : "memory");
  return {(u32)a, (u32)(a >> 32), (u32)b, (u32)(b >> 32)};
}
__device__ __forceinline__ uint2 look_at_one(const u64* at) {
  u64 a;
  asm volatile("ld.relaxed.gpu.global.b64 %0, [%1];" : "=l"(a) : "l"(at) : "memory");
  return make_uint2((u32)a, (u32)(a >> 32));
}
__device__ __forceinline__ void look_again() {}

__device__ __forceinline__ u64 load_shared8(u32 from) {
  u64 v;
  asm volatile("ld.shared.b64 %0, [%1];" : "=l"(v) : "r"(from) : "memory");
  return v;
}
__device__ __forceinline__ float load_shared_float(u32 from) { return __uint_as_float(load_shared4(from)); }
__device__ __forceinline__ void store_shared4(u32 to, u32 v) { asm volatile("st.shared.b32 [%0], %1;" ::"r"(to), "r"(v) : "memory"); }
__device__ __forceinline__ void store_shared_words(u32 to, u32 a, u32 b) { asm volatile("st.shared.v2.b32 [%0], {%1,%2};" ::"r"(to), "r"(a), "r"(b) : "memory"); }
__device__ __forceinline__ void store_shared_floats(u32 to, float2 v) { asm volatile("st.shared.v2.f32 [%0], {%1,%2};" ::"r"(to), "f"(v.x), "f"(v.y) : "memory"); }
__device__ __forceinline__ void store_shared16(u32 to, Vec4 v) {
  asm volatile("st.shared.v4.b32 [%0], {%1,%2,%3,%4};" ::"r"(to), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w) : "memory");
}
// bring_to_l2 is for what will be read soon.
__device__ __forceinline__ void bring_to_l2(const void* from) { asm volatile("prefetch.global.L2 [%0];" ::"l"(from) : "memory"); }

// A piece of a matrix (kernel.PassTensor) as its map says: of so many rows, inputs from
// column on, of several steps. A barrier counts its bytes.
__device__ __forceinline__ void copy_piece_of(u32 to, const TensorMap* from, int column, int row, int step, u32 barrier) {
  asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3, 0, %4}], [%5];" ::"r"(to), "l"(from), "r"(column), "r"(row), "r"(step), "r"(barrier) : "memory");
}
__device__ __forceinline__ void bring_map(const TensorMap* map) { asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory"); }
