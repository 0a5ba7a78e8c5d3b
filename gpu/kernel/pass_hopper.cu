// decode_pass: all layers and the head of a decode step of one token, as one kernel.
//   x         f32  [H]                the residual stream: embedded; then behind the last layer
//   layers    PassLayer [L]           norms, bias (null: none) and pages of each layer
//   maps      TensorMap [5·L+2]       of each layer qkv [(Hq+2·Hkv)·D, H], o [H, Hq·D], gate_up [2·I, H],
//                                     down [H, I], pages, then the head [V, H]: kernel.PassTensors; and one of nothing
//   positions, token_slots, row_slots, row_lens  i32 [1]  a token's, as rope_write and paged_decode take them
//   table     i32  [·, M]             table[slot][p/S] is the page of position p
//   angles    f32  [·, D/2, 2]        cosine and sine by position
//   logits    f32  [V]                V 0: none
//   words     u64  [·]                what blocks tell each other: kernel.PassWords; zero at first
//   counts    u32  [2]                passes so far, blocks that are done with this one; zero at first
//   for each layer
//     q|k|v = rms_norm(x)·qkvᵀ (+ bias); norms of heads, RoPE; k and v enter pages
//     x += attention(q)·oᵀ;  g|u = rms_norm(x)·gate_upᵀ;  x += (silu(g)·u)·downᵀ
//   logits = rms_norm(x)·headᵀ
// Defines: HEADS (Hq), KV_HEADS (Hkv), HEAD_DIM (D: 128), PAGE_SIZE (S), PASS_WARPS, PASS_SPLITS
// Math:    bf16 products, fp32 sums; attention as paged_decode's. Sums are added up in one
//          order whatever blocks do when: same token, same bits.
//
// A step of one token reads each weight once, and what it computes is nothing
// beside that. Kernel by kernel memory stands still from the end of one product to the
// first bytes of the next. Here a block, one on each multiprocessor, stays for the
// whole pass. Which weights, keys and values it will read is known from the start, so
// one of its warps has them copied to a ring in shared memory in that order, across
// products and layers: while the others wait for what other blocks make, memory goes
// on, and what they multiply by then is already there. Only so many copies are on their
// way as keep memory busy: behind more of them all that blocks tell each other would wait, too.
//
// Rows of a matrix go to blocks by eights, each row's inputs to the block's warps by 64 in
// turns; the warps' sums are added up in shared memory. Blocks hand each other
// values as words (words.cuh), numbered by passes and layers. A place is written
// once a layer, by when all have read what it had in the layer before: what they made of that is what
// its writer's inputs are made of. A block with no part in a product neither reads nor
// writes its words.
//
// A key head's history is shared out among blocks, tile by tile among their warps. What
// each has of a head is a partial result, and each dimension of these is merged by a few lanes of
// some warp, which tells all others. The tile with the newest position is given its key and value
// in shared memory.
//
// What bounds small models is not memory but how many instructions and ways through the L2 follow one another
// from one product to the next, so little is done there.
//
// Launch:  a block of 8 warps, and 4 for copies, on each multiprocessor, all of which begin together: they
//          wait for each other
// Limit:   2·weights + 4·D·Hkv·L·min(len, window) bytes of memory traffic
// Checked: TestEmulatedPass and TestDecodePass against a model in float64; TestAloneLikeRows in
//          package cuda
#define WARPS PASS_WARPS
#define THREADS (WARPS * WARP)          // that compute
#define ALL_THREADS (THREADS + 4 * WARP) // with a warpgroup of which one warp copies
#define TILE 16
#define GROUP (HEADS / KV_HEADS)
#define ROW (HEAD_DIM * 2)
#define UNIT 1024                              // bytes of 8 rows × 64 inputs
#define UNITS 4
#define PIECE (UNITS * UNIT)                   // a warp's of a slot: four units, or the keys or the values of a tile
#define SLOT (WARPS * PIECE)                   // of the ring
#define PART (SLOT / 2)                        // that is copied at once: two units of each warp, or the tiles of half of them
#define STEP (64 * WARPS)                      // from a warp's unit to its next
#define HEAD_EIGHTS 16                        // blocks of eight outputs of the head that are summed at once
#define DIMS_TOGETHER 8                        // that a warp merges at once
#define MOST_SPLITS PASS_SPLITS
#define WHOLE 2 // tiles of each warp up to which a head is one block's
#define PER_LAYER 5 // maps
#define FLIGHT 2      // parts on their way at once
#define MOST_FLIGHT 3 // and where the slot AHEAD of the one to be filled is empty, too
#define AHEAD 3
static_assert(TILE * ROW == PIECE && HEAD_DIM == 128 && PAGE_SIZE % TILE == 0, "a piece has room for a tile, which is of one page");

struct PassLayer {
  const bf16* norm;
  const bf16* mlp_norm;
  const bf16* q_norm;
  const bf16* k_norm;
  const bf16* bias;
  bf16* kv;
};

struct PassArgs {
  float* x;
  const PassLayer* layers;
  const TensorMap* maps;
  const int* positions;
  const int* token_slots;
  const int* row_slots;
  const int* row_lens;
  const int* table;
  const float* angles;
  const bf16* head_norm;
  float* logits;
  u64* words;
  u32* counts;
  int n_layers, hidden, intermediate, vocab, table_stride, window;
  float eps, scale;
};

enum Phase { QKV, ATTEND, OUT, GATE, DOWN, PHASES, HEAD = PHASES }; // of layers; the head comes behind them

// Where in shared memory things lie, in bytes.
struct Places {
  u32 ring, full, empty, inputs, sums, small, squares, stats, heads, layers, shares;
};

template <int RING>
struct Pass {
  const PassArgs& a;
  Places at;
  int lane, warp;
  // The rows of x and the tiles of the block.
  int len, slot, first_tile, tiles;
  // Of attention: the block's key head and split, how many splits have tiles, and how many tiles the block has.
  int head, split, active, my_tiles = 0;
  float per_input; // 1 by the inputs of a norm
  int from = 0; // the slot that is written or read next
  u32 turn = 0; // of the ring's barriers
  // Of copies: how many parts have been sent and have landed, the oldest that may be on its way, and the turn of its barrier.
  int sent = 0, landed = 0, oldest = 0;
  u32 oldest_turn = 0;
  bool hurry = true;

  __device__ __forceinline__ explicit Pass(const PassArgs& args) : a(args) {}

  // A phase's matrix is read in pieces of two blocks of eight rows and two steps (of 64 inputs
  // for each warp), or of one block and four steps. A pair is of gates and what they multiply, or
  // of neighbours, where there are no more than two steps.
  __device__ __forceinline__ bool paired(int p) const { return p == GATE || (p == QKV || p == HEAD) && a.hidden <= 2 * STEP; }
  __device__ __forceinline__ int outputs(int p) const { return p == QKV ? (HEADS + 2 * KV_HEADS) * HEAD_DIM : p == GATE ? a.intermediate : p == HEAD ? a.vocab : a.hidden; }
  __device__ __forceinline__ int most_of(int p) const { // blocks of eight rows
    int n = outputs(p) / 8, pair = paired(p) ? 2 : 1;
    return p == GATE ? (n + gridDim.x - 1) / gridDim.x * 2 : (n / pair + gridDim.x - 1) / gridDim.x * pair;
  }
  // What a block has of a phase: first output, how many times rows of them, and of each row how
  // many steps, read in so many pieces of span steps.
  struct Share { int first, count, rows, steps, pieces, span; };
  __device__ __forceinline__ void divide(int p) const {
    u32 rows = p != GATE && paired(p) ? 16 : 8, n = outputs(p) / rows, from = n * blockIdx.x / gridDim.x, span = paired(p) ? 2 : 4;
    u32 in = p == OUT ? HEADS * HEAD_DIM : p == DOWN ? a.intermediate : a.hidden, steps = in / STEP;
    store_shared16(at.shares + p * 32, {from * rows, n * (blockIdx.x + 1) / gridDim.x - from, rows, steps});
    store_shared_words(at.shares + p * 32 + 16, (steps + span - 1) / span, span);
  }
  __device__ __forceinline__ Share share(int p) const {
    Vec4 v = load_shared16(at.shares + p * 32);
    u64 w = load_shared8(at.shares + p * 32 + 16);
    return {(int)v.x, (int)v.y, (int)v.z, (int)v.w, (int)(u32)w, (int)(w >> 32)};
  }
  __device__ __forceinline__ u64 pointer(int l, int which) const { return load_shared8(at.layers + l * (u32)sizeof(PassLayer) + which * 8); }

  __device__ __forceinline__ int splits() const { return min((int)gridDim.x / KV_HEADS, MOST_SPLITS); }
  __device__ __forceinline__ bool attends() const { return head < KV_HEADS && split < active; }
  __device__ __forceinline__ int tile_of(int i) const { return split + active * i; } // from the first that is seen

  // locate finds what the step looks at, which the kernels before this one say.
  __device__ __forceinline__ void locate() {
    wait_for_previous();
    len = a.row_lens[0], slot = a.row_slots[0];
    first_tile = max(0, len - a.window) / TILE;
    tiles = (len + TILE - 1) / TILE - first_tile;
    active = tiles <= WHOLE * WARPS ? 1 : min(splits(), (tiles + WARPS - 1) / WARPS);
    if (attends()) my_tiles = max(0, (tiles - split + active - 1) / active);
  }

  __device__ __forceinline__ u32 slot_at() const { return at.ring + from * SLOT; }
  __device__ __forceinline__ u32 full(int part) const { return at.full + (from * 2 + part) * 8; }
  __device__ __forceinline__ u32 empty() const { return at.empty + from * 8; }
  __device__ __forceinline__ void passed() {
    if (++from == RING) from = 0, turn ^= 1;
  }

  // bring is what the last warp does: all copies, in the order in which they are read, as fast as the ring has room.
  __device__ __forceinline__ void bring() {
    turn = 1; // slots are empty at first
#pragma unroll 1
    for (int l = 0; l <= a.n_layers; l++) {
      const TensorMap* map = a.maps + l * PER_LAYER;
#pragma unroll 1
      for (int p = l < a.n_layers ? QKV : HEAD; p < (l < a.n_layers ? PHASES : HEAD + 1); p++) {
        if (p == ATTEND) {
          if (l == 0) locate();
          bring_tiles(a.maps + l * PER_LAYER + PER_LAYER - 1);
          continue;
        }
        if (p == HEAD && a.vocab == 0) break;
        Share s = share(p);
        int eight = s.first / 8, chunk = 0;
#pragma unroll 1
        for (int n = s.count * s.pieces; n > 0; n--) {
          begin_slot();
#pragma unroll 1
          for (int part = 0; part < 2; part++) {
            begin_part();
            if (lane == 0) barrier_expect(full(part), PART), copy_box(slot_at() + part * PART, map, 0, chunk + part * s.span / 2 * WARPS, 0, eight, full(part));
          }
          passed();
          chunk += s.span * WARPS;
          if (chunk >= s.steps * WARPS) chunk = 0, eight += s.rows / 8;
        }
        map++;
        if (lane == 0) bring_map(map);
      }
    }
  }
  // begin_slot waits until there is room. hurry says then that little is left for those who compute.
  __device__ __forceinline__ void begin_slot() {
    barrier_wait(empty(), turn);
    int next = from + AHEAD, around = next >= RING;
    hurry = barrier_is(at.empty + (around ? next - RING : next) * 8, turn ^ around);
  }
  // begin_part waits until no more than some others are on their way. What memory cannot deliver yet stands
  // before all else that a multiprocessor asks for, so there is no more of it than keeps memory busy.
  __device__ __forceinline__ void begin_part() {
    while (sent - landed >= (hurry ? MOST_FLIGHT : FLIGHT)) {
      barrier_wait(at.full + oldest * 8, oldest_turn);
      if (++oldest == 2 * RING) oldest = 0, oldest_turn ^= 1;
      landed++;
    }
    sent++;
  }
  // bring_tiles copies the block's tiles, the keys of one for each warp, then the values. The newest position's are not there yet.
  __device__ __forceinline__ void bring_tiles(const TensorMap* map) {
    int page = page_of(lane);
#pragma unroll 1
    for (int i = 0; i < my_tiles; i += WARPS) {
      int n = min(my_tiles - i, WARPS), row = (first_tile + tile_of(i + lane)) * TILE % PAGE_SIZE + head * PAGE_SIZE + page * (2 * KV_HEADS * PAGE_SIZE);
      page = page_of(i + WARPS + lane);
#pragma unroll 1
      for (int side = 0; side < 2; side++) {
        begin_slot();
#pragma unroll 1
        for (int part = 0; part < 2; part++) {
          begin_part();
          int first = part * (WARPS / 2), of = max(0, min(n - first, WARPS / 2));
          if (lane == 0) barrier_expect(full(part), of * PIECE);
          __syncwarp();
          if (lane >= first && lane < first + of) copy_box(slot_at() + lane * PIECE, map, row + side * KV_HEADS * PAGE_SIZE, 0, 0, 0, full(part));
        }
        passed();
      }
    }
  }
  __device__ __forceinline__ int page_of(int i) const { // of a tile
    return lane < WARPS && i < my_tiles ? a.table[(size_t)slot * a.table_stride + (first_tile + tile_of(i)) * TILE / PAGE_SIZE] : 0;
  }

  // leave says that the warp has read a slot.
  __device__ __forceinline__ void leave() {
    __syncwarp();
    if (lane == 0) barrier_arrive(empty());
    passed();
  }

  // multiply leaves each warp's sums of some of a phase's rows in shared memory, as sum_of has them.
  //
  // A product's left operand are eight rows of each of two units, one above the other. Of the right one columns of even number
  // are the inputs of the first, those of odd number of the second: that a unit's rows are multiplied by the
  // other's inputs, too, is nobody's.
  __device__ __forceinline__ void multiply(const Share& s, int count, u32 sums) {
    bool pair = s.span == 2;
    int k = 0, g = lane / 4;
    u32 x = at.inputs + warp * input_bytes() + lane % 4 * 32 + (pair ? 0 : g % 2 * 128), third = pair ? 128 : 256; // where units' inputs are
    u32 to = sums + warp * 4 + g * WARPS * 4;
    u32 w0 = warp * UNIT + g * 128 + (lane % 4 * 2 ^ g) * 16, w1 = warp * UNIT + g * 128 + (lane % 4 * 2 + 1 ^ g) * 16;
    float c[2][4] = {}; // of the first and the second 16 bytes that a lane has of a unit
#pragma unroll 1
    for (int n = count * s.pieces; n > 0; n--) {
      u32 slot = slot_at();
      Vec4 w[UNITS][2], y[UNITS / 2][2];
#pragma unroll
      for (int h = 0; h < UNITS / 2; h++) y[h][0] = load_shared16(x + k * 128 + h * third), y[h][1] = load_shared16(x + k * 128 + h * third + 16);
#pragma unroll
      for (int u = 0; u < UNITS; u++) {
        if (u % 2 == 0) barrier_wait(full(u / 2), turn);
        w[u][0] = load_shared16(slot + u * (SLOT / 4) + w0), w[u][1] = load_shared16(slot + u * (SLOT / 4) + w1);
      }
#pragma unroll
      for (int h = 0; h < UNITS / 2; h++)
#pragma unroll
        for (int j = 0; j < 2; j++) {
          const Vec4 &even = w[2 * h][j], &odd = w[2 * h + 1][j];
          u32 low[4] = {even.x, odd.x, even.y, odd.y}, high[4] = {even.z, odd.z, even.w, odd.w};
          multiply_add(c[j], low, y[h][j].x, y[h][j].y);
          multiply_add(c[j], high, y[h][j].z, y[h][j].w);
        }
      leave();
      if ((k += s.span) >= s.steps) {
        float even = c[0][0] + c[1][0], odd = c[0][3] + c[1][3];
        if (lane % 4 == 0) {
          store_shared(to, pair ? even : even + odd);
          if (pair) store_shared(to + WARPS * 32, odd);
        }
        to += WARPS * (pair ? 64 : 32), k = 0;
#pragma unroll
        for (int i = 0; i < 4; i++) c[0][i] = c[1][i] = 0.f;
      }
    }
  }
  __device__ __forceinline__ u32 input_bytes() const { // of a warp
    return (max(max(a.hidden, a.intermediate), HEADS * HEAD_DIM) / STEP + 3) / 4 * 4 * 128;
  }

  // Of a step's inputs 16 bytes, eight values, are a lane's. Steps up to the next piece's are zeros.
  __device__ __forceinline__ u32 eight_at(int i) const { return at.inputs + warp * input_bytes() + i * 16; }
  __device__ __forceinline__ void end_inputs(const Share& s) const {
    int spare = s.pieces * s.span - s.steps; // fewer than 4
    if (lane < spare * 8) store_shared16(eight_at(s.steps * 8 + lane), {0, 0, 0, 0});
    __syncwarp();
  }
  // scale multiplies two values by a norm's weights and adds up their squares.
  __device__ __forceinline__ u32 scale(float f, float g, u32 weights, float& squares) const {
    squares += f * f + g * g;
    return pack(f * low(weights), g * high(weights));
  }

  // first_inputs are the warp's part of the embedded token, times the norm's weights. It
  // returns the lane's sum of squares.
  __device__ __forceinline__ float first_inputs(const Share& s, const bf16* norm) {
    float squares = 0.f;
#pragma unroll 1
    for (int i = lane; i < s.steps * 8; i += WARP) {
      int e = i / 8 * STEP + warp * 64 + i % 8 * 8;
      Vec4 w = load16(norm + e), f = load16(a.x + e), g = load16(a.x + e + 4);
      u32 x = scale(__uint_as_float(f.x), __uint_as_float(f.y), w.x, squares), y = scale(__uint_as_float(f.z), __uint_as_float(f.w), w.y, squares);
      u32 z = scale(__uint_as_float(g.x), __uint_as_float(g.y), w.z, squares), last = scale(__uint_as_float(g.z), __uint_as_float(g.w), w.w, squares);
      store_shared16(eight_at(i), {x, y, z, last});
    }
    end_inputs(s);
    return squares;
  }

  // take takes the warp's part of what is told by eights.
  __device__ __forceinline__ void take(const Share& s, const Vec4* words, u32 when) {
    constexpr int N = 3; // looks at once, of four steps each
    words += lane / 8 * (STEP / 8) + warp * 8 + lane % 8;
    u32 to = eight_at(lane);
#pragma unroll 1
    for (int left = s.steps - lane / 8, n = s.steps; n > 0; left -= 4 * N, n -= 4 * N, words += N * STEP / 2, to += N * WARP * 16) {
      Vec4 v[N];
      bool waiting;
      do {
        waiting = false;
#pragma unroll
        for (int j = 0; j < N; j++)
          if (4 * j < left) v[j] = look_at(words + j * STEP / 2);
#pragma unroll
        for (int j = 0; j < N; j++)
          if (4 * j < left) waiting |= !is_of(v[j], when);
      } while (__any_sync(FULL, waiting));
#pragma unroll
      for (int j = 0; j < N; j++)
        if (4 * j < left) store_shared16(to + j * WARP * 16, {v[j].x & ~1u, v[j].y, v[j].z, v[j].w});
    }
    end_inputs(s);
  }
  // take_stream takes its part of the residual stream, told by fours, times the norm's weights. It
  // returns the lane's sum of squares of that.
  __device__ __forceinline__ float take_stream(const Share& s, const Vec4* words, u32 when, const bf16* norm) {
    constexpr int N = 3; // looks at once, of two steps each
    int e = lane / 16 * (STEP / 4) + warp * 16 + lane % 16;
    words += e, norm += e * 4;
    u32 to = at.inputs + warp * input_bytes() + lane * 8;
    float squares = 0.f;
#pragma unroll 1
    for (int left = s.steps - lane / 16, n = s.steps; n > 0; left -= 2 * N, n -= 2 * N, words += N * STEP / 2, norm += N * STEP * 2, to += N * WARP * 8) {
      Vec4 v[N];
      uint2 w[N];
#pragma unroll
      for (int j = 0; j < N; j++)
        if (2 * j < left) w[j] = load8(norm + j * STEP * 2);
      bool waiting;
      do {
        waiting = false;
#pragma unroll
        for (int j = 0; j < N; j++)
          if (2 * j < left) v[j] = look_at(words + j * STEP / 2);
#pragma unroll
        for (int j = 0; j < N; j++)
          if (2 * j < left) waiting |= !is_of(v[j], when);
      } while (__any_sync(FULL, waiting));
#pragma unroll
      for (int j = 0; j < N; j++)
        if (2 * j < left) {
          u32 x = scale(__uint_as_float(v[j].x & ~1u), __uint_as_float(v[j].y), w[j].x, squares);
          store_shared_words(to + j * WARP * 8, x, scale(__uint_as_float(v[j].z), __uint_as_float(v[j].w), w[j].y, squares));
        }
    }
    end_inputs(s);
    return squares;
  }
  __device__ __forceinline__ void add_squares(float squares) const { // of the warp's part of a norm's inputs
    squares = warp_sum(squares);
    if (lane == 0) store_shared(at.squares + warp * 4, squares);
  }

  // tell_floats tells others what has become of the lane's row, if it has one, by fours.
  __device__ __forceinline__ void tell_floats(Vec4* words, int row, float x, bool has, u32 when) const {
    float y = __shfl_xor_sync(FULL, x, 1), z = __shfl_xor_sync(FULL, x, 2), w = __shfl_xor_sync(FULL, y, 2);
    if (has && lane % 4 == 0) tell_four(words + row / 4, x, y, z, w, when);
  }
  // eight are the values of eight lanes, the first of which has them.
  __device__ __forceinline__ Vec4 eight(float v) const {
    u32 a = pack(v, __shfl_xor_sync(FULL, v, 1)), b = __shfl_xor_sync(FULL, a, 2), c = __shfl_xor_sync(FULL, a, 4);
    return {a, b, c, __shfl_xor_sync(FULL, b, 4)};
  }

  // sum_of is what the warps have of a row, side by side.
  __device__ __forceinline__ float sum_of(u32 sums, int row) const {
    float v = 0.f;
#pragma unroll
    for (int w = 0; w < WARPS; w += 4) {
      Vec4 x = load_shared16(sums + (row * WARPS + w) * 4);
      v += __uint_as_float(x.x) + __uint_as_float(x.y) + (__uint_as_float(x.z) + __uint_as_float(x.w));
    }
    return v;
  }
  __device__ __forceinline__ float norm_factor() const { return rsqrtf(sum_of(at.squares, 0) * per_input + a.eps); }

  // ready is a head that the block's attention looks at, as queries, keys and values are
  // told, normed and turned: dimensions 4·lane and the next three.
  __device__ __forceinline__ uint2 ready(const Vec4* words, u32 when, const bf16* norm, bool turn, const float* angle) const {
    uint2 w = norm ? load8(norm + lane * 4) : make_uint2(0, 0);
    Vec4 v;
    do v = look_at(words + lane);
    while (__any_sync(FULL, !is_of(v, when)));
    float f[4] = {__uint_as_float(v.x & ~1u), __uint_as_float(v.y), __uint_as_float(v.z), __uint_as_float(v.w)};
    if (norm) {
      float scale = rsqrtf(warp_sum(f[0] * f[0] + f[1] * f[1] + f[2] * f[2] + f[3] * f[3]) / HEAD_DIM + a.eps);
      f[0] *= scale * low(w.x), f[1] *= scale * high(w.x), f[2] *= scale * low(w.y), f[3] *= scale * high(w.y);
    }
    if (turn) {
#pragma unroll
      for (int i = 0; i < 4; i++) {
        float other = __shfl_xor_sync(FULL, f[i], 16);
        f[i] = f[i] * angle[2 * i] + (lane < 16 ? -other : other) * angle[2 * i + 1];
      }
    }
    return make_uint2(pack(f[0], f[1]), pack(f[2], f[3]));
  }

  // prepare leaves the block's queries in shared memory and, in that which has the newest
  // position, its key and value, which also enter its page.
  __device__ __forceinline__ void prepare(int l, const Vec4* words, u32 when, const float* angle, u64 newest) {
    bool last = tiles > 0 && (tiles - 1) % active == split;
    for (int i = warp; i < GROUP + (last ? 2 : 0); i += WARPS) {
      int which = i < GROUP ? head * GROUP + i : HEADS + (i - GROUP) * KV_HEADS + head;
      const bf16* norm = (const bf16*)(i < GROUP ? pointer(l, 2) : i == GROUP ? pointer(l, 3) : 0);
      uint2 out = ready(words + which * (HEAD_DIM / 4), when, norm, i <= GROUP, angle);
      store_shared_words(at.heads + i * ROW + lane * 8, out.x, out.y);
      if (i >= GROUP && newest != ~0ull) *(uint2*)((bf16*)pointer(l, 5) + newest + (size_t)((i - GROUP) * KV_HEADS + head) * PAGE_SIZE * HEAD_DIM + lane * 4) = out;
    }
  }

  // patch puts the newest key or value into a tile. Behind it may be anything, of values nothing that is
  // multiplied by 0.
  __device__ __forceinline__ void patch(u32 tile, int side) const {
    int newest = (len - 1) % TILE, chunk = lane % 16;
    tile += chunk / 8 * (PIECE / 2);
    if (lane < 16) store_shared16(tile + newest * 128 + (chunk ^ newest) % 8 * 16, load_shared16(at.heads + (GROUP + side) * ROW + chunk * 16));
    if (side == 1) {
#pragma unroll
      for (int i = 0; i < TILE; i += 2) {
        int row = i + lane / 16;
        if (row > newest) store_shared16(tile + row * 128 + (chunk ^ row) % 8 * 16, {0, 0, 0, 0});
      }
    }
    __syncwarp();
  }

  // look_back is attention of the block's queries over the warp's tiles.
  __device__ __forceinline__ void look_back() {
    constexpr int KS = HEAD_DIM / 16, NS = HEAD_DIM / 8;
    constexpr bool WIDE = GROUP > 8; // rows 8 to 15 hold heads
    int g = lane / 4, column = lane % 4 * 2;
    u32 q = at.heads + g * ROW + column * 2;
    float o[NS][4], top[2] = {NEGATIVE_INFINITY, NEGATIVE_INFINITY}, sum[2] = {0.f, 0.f};
#pragma unroll
    for (int i = 0; i < NS; i++) o[i][0] = o[i][1] = o[i][2] = o[i][3] = 0.f;
#pragma unroll 1
    for (int i = 0; i < my_tiles; i += WARPS) {
      int tile = tile_of(i + warp), base = (first_tile + tile) * TILE;
      bool is = i + warp < my_tiles, newest = is && tile == tiles - 1;
      barrier_wait(full(warp / (WARPS / 2)), turn);
      u32 keys = slot_at() + warp * PIECE, p[4] = {};
      if (is) {
        if (newest) patch(keys, 0);
        keys += (lane / 16 * 8 + lane % 8) * 128;
        float s[4][4] = {}; // of keys 0 to 7 and 8 to 15, of even and of odd pieces of the head
        u32 x[KS][4] = {}, k[KS][4];
#pragma unroll
        for (int j = 0; j < KS; j++) {
          if (g < GROUP) x[j][0] = load_shared4(q + j * 32), x[j][2] = load_shared4(q + j * 32 + 16);
          if (WIDE && g + 8 < GROUP) x[j][1] = load_shared4(q + 8 * ROW + j * 32), x[j][3] = load_shared4(q + 8 * ROW + j * 32 + 16);
          load_matrices(k[j], keys + j / 4 * (PIECE / 2) + (j % 4 * 2 + lane / 8 % 2 ^ lane % 8) * 16);
        }
#pragma unroll
        for (int j = 0; j < KS; j++) {
          multiply_add(s[j % 2 * 2], x[j], k[j][0], k[j][1]);
          multiply_add(s[j % 2 * 2 + 1], x[j], k[j][2], k[j][3]);
        }
#pragma unroll
        for (int h = 0; h < (WIDE ? 2 : 1); h++) {
          float z[4], highest = NEGATIVE_INFINITY;
#pragma unroll
          for (int j = 0; j < 4; j++) {
            int e = h * 2 + j % 2, position = base + j / 2 * 8 + column + j % 2;
            z[j] = position < len && len - 1 - position < a.window ? (s[j / 2][e] + s[j / 2 + 2][e]) * a.scale : NEGATIVE_INFINITY;
            highest = fmaxf(highest, z[j]);
          }
          highest = fmaxf(highest, __shfl_xor_sync(FULL, highest, 1));
          highest = fmaxf(highest, __shfl_xor_sync(FULL, highest, 2));
          highest = fmaxf(highest, top[h]);
          float shrink = exp2_fast(top[h] - highest);
          top[h] = highest;
          sum[h] *= shrink;
#pragma unroll
          for (int j = 0; j < 4; j++) z[j] = exp2_fast(z[j] - highest), sum[h] += z[j];
          p[h] = pack(z[0], z[1]), p[h + 2] = pack(z[2], z[3]);
#pragma unroll
          for (int j = 0; j < NS; j++) o[j][h * 2] *= shrink, o[j][h * 2 + 1] *= shrink;
        }
      }
      if (newest) copies_visible(); // that what was patched may be overwritten by the copy engine
      leave();
      barrier_wait(full(warp / (WARPS / 2)), turn);
      u32 values = slot_at() + warp * PIECE;
      if (is) {
        if (newest) patch(values, 1);
        values += (lane / 8 % 2 * 8 + lane % 8) * 128;
        u32 v[NS / 2][4];
#pragma unroll
        for (int j = 0; j < NS; j += 2) load_matrices_transposed(v[j / 2], values + j / 8 * (PIECE / 2) + (j % 8 + lane / 16 ^ lane % 8) * 16);
#pragma unroll
        for (int j = 0; j < NS; j += 2) multiply_add(o[j], p, v[j / 2][0], v[j / 2][1]), multiply_add(o[j + 1], p, v[j / 2][2], v[j / 2][3]);
      }
      if (newest) copies_visible();
      leave();
    }
#pragma unroll
    for (int h = 0; h < (WIDE ? 2 : 1); h++) {
      sum[h] += __shfl_xor_sync(FULL, sum[h], 1);
      sum[h] += __shfl_xor_sync(FULL, sum[h], 2);
      int mine = g + h * 8;
      if (mine >= GROUP) continue;
      if (lane % 4 == 0) store_shared_floats(at.stats + (warp * GROUP + mine) * 8, make_float2(top[h], sum[h]));
      if (warp >= my_tiles) continue;
      u32 to = at.inputs + (warp * GROUP + mine) * HEAD_DIM * 4 + column * 4;
#pragma unroll
      for (int j = 0; j < NS; j++) store_shared_floats(to + j * 32, make_float2(o[j][h * 2], o[j][h * 2 + 1]));
    }
  }

  // add_up tells what the warps of the block have of its heads: the result if that is
  // all there is, else a partial one.
  __device__ __forceinline__ void add_up(u64* parts, u64* stats, Vec4* results, u32 when) {
    for (int i = threadIdx.x * 2; i < GROUP * HEAD_DIM; i += THREADS * 2) {
      int h = i / HEAD_DIM;
      float top = NEGATIVE_INFINITY, sum = 0.f, v[2] = {};
      float2 st[WARPS];
#pragma unroll
      for (int w = 0; w < WARPS; w++) st[w] = load_shared_floats(at.stats + (w * GROUP + h) * 8), top = fmaxf(top, st[w].x);
#pragma unroll
      for (int w = 0; w < WARPS; w++)
        if (st[w].y > 0.f) { // else it has no tile
          float2 x = load_shared_floats(at.inputs + (w * GROUP * HEAD_DIM + i) * 4);
          float weight = exp2_fast(st[w].x - top);
          sum += st[w].y * weight;
          v[0] += x.x * weight, v[1] += x.y * weight;
        }
      if (active == 1) {
        float scale = sum > 0.f ? 1.f / sum : 0.f;
        u32 x = pack(v[0] * scale, v[1] * scale), y = __shfl_xor_sync(FULL, x, 1), z = __shfl_xor_sync(FULL, x, 2), w = __shfl_xor_sync(FULL, y, 2);
        if (lane % 4 == 0) tell_eight(results + (head * GROUP * HEAD_DIM + i) / 8, v[0] * scale, {x, y, z, w}, when);
      } else {
        u64* to = parts + (size_t)(blockIdx.x * GROUP * HEAD_DIM + i);
        tell(to, __float_as_uint(v[0]), when), tell(to + 1, __float_as_uint(v[1]), when);
        if (i % HEAD_DIM == 0) {
          to = stats + (blockIdx.x * GROUP + h) * 2;
          tell(to, __float_as_uint(top), when), tell(to + 1, __float_as_uint(sum), when);
        }
      }
    }
  }

  // merge makes results of partial ones, each warp some dimensions of a head at a time.
  __device__ __forceinline__ void merge(const u64* parts, const u64* stats, Vec4* results, u32 when) {
    constexpr int PIECES = HEAD_DIM / DIMS_TOGETHER, BESIDE = WARP / DIMS_TOGETHER, N = 4; // each lane, at once
#pragma unroll 1
    for (int m = blockIdx.x + gridDim.x * warp; m < HEADS * PIECES; m += gridDim.x * WARPS) {
      int h = m / PIECES, d = m % PIECES * DIMS_TOGETHER + lane % DIMS_TOGETHER;
      float top = NEGATIVE_INFINITY, sum = 0.f, all = 0.f;
#pragma unroll 1
      for (int s = lane / DIMS_TOGETHER, n = active; n > 0; s += N * BESIDE, n -= N * BESIDE) {
        Vec4 st[N];
        uint2 v[N];
        bool waiting;
        do {
          waiting = false;
#pragma unroll
          for (int j = 0; j < N; j++)
            if (s + j * BESIDE < active) {
              int part = (h / GROUP * splits() + s + j * BESIDE) * GROUP + h % GROUP;
              st[j] = look(stats + part * 2), v[j] = look_at_one(parts + (size_t)part * HEAD_DIM + d);
            }
#pragma unroll
          for (int j = 0; j < N; j++)
            if (s + j * BESIDE < active) waiting |= st[j].y != when || st[j].w != when || v[j].y != when;
        } while (__any_sync(FULL, waiting));
#pragma unroll
        for (int j = 0; j < N; j++)
          if (s + j * BESIDE < active) {
            float high = fmaxf(top, __uint_as_float(st[j].x)), shrink = exp2_fast(top - high), weight = exp2_fast(__uint_as_float(st[j].x) - high);
            top = high, sum = sum * shrink + __uint_as_float(st[j].z) * weight, all = all * shrink + __uint_as_float(v[j].x) * weight;
          }
      }
      __syncwarp();
#pragma unroll
      for (int d = DIMS_TOGETHER; d < WARP; d *= 2) {
        float other = __shfl_xor_sync(FULL, top, d), high = fmaxf(top, other), mine = top == high ? 1.f : exp2_fast(top - high), theirs = other == high ? 1.f : exp2_fast(other - high);
        sum = sum * mine + __shfl_xor_sync(FULL, sum, d) * theirs, all = all * mine + __shfl_xor_sync(FULL, all, d) * theirs;
        top = high;
      }
      float mine = all / sum;
      Vec4 v = eight(mine);
      if (lane == 0) tell_eight(results + (h * HEAD_DIM + d) / 8, mine, v, when);
    }
  }

  __device__ __forceinline__ void run(u32 memory) {
    lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    at.ring = memory;
    at.full = at.ring + RING * SLOT, at.empty = at.full + RING * 16;
    at.inputs = at.full + RING * 32;
    at.sums = at.inputs + WARPS * max(input_bytes(), (u32)(GROUP * HEAD_DIM * 4));
    at.small = at.sums + max(max(most_of(QKV), most_of(GATE)), HEAD_EIGHTS) * WARPS * 32;
    at.squares = at.small + most_of(OUT) * WARPS * 32;
    at.stats = at.squares + WARPS * 4;
    at.heads = at.stats + WARPS * GROUP * 8;
    at.layers = at.heads + (GROUP + 2) * ROW;
    at.shares = at.layers + a.n_layers * (u32)sizeof(PassLayer); // [HEAD + 1]
    per_input = 1.f / a.hidden;
    head = blockIdx.x / splits(), split = blockIdx.x % splits();

    let_next_start();
    for (int i = threadIdx.x; i < a.n_layers * (int)sizeof(PassLayer) / 16; i += ALL_THREADS) store_shared16(at.layers + i * 16, load16((const u8*)a.layers + i * 16));
    if (threadIdx.x < 2 * RING) barrier_init(at.full + threadIdx.x * 8, 1);
    if (threadIdx.x < RING) barrier_init(at.empty + threadIdx.x * 8, WARPS);
    barriers_visible();
    if (threadIdx.x <= HEAD && threadIdx.x != ATTEND) divide(threadIdx.x);
    __syncthreads();
    if (warp >= WARPS) {
      registers_lower<56>();
      if (warp == WARPS) bring();
    } else {
      registers_raise<224>();
      compute();
    }
  }
  // bring_norms has a layer's norms in L2 when they are needed.
  __device__ __forceinline__ void bring_norms(int l) const {
    for (int i = threadIdx.x; i < a.hidden / 64; i += THREADS) bring_to_l2((const bf16*)pointer(l, 0) + i * 64), bring_to_l2((const bf16*)pointer(l, 1) + i * 64);
    if (threadIdx.x < 4 && pointer(l, 2)) bring_to_l2((const bf16*)pointer(l, 2 + threadIdx.x / 2) + threadIdx.x % 2 * 64);
  }
  __device__ __forceinline__ void together() const { meet(1, THREADS); } // the warps that compute

  __device__ __forceinline__ void compute() {
    locate();
    int position = a.positions[0], kv_slot = a.token_slots[0];
    u32 passes = a.counts[0], time = passes * a.n_layers + 1;
    u64 newest = ~0ull; // where the newest key is, of the first head
    if (kv_slot >= 0) newest = ((size_t)a.table[(size_t)kv_slot * a.table_stride + position / PAGE_SIZE] * 2 * KV_HEADS * PAGE_SIZE + position % PAGE_SIZE) * HEAD_DIM;
    float angle[8];
#pragma unroll
    for (int i = 0; i < 8; i++) angle[i] = a.angles[(size_t)position * HEAD_DIM + lane % 16 * 8 + i];

    // Words: PassWords in pass.go makes room for them.
    Vec4* heads = (Vec4*)a.words;                                       // queries, keys and values, by fours
    u64* parts = (u64*)(heads + (HEADS + 2 * KV_HEADS) * HEAD_DIM / 4); // partial results of attention
    u64* stats = parts + MOST_SPLITS * HEADS * HEAD_DIM;           // their maxima and denominators
    Vec4* results = (Vec4*)(stats + MOST_SPLITS * HEADS * 2);      // of attention, by eights
    Vec4* middle = results + HEADS * HEAD_DIM / 8;                 // the residual stream behind attention, by fours
    Vec4* ends = middle + a.hidden / 4;                            // and at the end of layers
    Vec4* gates = ends + a.hidden / 4;                             // by eights

    // Rows of the residual stream are kept by who adds to them.
    Share mine = share(OUT);
    int own = mine.first + threadIdx.x;
    bool owns = (int)threadIdx.x < mine.count * 8;
    float x = owns ? a.x[own] : 0.f;

#pragma unroll 1
    for (int l = 0; l < a.n_layers; l++) {
      u32 when = time + l;
      if (l + 1 < a.n_layers && blockIdx.x == l % 64) bring_norms(l + 1);
#pragma unroll 1
      for (int p = QKV; p < PHASES; p += p == QKV ? 2 : 1) {
        Share s = share(p);
        int outs = s.count * s.rows;
        bool of_stream = p == QKV || p == GATE;
        u32 sums = of_stream ? at.sums : at.small;
        if (s.count > 0) {
          float squares = 0.f;
          if (p == QKV && l == 0) {
            squares = first_inputs(s, (const bf16*)pointer(l, 0));
          } else if (of_stream) {
            squares = take_stream(s, p == QKV ? ends : middle, p == QKV ? when - 1 : when, (const bf16*)pointer(l, p == GATE));
          } else {
            take(s, p == OUT ? results : gates, when);
          }
          multiply(s, s.count, sums);
          if (of_stream) add_squares(squares);
          together();
          if (!of_stream) {
            if (owns) x += sum_of(sums, threadIdx.x);
            if (warp * WARP < outs) tell_floats(p == OUT ? middle : ends, own, x, owns, when);
            if (owns && p == DOWN && l + 1 == a.n_layers) a.x[own] = x;
          } else {
            float factor = norm_factor();
            const bf16* bias = (const bf16*)pointer(l, 4);
#pragma unroll 1
            for (int i = threadIdx.x; i < (outs + WARP - 1) / WARP * WARP; i += THREADS) {
              bool is = i < outs;
              if (p == QKV) {
                float v = is ? sum_of(sums, i) * factor : 0.f;
                if (bias && is) v += from_bf16(bias[s.first + i]);
                tell_floats(heads, s.first + i, v, is, when);
              } else {
                int row = i / 8 * 16 + i % 8;
                float g = is ? sum_of(sums, row) * factor : 0.f, u = is ? sum_of(sums, row + 8) * factor : 0.f;
                g = g / (1.f + exp2_fast(-LOG2E * g)) * u;
                Vec4 v = eight(g);
                if (is && i % 8 == 0) tell_eight(gates + (s.first + i) / 8, g, v, when);
              }
            }
          }
        }
        if (p != QKV) continue;
        if (attends()) {
          prepare(l, heads, when, angle, newest);
          together();
          look_back();
          together();
          add_up(parts, stats, results, when);
          together(); // what the warps had has been read
        }
        if (active > 1) merge(parts, stats, results, when);
      }
    }
    if (a.vocab > 0) {
      Share s = share(HEAD);
      add_squares(take_stream(s, ends, time + a.n_layers - 1, a.head_norm));
      int some = HEAD_EIGHTS * 8 / s.rows;
#pragma unroll 1
      for (int done = 0; done < s.count; done += some) {
        int now = min(some, s.count - done);
        multiply(s, now, at.sums);
        together();
        float factor = norm_factor();
        for (int i = threadIdx.x; i < now * s.rows; i += THREADS) a.logits[s.first + done * s.rows + i] = sum_of(at.sums, i) * factor;
        together(); // the sums have been read
      }
    }
    together();
    if (threadIdx.x == 0 && atomicAdd(a.counts + 1, 1u) == gridDim.x - 1) a.counts[1] = 0, a.counts[0] = passes + 1;
  }
};

#define KERNEL(NAME, RING)                                                                                   \
  extern "C" __global__ void __launch_bounds__(ALL_THREADS, 1) NAME(const __grid_constant__ PassArgs a) { \
    extern __shared__ __align__(1024) u8 memory[];                                                            \
    Pass<RING> pass(a);                                                                                      \
    pass.run(shared_address(memory));                                                                        \
  }
KERNEL(decode_pass_4, 4)
KERNEL(decode_pass_5, 5)
KERNEL(decode_pass_6, 6)
