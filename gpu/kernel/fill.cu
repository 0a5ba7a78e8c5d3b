// fill_random, fill_codes, fill_int4: numbers for weights nobody has downloaded.
//   out   bf16 [n]   uniform in [−scale, scale), a function of seed and index
//                    alone; scale = √(3/inputs) keeps signals their size
//         E4M3 [n]   in fill_codes: the same, with scale the most that there is
//         blocks of 4 bits, as int4.cuh has them, in fill_int4
// Launch:  grid-stride over vectors of eight; n % 8 == 0
// Limit:   2·n bytes of memory traffic, n in fill_codes
// Checked: benchmarks run on it; nothing depends on the numbers
struct FillArgs {
  bf16* out;
  long long n;
  u64 seed;
  float scale;
};

// The finaliser of SplitMix64 (Steele, Lea, Flood; OOPSLA 2014).
__device__ __forceinline__ u64 mix(u64 z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}

template <bool CODES>
__device__ __forceinline__ void fill(const FillArgs& a) {
  wait_for_previous();
  long long stride = (long long)gridDim.x * blockDim.x;
  for (long long v = (long long)blockIdx.x * blockDim.x + threadIdx.x; v < a.n / 8; v += stride) {
    float f[8];
#pragma unroll
    for (int j = 0; j < 8; j += 2) {
      u64 z = mix(a.seed + (u64)(v * 4 + j / 2 + 1) * 0x9e3779b97f4a7c15ull);
      f[j] = (float)(int)(u32)z * (a.scale / 2147483648.f);
      f[j + 1] = (float)(int)(u32)(z >> 32) * (a.scale / 2147483648.f);
    }
    if (CODES) {
      store_codes((u8*)a.out + v * 8, f, 1.f);
    } else {
      store16(a.out + v * 8, pack8(f));
    }
  }
}

extern "C" __global__ void __launch_bounds__(256) fill_random(const __grid_constant__ FillArgs a) { fill<false>(a); }
extern "C" __global__ void __launch_bounds__(256) fill_codes(const __grid_constant__ FillArgs a) { fill<true>(a); }

struct FillInt4Args {
  u32* out;
  long long n; // words
  u64 seed;
  int block;   // words of one, of which 256 are numbers: with 256 there is nothing else
  u32 scale;   // of all groups, with their zero point
};
extern "C" __global__ void __launch_bounds__(256) fill_int4(const __grid_constant__ FillInt4Args a) {
  wait_for_previous();
  long long stride = (long long)gridDim.x * blockDim.x;
  for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < a.n; i += stride)
    a.out[i] = i % a.block < 256 ? (u32)mix(a.seed + (u64)(i + 1) * 0x9e3779b97f4a7c15ull) : a.scale;
}
