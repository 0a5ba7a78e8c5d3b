// push, push_norm: sums over ranks of few bytes, each rank's part sent to the others.
//   part   bf16 or f32 [n, 8]        what this rank has of the sum
//   x      f32 [n, 8]                the residual stream; null: part becomes the sum
//   inbox  [ranks, slot] pieces of 16 bytes, of each rank: a slot for each sender
//   spent  u64 [2]: nanoseconds that sums took, and those of them that ranks waited
//   push       x += Σ part
//   push_norm  the same of bf16, and y bf16 [n, 8] = rms_norm(x)·w, rows of width vectors
// Math:    fp32, in the order of ranks: the same bits everywhere; arXiv:1910.07467
//
// A sum takes one crossing of the link, since the data are their own flag: a word
// that has not come is ABSENT, which no word that is sent is, and whoever has taken
// it makes it ABSENT again. Everybody sends to everybody, or (two_shot) each tile to
// the rank whose it is, which sends its sum to all: two crossings, fewer bytes where
// ranks are more than two.
//
// A place in an inbox is written again only behind another sum. Its sender has all
// that this rank sent for that one, so this rank is done with the one before: sums
// that follow each other take different inboxes, and nobody waits for anything else.
// A kernel sends all it has to before it looks for anything, and no more blocks are
// launched than fit on the device at once: none waits for one that has no room. The
// next kernel may begin early, which is when all blocks of this one have begun.
// A rank that never comes is waited for without end, until the process is replaced.
// Launch:  push: a tile is 256 vectors, of as many threads; push_norm: a row, of
//          half as many threads as it has vectors
// Limit:   bytes sent by what a link carries, and one crossing or two
// Checked: TestReduce, TestReduceNorm
struct PushArgs {
  void* inbox[MAX_RANKS];
  void* part;
  float* x;
  const bf16* w;
  bf16* y;
  u64* spent;
  int vectors, width, slot, two_shot, rank, ranks;
  float eps;
};

#define ABSENT 0xffffffffu

// sent is a piece as it is sent: no word of it is ABSENT, a NaN that is another one then.
__device__ __forceinline__ Vec4 sent(Vec4 v) {
  auto word = [](u32 w) { return w == ABSENT ? 0x7fffffffu : w; };
  return {word(v.x), word(v.y), word(v.z), word(v.w)};
}
__device__ __forceinline__ bool absent(Vec4 v) { return v.x == ABSENT || v.y == ABSENT || v.z == ABSENT || v.w == ABSENT; }

__device__ __forceinline__ void send(void* to, Vec4 v) {
  asm volatile("st.relaxed.sys.global.v4.u32 [%0], {%1,%2,%3,%4};" ::"l"(to), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w) : "memory");
}
__device__ __forceinline__ Vec4 look(const void* p) {
  Vec4 v;
  asm volatile("ld.relaxed.sys.global.v4.u32 {%0,%1,%2,%3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(p) : "memory");
  return v;
}
// taken waits for a piece of which v was seen, and takes it away.
__device__ __forceinline__ Vec4 taken(void* p, Vec4 v) {
  while (absent(v)) v = look(p);
  store16(p, {ABSENT, ABSENT, ABSENT, ABSENT});
  return v;
}

// PIECES of 16 bytes are a vector: 1 of bf16, 2 of f32. Threads have PER vectors of a tile.
template <int PIECES, bool NORM, int PER>
struct Push {
  const PushArgs& a;
  Stopwatch watch;

  __device__ __forceinline__ explicit Push(const PushArgs& args) : a(args) {}

  // vector is which is this thread's i-th of a tile; −1: it has none.
  __device__ __forceinline__ int vector(int tile, int i) const {
    int v = threadIdx.x + i * blockDim.x, all = tile * a.width + v;
    return v < a.width && all < a.vectors ? all : -1;
  }
  __device__ __forceinline__ u8* place(int rank, int sender, int vector) const {
    return (u8*)a.inbox[rank] + (u32)(sender * a.slot + vector * PIECES) * 16;
  }
  __device__ __forceinline__ bool mine(int tile) const { return tile % a.ranks == a.rank; }

  __device__ __forceinline__ u8* part(int vector, int piece) const { return (u8*)a.part + (u32)(vector * PIECES + piece) * 16; }

  __device__ __forceinline__ void send_to(int rank, int vector) const {
#pragma unroll
    for (int j = 0; j < PIECES; j++) send(place(rank, a.rank, vector) + 16 * j, sent(load16(part(vector, j))));
  }
  __device__ __forceinline__ void send_to_others(int vector) const {
    Vec4 v[PIECES];
#pragma unroll
    for (int j = 0; j < PIECES; j++) v[j] = sent(load16(part(vector, j)));
#pragma unroll 1
    for (int r = 0; r < a.ranks; r++) {
      if (r == a.rank) continue;
#pragma unroll
      for (int j = 0; j < PIECES; j++) send(place(r, a.rank, vector) + 16 * j, v[j]);
    }
  }
  // send_part sends this rank's vector to whoever sums it.
  __device__ __forceinline__ void send_part(int tile, int vector) const {
    if (!a.two_shot) {
      send_to_others(vector);
    } else if (!mine(tile)) {
      send_to(tile % a.ranks, vector);
    }
  }

  __device__ __forceinline__ static void floats(const Vec4* v, float* f) {
    if (PIECES == 1) {
      unpack(v[0], f);
    } else {
      floats8(v[0], v[PIECES - 1], f);
    }
  }

  // sum adds up what all ranks have of a tile, two at a time.
  __device__ __forceinline__ void sum(int tile, float (&f)[PER][8]) {
#pragma unroll
    for (int i = 0; i < PER; i++)
#pragma unroll
      for (int j = 0; j < 8; j++) f[i][j] = 0.f;
#pragma unroll 1
    for (int first = 0; first < a.ranks; first += 2) {
      Vec4 v[PER][2][PIECES];
      u32 since = watch.now();
      each(tile, first, [&](int i, int s, int k) {
#pragma unroll
        for (int j = 0; j < PIECES; j++) v[i][s][j] = first + s == a.rank ? load16(part(k, j)) : look(place(a.rank, first + s, k) + 16 * j);
      });
      each(tile, first, [&](int i, int s, int k) {
#pragma unroll
        for (int j = 0; j < PIECES; j++) {
          if (first + s != a.rank) v[i][s][j] = taken(place(a.rank, first + s, k) + 16 * j, v[i][s][j]);
        }
        float g[8];
        floats(v[i][s], g);
#pragma unroll
        for (int j = 0; j < 8; j++) f[i][j] += g[j];
      });
      watch.wait(since);
    }
  }
  // each calls do for this thread's vectors of a tile, i-th and number k, of two ranks.
  template <typename Do>
  __device__ __forceinline__ void each(int tile, int first, Do act) const {
#pragma unroll
    for (int i = 0; i < PER; i++) {
      int k = vector(tile, i);
#pragma unroll
      for (int s = 0; s < 2; s++) {
        if (k >= 0 && first + s < a.ranks) act(i, s, k);
      }
    }
  }

  // result is the sum of a tile, whoever has made it.
  __device__ __forceinline__ void result(int tile, float (&f)[PER][8]) {
    if (!a.two_shot) return sum(tile, f);
    u32 since = watch.now();
#pragma unroll
    for (int i = 0; i < PER; i++) {
      int k = vector(tile, i);
      if (k < 0) continue;
      Vec4 v[PIECES];
#pragma unroll
      for (int j = 0; j < PIECES; j++) {
        u8* from = place(a.rank, tile % a.ranks, k) + 16 * j;
        v[j] = mine(tile) ? load16(part(k, j)) : taken(from, look(from));
      }
      floats(v, f[i]);
    }
    watch.wait(since);
  }

  // sum_mine sums the tiles that are this rank's to sum, and sends them to all.
  __device__ __forceinline__ void sum_mine(int tiles) {
    for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
      if (!mine(tile)) continue;
      float f[PER][8];
      sum(tile, f);
#pragma unroll
      for (int i = 0; i < PER; i++) {
        int k = vector(tile, i);
        if (k < 0) continue;
        write8(a.part, PIECES == 1, k, f[i]);
        send_to_others(k);
      }
    }
  }

  __device__ __forceinline__ void run() {
    int tiles = (a.vectors + a.width - 1) / a.width;
    for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
#pragma unroll
      for (int i = 0; i < PER; i++) {
        int k = vector(tile, i);
        if (k >= 0) send_part(tile, k);
      }
    }
    if (a.two_shot) sum_mine(tiles);
    for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
      float f[PER][8];
      result(tile, f);
#pragma unroll
      for (int i = 0; i < PER; i++) {
        int k = vector(tile, i);
        if (k < 0) continue;
        if (!NORM && !a.x) {
          write8(a.part, PIECES == 1, k, f[i]);
          continue;
        }
        float x[8];
        read8(a.x, 0, k, x);
#pragma unroll
        for (int j = 0; j < 8; j++) f[i][j] += x[j];
        write8(a.x, 0, k, f[i]);
      }
      if (NORM) norm(tile, f);
    }
    watch.stop(a.spent);
  }

  __device__ __forceinline__ void norm(int tile, float (&f)[PER][8]) const {
    __shared__ float scratch[WARP];
    float squares = 0.f;
#pragma unroll
    for (int i = 0; i < PER; i++)
#pragma unroll
      for (int j = 0; j < 8; j++) squares += vector(tile, i) < 0 ? 0.f : f[i][j] * f[i][j];
    float scale = rsqrtf(block_sum(squares, scratch) / (8 * a.width) + a.eps);
#pragma unroll
    for (int i = 0; i < PER; i++) {
      int k = vector(tile, i);
      if (k < 0) continue;
      float w[8];
      unpack(load16(a.w + 8 * (threadIdx.x + i * blockDim.x)), w);
#pragma unroll
      for (int j = 0; j < 8; j++) w[j] *= f[i][j] * scale;
      store16(a.y + 8 * k, pack8(w));
    }
  }
};

#define PUSH(NAME, THREADS, AT_ONCE, PIECES, NORM, PER) \
  extern "C" __global__ void __launch_bounds__(THREADS, AT_ONCE) NAME(const __grid_constant__ PushArgs a) { \
    wait_for_previous(); \
    let_next_start(); \
    Push<PIECES, NORM, PER>(a).run(); \
  }
PUSH(push, 512, 2, 1, false, 1)
PUSH(push_floats, 512, 2, 2, false, 1)
PUSH(push_norm, 448, 2, 1, true, 2)
PUSH(push_norm_wide, 896, 1, 1, true, 2)
