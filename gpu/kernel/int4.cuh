// int4: weights of 4 bits, as the kernels that multiply them have them, and what
// those have in common. It comes after common.cuh.
//
// A weight [M, K] lies in blocks of 16 outputs and 128 inputs, an output's blocks one
// behind the other. A block is what the tensor cores' left operand takes, lane by
// lane (multiply_add): for every 64 inputs each lane's four words, one for 16 inputs
// each, of whose halves the i-th 4 bits are the pair of register i; behind them a
// word for each output of each group of 128/G inputs: the upper 24 bits of its scale
// (float32), and its zero point. A number is (4 bits − zero point) · scale.
// pack4.go writes it.
struct Int4Args {
  const u8* w;    // [M/16, K/128] blocks
  const bf16* x;  // [N, K]
  void* y;        // [N, ld]
  float* partial; // what blocks have of sums that several add up
  int* arrived;   // how many of a tile's have; zeros, before and after
  int n, in, out, ld;
  int form; // 0: y is f32; 1: bf16; 2: f32, which is added to
};

#define SIXTEEN_ROWS 1024 // bytes of a block's numbers
#define block_bytes(G) (SIXTEEN_ROWS + 64 * (G))

// Blocks of threads share all the work evenly, whatever the shape: tiles one behind
// the other, each of so many chunks of inputs, and a block takes as many chunks as
// another, on from tile to tile.
struct Portion {
  u32 units, chunks; // of units fewer than 2³² for all blocks and one more: int4.go
  __device__ __forceinline__ u32 begin(u32 block) const { return block * units / gridDim.x; }
  __device__ __forceinline__ u32 block_of(u32 unit) const { return ((unit + 1) * gridDim.x - 1) / units; }
};

__device__ __forceinline__ float load_fresh(const float* p) { // past L1, which may hold what was there before
  float v;
  asm volatile("ld.global.cg.f32 %0, [%1];" : "=f"(v) : "l"(p) : "memory");
  return v;
}

// whole_sums makes sums of a tile those of all blocks that have a part of it, in the
// last of these to come: they are added up in the order of blocks. In others it is
// false. All THREADS that hold sums call it; live says which of a thread's are any,
// meet is a barrier of theirs.
template <int SUMS, int THREADS, class Live, class Meet>
__device__ __forceinline__ bool whole_sums(const Int4Args& a, float (&c)[SUMS], const Portion& all, u32 tile, int* last, Live live, Meet meet) {
  u32 from = all.block_of(tile * all.chunks), to = all.block_of(tile * all.chunks + all.chunks - 1);
  if (from == to) return true;
  int thread = threadIdx.x % THREADS;
  auto place = [&](u32 block) { return a.partial + ((size_t)block * 2 + (all.begin(block) / all.chunks != tile)) * SUMS * THREADS + thread; };
  float* mine = place(blockIdx.x);
#pragma unroll
  for (int i = 0; i < SUMS; i++)
    if (live(i)) mine[i * THREADS] = c[i];
  __threadfence();
  meet();
  if (thread == 0) *last = atomicAdd(a.arrived + tile, 1) == (int)(to - from);
  meet();
  if (!*last) return false;
  __threadfence();
#pragma unroll
  for (int i = 0; i < SUMS; i++) c[i] = 0.f;
  for (u32 block = from; block <= to; block++) {
    const float* theirs = place(block);
#pragma unroll
    for (int i = 0; i < SUMS; i++)
      if (live(i)) c[i] += load_fresh(theirs + i * THREADS);
  }
  if (thread == 0) a.arrived[tile] = 0;
  return true;
}

// less_zero is what takes the zero point off a pair: −(128 + it), twice, in bf16.
__device__ __forceinline__ u32 less_zero(u32 scale) { return __byte_perm(scale, 0xc3, 0x4040); }

// pair4 is register i of a word, without the scale: exact. 4 bits behind the ones of
// 128 are that and them.
__device__ __forceinline__ u32 pair4(u32 word, int i, u32 zero) {
  u32 v;
  asm("lop3.b32 %0, %1, 0x000f000f, 0x43004300, 0xea;" : "=r"(v) : "r"(word >> (4 * i)));
  asm("fma.rn.bf16x2 %0, %0, %1, %2;" : "+r"(v) : "r"(0x3f803f80u), "r"(zero));
  return v;
}

__device__ __forceinline__ float scale4(u32 scale) { return __uint_as_float(scale & 0xffffff00u); }

// store_sums writes a thread's sums, or of halves what the first gates of the second;
// at says where one goes, if anywhere (live).
template <int HALVES, int SUMS, class Live, class At>
__device__ __forceinline__ void store_sums(const Int4Args& a, const float (&c)[HALVES * SUMS], Live live, At at) {
  if (HALVES == 2) {
#pragma unroll
    for (int i = 0; i < SUMS; i++) {
      float gate = c[i];
      if (live(i)) ((bf16*)a.y)[at(i)] = to_bf16(gate / (1.f + exp2_fast(-LOG2E * gate)) * c[i + (HALVES - 1) * SUMS]);
    }
  } else if (a.form == 1) {
#pragma unroll
    for (int i = 0; i < SUMS; i++)
      if (live(i)) ((bf16*)a.y)[at(i)] = to_bf16(c[i]);
  } else {
#pragma unroll
    for (int i = 0; i < SUMS; i++)
      if (live(i)) ((float*)a.y)[at(i)] = a.form == 2 ? ((float*)a.y)[at(i)] + c[i] : c[i];
  }
}
