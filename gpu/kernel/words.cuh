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
// 128 bits as one word, the lowest of which is the time's: so the place must be written once at
// every time.
__device__ __forceinline__ void tell_word(Vec4* to, Vec4 v, u32 time) {
  u64 a = (u64)v.y << 32 | (v.x & ~1u) | (time & 1), b = (u64)v.w << 32 | v.z;
  asm volatile("{.reg .b128 v; mov.b128 v, {%1, %2}; st.relaxed.gpu.global.b128 [%0], v;}" ::"l"(to), "l"(a), "l"(b) : "memory");
}
__device__ __forceinline__ Vec4 look_at(const Vec4* at) {
  u64 a, b;
  asm volatile("{.reg .b128 v; ld.relaxed.gpu.global.b128 v, [%2]; mov.b128 {%0, %1}, v;}" : "=l"(a), "=l"(b) : "l"(at) : "memory");
  return {(u32)a, (u32)(a >> 32), (u32)b, (u32)(b >> 32)};
}
__device__ __forceinline__ bool is_of(Vec4 v, u32 time) { return ((v.x ^ time) & 1) == 0; }
// Four floats, the first without its lowest bit; and eight bf16, whose first, given as it
// was, is rounded to seven bits.
__device__ __forceinline__ void tell_four(Vec4* to, float x, float y, float z, float w, u32 time) {
  tell_word(to, {__float_as_uint(x), __float_as_uint(y), __float_as_uint(z), __float_as_uint(w)}, time);
}
__device__ __forceinline__ void tell_eight(Vec4* to, float first, Vec4 v, u32 time) {
  v.x = (v.x & 0xffff0000u) | (__float_as_uint(first) + 0x10000u) >> 17 << 1;
  tell_word(to, v, time);
}
__device__ __forceinline__ uint2 load8(const void* p) {
  uint2 v;
  asm volatile("ld.global.v2.u32 {%0,%1}, [%2];" : "=r"(v.x), "=r"(v.y) : "l"(p) : "memory");
  return v;
}

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

// A box of what a map (kernel.PassTensor) describes, from its second dimension's element on and so on.
// A barrier counts its bytes.
__device__ __forceinline__ void copy_box(u32 to, const TensorMap* from, int second, int third, int fourth, int fifth, u32 barrier) {
  asm volatile("cp.async.bulk.tensor.5d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {0, %2, %3, %4, %5}], [%6];" ::"r"(to), "l"(from), "r"(second), "r"(third), "r"(fourth), "r"(fifth), "r"(barrier) : "memory");
}
// barrier_is is barrier_wait that does not wait.
__device__ __forceinline__ bool barrier_is(u32 at, u32 phase) {
  u32 done;
  asm volatile("{.reg .pred p; mbarrier.test_wait.parity.shared::cta.b64 p, [%1], %2; selp.u32 %0, 1, 0, p;}" : "=r"(done) : "r"(at), "r"(phase) : "memory");
  return done;
}
__device__ __forceinline__ void bring_map(const TensorMap* map) { asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory"); }
