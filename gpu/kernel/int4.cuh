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
  int n, in, out, ld, groups; // of 128 inputs
  int form;                   // 0: y is f32; 1: bf16; 2: f32, which is added to
  int split;                  // int4_bytes: blocks of a cluster
  u32 inverse;                // of how many clusters there are: 2³² over it, and more; 0: of one
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

// The tiles that a block begins and ends in may be other blocks', too. Of such a tile it
// leaves its part of the sums, and when it has done all its work the last block to come
// adds the parts up, in the order of blocks. THREADS hold SUMS each; live says which of
// these are any.
template <int SUMS, int THREADS>
struct Shared {
  const Int4Args& a;
  Portion all;
  u32 begin, end; // of this block

  __device__ __forceinline__ Shared(const Int4Args& a, const Portion& all) : a(a), all(all), begin(all.begin(blockIdx.x)), end(all.begin(blockIdx.x + 1)) {}

  __device__ __forceinline__ bool whole(u32 tile) const { return begin <= tile * all.chunks && end >= (tile + 1) * all.chunks; }

  __device__ __forceinline__ float* place(u32 block, bool second) const {
    return a.partial + ((size_t)block * 2 + second) * SUMS * THREADS + threadIdx.x % THREADS;
  }

  template <class Live>
  __device__ __forceinline__ void leave(const float (&c)[SUMS], u32 tile, Live live) const {
    float* mine = place(blockIdx.x, begin < tile * all.chunks);
#pragma unroll
    for (int i = 0; i < SUMS; i++)
      if (live(i)) mine[i * THREADS] = c[i];
  }

  // count says, in last, of which of the tiles that it begins and ends in this block is
  // the last to come; meet is a barrier of the threads.
  template <class Meet>
  __device__ __forceinline__ void count(int* last, Meet meet) const {
    int thread = threadIdx.x % THREADS;
    meet();
    if (thread < 2) {
      u32 tile = this->tile(thread);
      int is = 0;
      if (!whole(tile) && (thread == 0 || this->tile(0) != tile)) {
        __threadfence();
        int others = all.block_of(tile * all.chunks + all.chunks - 1) - all.block_of(tile * all.chunks);
        is = atomicAdd(a.arrived + tile, 1) == others;
        if (is) a.arrived[tile] = 0;
        __threadfence();
      }
      last[thread] = is;
    }
    meet();
  }

  __device__ __forceinline__ u32 tile(int which) const { return (which ? end - 1 : begin) / all.chunks; }

  // add_up makes sums those of all blocks.
  template <class Live>
  __device__ __forceinline__ void add_up(float (&c)[SUMS], u32 tile, Live live) const {
    u32 from = all.block_of(tile * all.chunks), to = all.block_of(tile * all.chunks + all.chunks - 1);
    bool second = all.begin(from) < tile * all.chunks; // of the others it is the first
    constexpr int AT_ONCE = SUMS <= 8 ? 4 : 1;
#pragma unroll
    for (int i = 0; i < SUMS; i++) c[i] = 0.f;
#pragma unroll 1
    for (u32 block = from; block <= to; block += AT_ONCE) {
      float v[AT_ONCE][SUMS];
#pragma unroll
      for (int j = 0; j < AT_ONCE; j++) {
        const float* theirs = place(min(block + j, to), second && block + j == from);
#pragma unroll
        for (int i = 0; i < SUMS; i++)
          if (live(i)) v[j][i] = load_fresh(theirs + i * THREADS);
      }
#pragma unroll
      for (int j = 0; j < AT_ONCE; j++)
#pragma unroll
        for (int i = 0; i < SUMS; i++)
          if (block + j <= to && live(i)) c[i] += v[j][i];
    }
  }
};

// less_zero is what takes the zero point off a pair: −(128 + it), twice, in bf16.
__device__ __forceinline__ u32 less_zero(u32 scale) { return __byte_perm(scale, 0xc3, 0x4040); }

// behind128 is a pair of 4 bits, the lowest of each half, behind the ones of 128, twice
// in bf16, whose last bit is 1: 128 + it.
__device__ __forceinline__ u32 behind128(u32 halves) {
  u32 v;
  asm("lop3.b32 %0, %1, %2, %3, 0xea;" : "=r"(v) : "r"(halves), "r"(0x000f000fu), "r"(0x43004300u));
  return v;
}

// pair4 is register i of a word, without the scale: exact. 4 bits behind the ones of
// 128 are that and them.
__device__ __forceinline__ u32 pair4(u32 word, int i, u32 zero) {
  u32 v;
  asm("lop3.b32 %0, %1, 0x000f000f, 0x43004300, 0xea;" : "=r"(v) : "r"(word >> (4 * i)));
  asm("fma.rn.bf16x2 %0, %0, %1, %2;" : "+r"(v) : "r"(0x3f803f80u), "r"(zero));
  return v;
}

#if __CUDA_ARCH__ >= 900
// times2 are two products in bf16.
__device__ __forceinline__ u32 times2(u32 v, u32 by) {
  asm("mul.rn.bf16x2 %0, %0, %1;" : "+r"(v) : "r"(by));
  return v;
}
#endif

__device__ __forceinline__ float scale4(u32 scale) { return __uint_as_float(scale & 0xffffff00u); }

// Panels are 16 outputs each. A tile has 8 of them in each of HALVES: of gates and of
// ups, or one behind the other.
template <int HALVES, bool GATE>
struct Panels {
  int half, count; // of g alone; of all
  __device__ __forceinline__ Panels(const Int4Args& a) : half(a.out / 16 / (GATE ? 2 : 1)), count(a.out / 16) {}
  __device__ __forceinline__ u32 tiles() const { return (half + (GATE ? 8 : 8 * HALVES) - 1) / (GATE ? 8 : 8 * HALVES); }
  // at is the i-th of a half; where there is none, another.
  __device__ __forceinline__ int at(u32 tile, int m, int i) const { return GATE ? min((int)tile * 8 + i, half - 1) + m * half : min(((int)tile * HALVES + m) * 8 + i, count - 1); }
  // output is the column of y that row 0 of it goes to.
  __device__ __forceinline__ int output(u32 tile, int m, int i) const { return (GATE ? (int)tile * 8 + i : ((int)tile * HALVES + m) * 8 + i) * 16; }
  __device__ __forceinline__ int outputs() const { return half * 16; }
};

// Where a thread's sums go, [HALVES][TILES][4], of which each four are those of
// multiply_add.
template <bool GATE, int HALVES, int TILES>
struct Sums {
  const Int4Args& a;
  int token, outputs, column[HALVES];
  u32 size; // of an element of y

  __device__ __forceinline__ Sums(const Int4Args& a, const Panels<HALVES, GATE>& panels, u32 tile, int panel, int first)
      : a(a), token(first + threadIdx.x % 4 * 2), outputs(panels.outputs()), size(GATE || a.form == 1 ? 2 : 4) {
#pragma unroll
    for (int m = 0; m < HALVES; m++) column[m] = panels.output(tile, m, panel) + threadIdx.x % WARP / 4;
  }

  // each does something with each that goes anywhere; of gates and ups it is the former.
  template <class Does>
  __device__ __forceinline__ void each(Does does) const {
    u8* y = (u8*)a.y + (size_t)token * a.ld * size;
#pragma unroll
    for (int t = 0; t < TILES; t++)
#pragma unroll
      for (int j = 0; j < 2; j++)
        if (token + t * 8 + j < a.n) {
          u8* row = y + (t * 8 + j) * a.ld * size;
#pragma unroll
          for (int m = 0; m < (GATE ? 1 : HALVES); m++)
#pragma unroll
            for (int h = 0; h < 2; h++)
              if (column[m] + h * 8 < outputs) does(row + (column[m] + h * 8) * size, (m * TILES + t) * 4 + h * 2 + j);
        }
  }

  __device__ __forceinline__ void store(float (&c)[HALVES * TILES * 4]) const {
    if (!GATE && a.form == 2) each([&](u8* at, int i) { c[i] += *(const float*)at; }); // all are read before any is written
    each([&](u8* at, int i) {
      float v = c[i];
      if (GATE) v = v / (1.f + exp2_fast(-LOG2E * v)) * c[i + (HALVES - 1) * TILES * 4];
      if (size == 2) {
        *(bf16*)at = to_bf16(v);
      } else {
        *(float*)at = v;
      }
    });
  }
};
