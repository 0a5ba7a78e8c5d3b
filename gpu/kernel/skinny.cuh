// skinny: what products of few rows are given, with weights in bf16 (skinny.cu) and in
// codes (skinny_codes.cu).

struct SkinnyArgs {
  const void* x;
  const bf16* w;
  const bf16* norm;
  const int* rows;
  void* y;
  const float* scales;
  int n, in, out, ld, scale_stride;
  float eps;
  int rounded;
};

enum Epilogue { FLOATS, GATE, ADD };

__device__ __forceinline__ float load_shared_float(u32 from) { return __uint_as_float(load_shared4(from)); }
__device__ __forceinline__ void store_shared_floats(u32 to, float2 v) { asm volatile("st.shared.v2.f32 [%0], {%1,%2};" ::"r"(to), "f"(v.x), "f"(v.y) : "memory"); }

// fresh keeps what is made of a number from being made before a loop, for all that
// it may be, where registers are short.
__device__ __forceinline__ int fresh(int v) {
  asm volatile("" : "+r"(v));
  return v;
}
template <class T>
__device__ __forceinline__ T* fresh(T* v) {
  asm volatile("" : "+l"(v));
  return v;
}

// bring_to_l2 is for what will be read soon.
__device__ __forceinline__ void bring_to_l2(const void* from) { asm volatile("prefetch.global.L2 [%0];" ::"l"(from) : "memory"); }
