// ranks: what kernels have in common in which ranks add up.

// Stopwatch takes the time for all blocks in the first thread of the first.
struct Stopwatch {
  u32 began, waited;
  __device__ __forceinline__ Stopwatch() : began(now()), waited(0) {}
  __device__ __forceinline__ static bool takes() { return blockIdx.x == 0 && threadIdx.x == 0; }
  __device__ __forceinline__ static u32 now() { // nanoseconds
    u32 t = 0;
    if (takes()) asm volatile("mov.u32 %0, %globaltimer_lo;" : "=r"(t)::"memory");
    return t;
  }
  __device__ __forceinline__ void wait(u32 since) { waited += now() - since; }
  __device__ __forceinline__ void stop(u64* spent) const {
    if (takes() && spent) spent[0] += now() - began, spent[1] += waited;
  }
};

__device__ __forceinline__ void read8(const void* part, int half, size_t i, float* f) {
  if (half) {
    unpack(load16((const bf16*)part + 8 * i), f);
  } else {
    floats8(load16((const float*)part + 8 * i), load16((const float*)part + 8 * i + 4), f);
  }
}

__device__ __forceinline__ void write8(void* part, int half, size_t i, const float* f) {
  if (half) {
    store16((bf16*)part + 8 * i, pack8(f));
  } else {
    Vec4 lo = {__float_as_uint(f[0]), __float_as_uint(f[1]), __float_as_uint(f[2]), __float_as_uint(f[3])};
    Vec4 hi = {__float_as_uint(f[4]), __float_as_uint(f[5]), __float_as_uint(f[6]), __float_as_uint(f[7])};
    store16((float*)part + 8 * i, lo);
    store16((float*)part + 8 * i + 4, hi);
  }
}
