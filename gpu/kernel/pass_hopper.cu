// decode_pass: all layers and the head of a decode step of one token, as one kernel.
//   x         f32  [H]                the residual stream: embedded; then behind the last layer
//   layers    PassLayer [L]           norms, bias (null: none) and pages of each layer
//   maps      TensorMap [4·L+2]       of each layer qkv [(Hq+2·Hkv)·D, H], o [H, Hq·D], gate_up [2·I, H],
//                                     down [H, I], then the head [V, H]: kernel.PassTensors; and one of nothing
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
// whole pass. Which weights, keys and values each of its warps will read is known from
// the start, so a warp has them copied to shared memory in that order as fast as its ring
// has room, across products and layers: while it waits for what other blocks make,
// memory goes on, and what it multiplies by then is already there.
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
// What bounds small models is not memory but how many instructions follow one another
// from one product to the next, so little is done there: a slot is filled again when
// what was made of it is told.
//
// Launch:  a block of 8 warps on each multiprocessor. All of them must have begun before
//          any can end: what runs before them ends by itself, and what comes behind them
//          in the stream begins when they have all begun
// Limit:   2·weights + 4·D·Hkv·L·min(len, window) bytes of memory traffic
// Checked: TestEmulatedPass and TestDecodePass against a model in float64; TestAloneLikeRows in
//          package cuda
#define WARPS PASS_WARPS
#define THREADS (WARPS * WARP)
#define TILE 16
#define GROUP (HEADS / KV_HEADS)
#define ROW (HEAD_DIM * 2)
#define UNIT 1024                              // bytes of 8 rows × 64 inputs
#define SLOT 4096                              // of a ring: four units, or the keys or the values of a tile
#define UNITS 4
#define STEP (64 * WARPS)                      // from a warp's unit to its next
#define HEAD_EIGHTS 16                        // blocks of eight outputs of the head that are summed at once
#define DIMS_TOGETHER 8                        // that a warp merges at once
#define MOST_SPLITS PASS_SPLITS
#define WHOLE 2 // tiles of each warp up to which a head is one block's
static_assert(UNITS * UNIT == SLOT && TILE * ROW == SLOT, "a slot has room for four units");

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
  u32 ring, barriers, inputs, sums, small, squares, stats, heads, layers, shares;
};

template <int RING>
struct Pass {
  const PassArgs& a;
  Places at;
  int lane, warp;
  u32 slots, barriers; // the warp's ring, and a barrier for each of its slots
  // The rows of x and the tiles of the block.
  int len, slot, first_tile, tiles;
  // Of attention: the block's key head and split, how many splits have tiles, and how many tiles the warp has.
  int head, split, active, my_tiles = 0;

  // What is copied next, and to which slot: left pieces of a phase, the next one from row
  // and step k of ks on, or of a tile's keys (even k) or values.
  int layer = 0, phase = QKV, left = 0, row = 0, k = 0, ks = 0, span = 0, rows = 0, into = 0, page = 0;
  const TensorMap* map;
  float per_input; // 1 by the inputs of a norm
  int from = 0; // the slot that is read next
  u32 turn = 0; // of the ring's barriers

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
  __device__ __forceinline__ int tile_of(int i) const { return split + active * (warp + i * WARPS); } // from the first that is seen

  __device__ __forceinline__ int page_of(int i) const { // of the lane's position in the warp's i-th tile
    int p = (first_tile + tile_of(i)) * TILE + lane % TILE;
    return p < len ? a.table[(size_t)slot * a.table_stride + p / PAGE_SIZE] : 0;
  }

  // begin_copies goes on to the next phase in which the warp has something to copy.
  __device__ __forceinline__ void begin_copies() {
    for (left = 0; layer <= a.n_layers; phase++) {
      if (phase >= PHASES) {
        phase = ++layer < a.n_layers ? QKV : HEAD;
        if (layer > a.n_layers) break;
      }
      k = 0;
      if (phase == ATTEND) {
        left = 2 * my_tiles;
      } else {
        Share s = share(phase);
        row = s.first, rows = s.rows, ks = s.steps, span = s.span, left = s.count * s.pieces;
        map = a.maps + layer * 4 + (phase == QKV || phase == HEAD ? 0 : phase - 1);
        if (threadIdx.x == 0) bring_map(map + 1);
      }
      if (left > 0) break;
    }
  }
  // copy has the next piece on its way, if there is one, to a slot that has been read.
  __device__ __forceinline__ void copy() {
    u32 to = slots + into * SLOT, barrier = barriers + into * 8;
    into = into == RING - 1 ? 0 : into + 1;
    __syncwarp();
    if (left > 0) {
      if (phase == ATTEND) {
        if (lane == 0) barrier_arrive(barrier); // these copies are counted otherwise
        copy_tile(to);
      } else {
        if (lane == 0) barrier_expect(barrier, SLOT), copy_piece_of(to, map, warp * 64, row, k, barrier);
        k += span;
        if (k >= ks) k = 0, row += rows;
        left--;
      }
      if (left == 0) phase++, begin_copies();
    }
    copies_commit();
  }

  // copy_tile copies a tile's keys, then its values; the newest position's are not there yet.
  __device__ __forceinline__ void copy_tile(u32 to) {
    int side = k & 1, base = (first_tile + tile_of(k / 2)) * TILE;
    const u8* kv = (const u8*)pointer(layer, 5);
#pragma unroll
    for (int i = 0; i < TILE * ROW / 16 / WARP; i++) {
      int row = i * (WARP * 16 / ROW) + lane / (ROW / 16), chunk = lane % (ROW / 16), position = base + row;
      size_t p = __shfl_sync(FULL, page, row);
      const u8* from = kv + (((p * 2 + side) * KV_HEADS + head) * PAGE_SIZE + position % PAGE_SIZE) * ROW + chunk * 16;
      copy16(to + row * ROW + (chunk ^ row % 8) * 16, from, position < len - 1 && len - 1 - position < a.window);
    }
    left--, k++;
    if (side == 1) page = page_of(left > 0 ? k / 2 : 0);
  }

  __device__ __forceinline__ void passed() {
    if (++from == RING) from = 0, turn ^= 1;
  }

  // multiply leaves each warp's sums of some of a phase's rows in shared memory.
  //
  // Of a product's left operand only row 0 is a token's, and (g + 8) row 8 the same token with
  // other inputs: inputs lie in shared memory as lanes 0 to 3 have them. What other rows are is nobody's.
  __device__ __forceinline__ void multiply(const Share& s, int count, u32 sums) {
    bool pair = s.span == 2;
    int k = 0, g = lane / 4;
    u32 x = at.inputs + warp * input_bytes() + lane % 4 * 32, to = sums + warp * 32 + lane % 4 * 8;
    u32 w0 = g * 128 + (lane % 4 * 2 ^ g) * 16, w1 = g * 128 + (lane % 4 * 2 + 1 ^ g) * 16;
    u32 second = pair ? 0 : 128, third = pair ? 128 : 256; // units' steps
    Vec4 y[UNITS][2] = {};
    float c[2][2][4] = {}; // of units of even and of odd number, each of the left and the right half of a lane's inputs
#pragma unroll 1
    for (int n = count * s.pieces; n > 0; n--) {
      barrier_wait(barriers + from * 8, turn);
      u32 slot = slots + from * SLOT;
      Vec4 w[UNITS][2];
#pragma unroll
      for (int u = 0; u < UNITS; u++) w[u][0] = load_shared16(slot + w0 + u * UNIT), w[u][1] = load_shared16(slot + w1 + u * UNIT);
      u32 from_x = x + k * 128;
      if (lane < 4) {
#pragma unroll
        for (int u = 0; u < UNITS; u++) {
          u32 at = from_x + (u % 2 ? second : 0) + (u / 2 ? third : 0);
          y[u][0] = load_shared16(at), y[u][1] = load_shared16(at + 16);
        }
      }
      __syncwarp();
#pragma unroll
      for (int u = 0; u < UNITS; u++)
#pragma unroll
        for (int j = 0; j < 2; j++) {
          u32 left[4] = {y[u][j].x, y[u][j].y, y[u][j].z, y[u][j].w};
          multiply_add(c[u % 2][0], left, w[u][j].x, w[u][j].y);
          multiply_add(c[u % 2][1], left, w[u][j].z, w[u][j].w);
        }
      if ((k += s.span) >= s.steps) {
        float2 even = make_float2(c[0][0][0] + c[0][1][2], c[0][0][1] + c[0][1][3]), odd = make_float2(c[1][0][0] + c[1][1][2], c[1][0][1] + c[1][1][3]);
        if (lane < 4) {
          store_shared_floats(to, pair ? even : make_float2(even.x + odd.x, even.y + odd.y));
          if (pair) store_shared_floats(to + WARPS * 32, odd);
        }
        to += (pair ? 2 : 1) * WARPS * 32, k = 0;
#pragma unroll
        for (int i = 0; i < 4; i++) c[0][0][i] = c[0][1][i] = c[1][0][i] = c[1][1][i] = 0.f;
      }
      passed();
      if (n > 1) copy(); // to where this was; the last waits until others have what is made here
    }
  }
  __device__ __forceinline__ u32 input_bytes() const { // of a warp
    return (max(max(a.hidden, a.intermediate), HEADS * HEAD_DIM) / STEP + 3) / 4 * 4 * 128;
  }

  // Of a step's inputs 16 bytes, eight values, are a lane's: the two words in the middle change
  // places, as multiply wants them. Steps up to the next piece's are zeros.
  __device__ __forceinline__ u32 word_at(int word) const { return at.inputs + warp * input_bytes() + word / 4 * 16 + (word & 1) * 8 + (word & 2) * 2; }
  __device__ __forceinline__ void end_inputs(const Share& s) const {
    int spare = s.pieces * s.span - s.steps; // fewer than 4
    if (lane < spare * 8) store_shared16(at.inputs + warp * input_bytes() + s.steps * 128 + lane * 16, {0, 0, 0, 0});
    __syncwarp();
  }

  // first_inputs are the warp's part of the embedded token, times the norm's weights; squares
  // are added up.
  __device__ __forceinline__ void first_inputs(const Share& s, const bf16* norm) {
    u32 to = word_at(lane);
    float squares = 0.f;
#pragma unroll 1
    for (int i = 0; i < s.steps; i++) {
      int e = i * STEP + warp * 64 + lane * 2;
      u32 w = *(const u32*)(norm + e);
      float f = a.x[e], g = a.x[e + 1];
      squares += f * f + g * g;
      store_shared4(to + i * 128, pack(f * low(w), g * high(w)));
    }
    squares = warp_sum(squares);
    if (lane == 0) store_shared(at.squares + warp * 4, squares);
    end_inputs(s);
  }

  // take takes the warp's part of what is told in pairs of bf16 and, of the residual stream, of
  // the sums of squares that follow it.
  __device__ __forceinline__ void take(const Share& s, const u64* words, u32 when, bool squares) {
    constexpr int N = 6; // looks at once
    int mine = squares ? s.steps * (STEP / 8 / WARPS) : 0;
    const u64* more = words + s.steps * (STEP / 2) + warp * mine + lane * 2;
    Vec4 first = {0, when, 0, when};
    if (lane * 2 < mine) first = look(more);
    u32 to = word_at(lane % 16 * 2);
    words += warp * 32 + lane % 16 * 2;
#pragma unroll 1
    for (int base = lane / 16; base - lane / 16 < s.steps; base += 2 * N) {
      Vec4 v[N];
      bool waiting;
      do {
        waiting = false;
#pragma unroll
        for (int i = 0; i < N; i++)
          if (base + 2 * i < s.steps) v[i] = look(words + (base + 2 * i) * (STEP / 2));
#pragma unroll
        for (int i = 0; i < N; i++)
          if (base + 2 * i < s.steps) waiting |= v[i].y != when || v[i].w != when;
        if (waiting) look_again();
      } while (waiting);
#pragma unroll
      for (int i = 0; i < N; i++)
        if (base + 2 * i < s.steps) store_shared4(to + (base + 2 * i) * 128, v[i].x), store_shared4(to + (base + 2 * i) * 128 + 8, v[i].z);
    }
    if (squares) {
      float sum = 0.f;
#pragma unroll 1
      for (int i = lane * 2; i < mine; i += 2 * WARP, more += 2 * WARP) {
        Vec4 v = i < 2 * WARP ? first : look(more);
        while ((v.y != when || v.w != when)) look_again(), v = look(more);
        sum += __uint_as_float(v.x) + __uint_as_float(v.z);
      }
      __syncwarp();
      sum = warp_sum(sum);
      if (lane == 0) store_shared(at.squares + warp * 4, sum);
    }
    end_inputs(s);
  }

  // give tells others what the residual stream has become, times the weights of the norm that
  // comes next, and the squares of each eight rows.
  __device__ __forceinline__ void give(u64* words, int row, float x, float weight, bool owns, u32 when) const {
    float y = x * weight, neighbour = __shfl_xor_sync(FULL, y, 1), square = x * x;
#pragma unroll
    for (int d = 1; d < 8; d *= 2) square += __shfl_xor_sync(FULL, square, d);
    if (owns && row % 2 == 0) tell(words + row / 2, pack(y, neighbour), when);
    if (owns && row % 8 == 0) tell(words + a.hidden / 2 + row / 8, __float_as_uint(square), when);
  }

  // sum_of is what the warps have of a row of a block of eight.
  __device__ __forceinline__ float sum_of(u32 sums, int eight, int row) const {
    float v = 0.f;
#pragma unroll
    for (int w = 0; w < WARPS; w++) v += load_shared_float(sums + (eight * WARPS + w) * 32 + row * 4);
    return v;
  }
  __device__ __forceinline__ float norm_factor() const {
    float sum = 0.f;
#pragma unroll
    for (int w = 0; w < WARPS; w++) sum += load_shared_float(at.squares + w * 4);
    return rsqrtf(sum * per_input + a.eps);
  }

  // ready is a head that the block's attention looks at, as queries, keys and values are
  // told, normed and turned: dimensions 2·lane and 2·lane + 64, and their neighbours.
  __device__ __forceinline__ void ready(u32* out, const u64* words, u32 when, const bf16* norm, bool turn, const float* angle) const {
    u32 w[2] = {};
    if (norm) w[0] = *(const u32*)(norm + lane * 2), w[1] = *(const u32*)(norm + HEAD_DIM / 2 + lane * 2);
    Vec4 v[2];
    do {
      v[0] = look(words + lane * 2), v[1] = look(words + HEAD_DIM / 2 + lane * 2);
      if (v[0].y == when && v[0].w == when && v[1].y == when && v[1].w == when) break;
      look_again();
    } while (true);
    __syncwarp();
    float f[4] = {__uint_as_float(v[0].x), __uint_as_float(v[0].z), __uint_as_float(v[1].x), __uint_as_float(v[1].z)};
    if (norm) {
      float scale = rsqrtf(warp_sum(f[0] * f[0] + f[1] * f[1] + f[2] * f[2] + f[3] * f[3]) / HEAD_DIM + a.eps);
      f[0] *= scale * low(w[0]), f[1] *= scale * high(w[0]), f[2] *= scale * low(w[1]), f[3] *= scale * high(w[1]);
    }
    if (turn) {
      float x0 = f[0], x1 = f[1];
      f[0] = x0 * angle[0] - f[2] * angle[1], f[2] = f[2] * angle[0] + x0 * angle[1];
      f[1] = x1 * angle[2] - f[3] * angle[3], f[3] = f[3] * angle[2] + x1 * angle[3];
    }
    out[0] = pack(f[0], f[1]), out[1] = pack(f[2], f[3]);
  }

  // prepare leaves the block's queries in shared memory and, in that which has the newest
  // position, its key and value, which also enter its page.
  __device__ __forceinline__ void prepare(int l, u64* words, u32 when, const float* angle, u64 newest) {
    bool last = tiles > 0 && (tiles - 1) % active == split;
    for (int i = warp; i < GROUP + (last ? 2 : 0); i += WARPS) {
      int which = i < GROUP ? head * GROUP + i : HEADS + (i - GROUP) * KV_HEADS + head;
      const bf16* norm = (const bf16*)(i < GROUP ? pointer(l, 2) : i == GROUP ? pointer(l, 3) : 0);
      u32 out[2];
      ready(out, words + which * HEAD_DIM, when, norm, i <= GROUP, angle);
      u32 to = at.heads + i * ROW + lane * 4;
      store_shared4(to, out[0]), store_shared4(to + ROW / 2, out[1]);
      if (i >= GROUP && newest != ~0ull) {
        u32* kv = (u32*)((bf16*)pointer(l, 5) + newest + (size_t)((i - GROUP) * KV_HEADS + head) * PAGE_SIZE * HEAD_DIM);
        kv[lane] = out[0], kv[lane + HEAD_DIM / 4] = out[1];
      }
    }
  }

  // patch puts the newest key or value into a tile.
  __device__ __forceinline__ void patch(u32 tile, int side) {
    if (lane < ROW / 16) store_shared16(tile + (len - 1) % TILE * ROW + (lane ^ (len - 1) % 8) * 16, load_shared16(at.heads + (GROUP + side) * ROW + lane * 16));
    __syncwarp();
  }

  // look_back is attention of the block's queries over the warp's tiles.
  __device__ __forceinline__ void look_back() {
    constexpr int KS = HEAD_DIM / 16, NS = HEAD_DIM / 8;
    constexpr bool WIDE = GROUP > 8; // rows 8 to 15 hold heads
    int n = my_tiles, g = lane / 4, column = lane % 4 * 2;
    u32 q = at.heads + g * ROW + column * 2;
    float o[NS][4], top[2] = {NEGATIVE_INFINITY, NEGATIVE_INFINITY}, sum[2] = {0.f, 0.f};
#pragma unroll
    for (int i = 0; i < NS; i++) o[i][0] = o[i][1] = o[i][2] = o[i][3] = 0.f;
    for (int i = 0; i < n; i++) {
      int tile = tile_of(i), base = (first_tile + tile) * TILE;
      copies_wait<RING - 1>();
      __syncwarp();
      u32 keys = slots + from * SLOT, r[4];
      if (tile == tiles - 1) patch(keys, 0);
      passed();
      keys += ((lane / 16) * 8 + lane % 8) * ROW;
      float s[4][4] = {}; // of keys 0 to 7 and 8 to 15, of even and of odd pieces of the head
#pragma unroll 4
      for (int j = 0; j < KS; j++) {
        u32 x[4] = {g < GROUP ? load_shared4(q + j * 32) : 0, 0, g < GROUP ? load_shared4(q + j * 32 + 16) : 0, 0};
        if (WIDE && g + 8 < GROUP) x[1] = load_shared4(q + 8 * ROW + j * 32), x[3] = load_shared4(q + 8 * ROW + j * 32 + 16);
        load_matrices(r, keys + (j * 2 + lane / 8 % 2 ^ lane % 8) * 16);
        multiply_add(s[j % 2 * 2], x, r[0], r[1]);
        multiply_add(s[j % 2 * 2 + 1], x, r[2], r[3]);
      }
      u32 p[4] = {};
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
      copies_wait<RING - 2>();
      __syncwarp();
      u32 values = slots + from * SLOT;
      if (tile == tiles - 1) patch(values, 1);
      passed();
      values += ((lane / 8 % 2) * 8 + lane % 8) * ROW;
#pragma unroll
      for (int j = 0; j < NS; j += 2) {
        load_matrices_transposed(r, values + (j + lane / 16 ^ lane % 8) * 16);
        multiply_add(o[j], p, r[0], r[1]);
        multiply_add(o[j + 1], p, r[2], r[3]);
      }
      copies_visible(); // that they may be overwritten by the copy engine
#pragma unroll 1
      for (int side = 0; side < 2 && i + 1 < n; side++) copy(); // the last wait until others have what is made here
    }
#pragma unroll
    for (int h = 0; h < (WIDE ? 2 : 1); h++) {
      sum[h] += __shfl_xor_sync(FULL, sum[h], 1);
      sum[h] += __shfl_xor_sync(FULL, sum[h], 2);
      int mine = g + h * 8;
      if (mine >= GROUP) continue;
      if (lane % 4 == 0) store_shared_floats(at.stats + (warp * GROUP + mine) * 8, make_float2(top[h], sum[h]));
      if (n == 0) continue;
      u32 to = at.inputs + (warp * GROUP + mine) * HEAD_DIM * 4 + column * 4;
#pragma unroll
      for (int j = 0; j < NS; j++) store_shared_floats(to + j * 32, make_float2(o[j][h * 2], o[j][h * 2 + 1]));
    }
  }

  // add_up tells what the warps of the block have of its heads: the result if that is
  // all there is, else a partial one.
  __device__ __forceinline__ void add_up(u64* parts, u64* stats, u64* results, u32 when) {
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
        tell(results + (head * GROUP * HEAD_DIM + i) / 2, pack(v[0] * scale, v[1] * scale), when);
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
  __device__ __forceinline__ void merge(const u64* parts, const u64* stats, u64* results, u32 when) {
    constexpr int PIECES = HEAD_DIM / DIMS_TOGETHER, BESIDE = WARP / DIMS_TOGETHER, N = 4; // each lane, at once
#pragma unroll 1
    for (int m = blockIdx.x + gridDim.x * warp; m < HEADS * PIECES; m += gridDim.x * WARPS) {
      int h = m / PIECES, d = m % PIECES * DIMS_TOGETHER + lane % DIMS_TOGETHER;
      float top = NEGATIVE_INFINITY, sum = 0.f, all = 0.f;
#pragma unroll 1
      for (int s = lane / DIMS_TOGETHER; s - lane / DIMS_TOGETHER < active; s += N * BESIDE) {
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
            if (waiting) look_again();
        } while (waiting);
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
      float mine = all / sum, neighbour = __shfl_xor_sync(FULL, mine, 1);
      if (lane < DIMS_TOGETHER && lane % 2 == 0) tell(results + (h * HEAD_DIM + d) / 2, pack(mine, neighbour), when);
    }
  }

  __device__ __forceinline__ void run(u32 memory) {
    lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    at.ring = memory;
    at.barriers = at.ring + WARPS * RING * SLOT;
    at.inputs = at.barriers + WARPS * RING * 8;
    u32 in = WARPS * max(input_bytes(), (u32)(GROUP * HEAD_DIM * 4));
    at.sums = at.inputs + in;
    at.small = at.sums + max(max(most_of(QKV), most_of(GATE)), HEAD_EIGHTS) * WARPS * 32;
    at.squares = at.small + most_of(OUT) * WARPS * 32;
    at.stats = at.squares + WARPS * 4;
    at.heads = at.stats + WARPS * GROUP * 8;
    at.layers = at.heads + (GROUP + 2) * ROW;
    at.shares = at.layers + a.n_layers * (u32)sizeof(PassLayer); // [HEAD + 1]
    per_input = 1.f / a.hidden;
    head = blockIdx.x / splits(), split = blockIdx.x % splits();
    slots = at.ring + warp * RING * SLOT, barriers = at.barriers + warp * RING * 8;

    let_next_start();
    for (int i = threadIdx.x; i < a.n_layers * (int)sizeof(PassLayer) / 16; i += THREADS) store_shared16(at.layers + i * 16, load16((const u8*)a.layers + i * 16));
    if (lane < RING) barrier_init(barriers + lane * 8, 1);
    barriers_visible();
    if (threadIdx.x <= HEAD && threadIdx.x != ATTEND) divide(threadIdx.x);
    __syncthreads();
    u32 passes = 0;
    int position = 0, kv_slot = 0, copied = 0;
#pragma unroll 1
    for (int ready = 0; ready < 2; ready++) {
      if (ready) {
        wait_for_previous();
        len = a.row_lens[0], slot = a.row_slots[0], position = a.positions[0], kv_slot = a.token_slots[0], passes = a.counts[0];
        first_tile = max(0, len - a.window) / TILE;
        tiles = (len + TILE - 1) / TILE - first_tile;
        active = tiles <= WHOLE * WARPS ? 1 : min(splits(), (tiles + WARPS - 1) / WARPS);
        if (attends()) my_tiles = max(0, (tiles - tile_of(0) + active * WARPS - 1) / (active * WARPS));
        if (my_tiles > 0) page = page_of(0);
        if (copied == 0) layer = 0, phase = QKV;
      }
      if (copied == 0) begin_copies();
      // Before it is known which positions are looked at only what comes before them is copied.
      for (; copied < RING && (ready || layer == 0 && phase == QKV && left > 1); copied++) copy();
    }
    u32 time = passes * a.n_layers + 1;
    u64 newest = ~0ull; // where the newest key is, of the first head
    if (kv_slot >= 0) newest = ((size_t)a.table[(size_t)kv_slot * a.table_stride + position / PAGE_SIZE] * 2 * KV_HEADS * PAGE_SIZE + position % PAGE_SIZE) * HEAD_DIM;
    float angle[4];
#pragma unroll
    for (int i = 0; i < 4; i++) angle[i] = a.angles[(size_t)position * HEAD_DIM + lane * 4 + i];

    // Words: PassWords in pass.go makes room for them.
    u64* heads = a.words;                                     // queries, keys and values
    u64* parts = heads + (HEADS + 2 * KV_HEADS) * HEAD_DIM;   // partial results of attention
    u64* stats = parts + MOST_SPLITS * HEADS * HEAD_DIM;      // their maxima and denominators
    u64* results = stats + MOST_SPLITS * HEADS * 2;           // of attention, in pairs
    u64* middle = results + HEADS * HEAD_DIM / 2;             // the residual stream behind attention: see give
    u64* ends = middle + a.hidden / 2 + a.hidden / 8;         // and at the end of layers
    u64* gates = ends + a.hidden / 2 + a.hidden / 8;          // in pairs

    // Rows of the residual stream are kept by who adds to them.
    Share mine = share(OUT);
    int own = mine.first + threadIdx.x;
    bool owns = (int)threadIdx.x < mine.count * 8;
    float x = owns ? a.x[own] : 0.f; // 0 where there is none: squares are added up by eights

#pragma unroll 1
    for (int l = 0; l < a.n_layers; l++) {
      u32 when = time + l;
      if (l + 1 < a.n_layers && threadIdx.x < 4 && blockIdx.x == (l & 63) && pointer(l + 1, 2)) bring_to_l2((const bf16*)pointer(l + 1, 2 + threadIdx.x / 2) + threadIdx.x % 2 * 64);
#pragma unroll 1
      for (int p = QKV; p < PHASES; p += p == QKV ? 2 : 1) {
        Share s = share(p);
        int outs = s.count * s.rows;
        bool of_stream = p == QKV || p == GATE;
        u32 sums = of_stream ? at.sums : at.small;
        if (s.count > 0) {
          float weight = 0.f; // of the norm that comes next
          if (!of_stream && owns) {
            const bf16* norm = p == DOWN && l + 1 == a.n_layers ? a.head_norm : (const bf16*)pointer(p == OUT ? l : l + 1, p == OUT ? 1 : 0);
            if (norm) weight = from_bf16(norm[own]);
          }
          if (p == QKV && l == 0) {
            first_inputs(s, (const bf16*)pointer(l, 0));
          } else {
            take(s, p == QKV ? ends : p == OUT ? results : p == GATE ? middle : gates, p == QKV ? when - 1 : when, of_stream);
          }
          multiply(s, s.count, sums);
          __syncthreads();
          if (!of_stream) {
            if (owns) x += sum_of(sums, threadIdx.x / 8, threadIdx.x % 8);
            if (warp * WARP < outs) give(p == OUT ? middle : ends, own, x, weight, owns, when);
            if (owns && p == DOWN && l + 1 == a.n_layers) a.x[own] = x;
          } else {
            float factor = norm_factor();
            const bf16* bias = (const bf16*)pointer(l, 4);
#pragma unroll 1
            for (int i = threadIdx.x; i < (outs + WARP - 1) / WARP * WARP; i += THREADS) {
              bool is = i < outs;
              if (p == QKV) {
                float v = is ? sum_of(sums, i / 8, i % 8) * factor : 0.f;
                if (bias && is) v += from_bf16(bias[s.first + i]);
                if (is) tell(heads + s.first + i, __float_as_uint(v), when);
              } else {
                float g = is ? sum_of(sums, i / 8 * 2, i % 8) * factor : 0.f, u = is ? sum_of(sums, i / 8 * 2 + 1, i % 8) * factor : 0.f;
                float v = g / (1.f + exp2_fast(-LOG2E * g)) * u, neighbour = __shfl_xor_sync(FULL, v, 1);
                if (is && i % 2 == 0) tell(gates + (s.first + i) / 2, pack(v, neighbour), when);
              }
            }
          }
          copy();
        }
        if (p != QKV) continue;
        if (attends()) {
          prepare(l, heads, when, angle, newest);
          __syncthreads();
          look_back();
          __syncthreads();
          add_up(parts, stats, results, when);
          __syncthreads(); // what the warps had has been read
#pragma unroll 1
          for (int side = 0; side < 2 && my_tiles > 0; side++) copy();
        }
        if (active > 1) merge(parts, stats, results, when);
      }
    }
    if (a.vocab > 0) {
      Share s = share(HEAD);
      take(s, ends, time + a.n_layers - 1, true);
      int some = HEAD_EIGHTS * 8 / s.rows;
#pragma unroll 1
      for (int done = 0; done < s.count; done += some) {
        int now = min(some, s.count - done);
        multiply(s, now, at.sums);
        __syncthreads();
        float factor = norm_factor();
        for (int i = threadIdx.x; i < now * s.rows; i += THREADS) a.logits[s.first + done * s.rows + i] = sum_of(at.sums, i / 8, i % 8) * factor;
        __syncthreads(); // the sums have been read
        copy();
      }
    }
    copies_wait<0>();
    __syncthreads();
    if (threadIdx.x == 0 && atomicAdd(a.counts + 1, 1u) == gridDim.x - 1) a.counts[1] = 0, a.counts[0] = passes + 1;
  }
};

#define KERNEL(NAME, RING)                                                                                   \
  extern "C" __global__ void __launch_bounds__(THREADS, 1) NAME(const __grid_constant__ PassArgs a) { \
    extern __shared__ __align__(1024) u8 memory[];                                                            \
    Pass<RING> pass(a);                                                                                      \
    pass.run(shared_address(memory));                                                                        \
  }
KERNEL(decode_pass_4, 4)
KERNEL(decode_pass_5, 5)
KERNEL(decode_pass_6, 6)
