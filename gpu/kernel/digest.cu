// digest_rows: a number for each row of a matrix that tells its bits from others.
//   y    f32 or (half) bf16 [R, ld], of which columns [0, C) count
//   out  u64 [R]   Σ_j mix(bits of y[r][j], j): any order of adding gives the same
// Launch:  a block of 256 a row
// Limit:   memory traffic: what is read
// Checked: TestDigest
struct DigestArgs {
  const void* y;
  u64* out;
  int columns, ld, half;
};

// The finaliser of SplitMix64 (Steele, Lea, Flood; OOPSLA 2014).
__device__ __forceinline__ u64 mix(u64 z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}

extern "C" __global__ void __launch_bounds__(256) digest_rows(const __grid_constant__ DigestArgs a) {
  __shared__ u64 sums[256 / WARP];
  wait_for_previous();
  let_next_start();
  size_t row = (size_t)blockIdx.x * a.ld;
  u64 sum = 0;
  for (int j = threadIdx.x; j < a.columns; j += 256) {
    u32 bits = a.half ? ((const u16*)a.y)[row + j] : ((const u32*)a.y)[row + j];
    sum += mix((u64)bits << 32 | (u32)(j + 1));
  }
#pragma unroll
  for (int i = WARP / 2; i > 0; i /= 2) sum += __shfl_xor_sync(FULL, sum, i);
  if (threadIdx.x % WARP == 0) sums[threadIdx.x / WARP] = sum;
  __syncthreads();
  if (threadIdx.x > 0) return;
  for (int i = 1; i < 256 / WARP; i++) sum += sums[i];
  a.out[blockIdx.x] = sum;
}
